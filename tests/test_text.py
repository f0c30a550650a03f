"""Cleaning, cutting and tokenising: what every notebook, script and service relies on."""

from array import array
from enum import StrEnum

import pandas as pd
import pytest

from utils import InputError
from utils.modeling.backbones import load_backbone
from utils.text import as_texts, clean, excerpt, head_tail, is_empty, tokenize


@pytest.fixture(scope="module")
def tokenizer(tiny_bert):
    return load_backbone(str(tiny_bert)).tokenizer


@pytest.mark.parametrize(
    ("raw", "cleaned"),
    [
        ("Good.<br /><br />Bad.", "Good. Bad."),
        ("Good.<BR>Bad.<bR/>", "Good. Bad."),
        ("one\u00a0\u00a0two", "one two"),  # what &nbsp; becomes
        (" one \t\r\n two\n", "one two"),
        ("Ｇｏｏｄ！", "Good!"),  # full-width letters
        ("ﬁne, eﬀort…", "fine, effort..."),  # ligatures and the one-character ellipsis
        ("cafe\u0301", "café"),  # an accent of its own
        ("<b>1 < 2</b> & <brr>", "<b>1 < 2</b> & <brr>"),  # other marks may mean something
        ("", ""),
    ],
)
def test_clean(raw, cleaned):
    assert clean(raw) == cleaned


# The reviews are cleaned when they are loaded and again when they are tokenised.
@pytest.mark.parametrize("raw", ["Good.<br />Bad.\u00a0ﬁne  Ｘ", "Good.＜br /＞Bad."])
def test_cleaning_twice_changes_nothing(raw):
    assert clean(clean(raw)) == clean(raw)


def test_a_long_text_keeps_its_start_and_its_end():
    ids = list(range(1000))
    assert head_tail(ids, 510) == ids[:128] + ids[-382:]
    assert head_tail(ids, 100) == ids[:50] + ids[-50:]
    assert head_tail(ids[:510], 510) == ids[:510]
    assert head_tail([], 510) == []


@pytest.mark.parametrize(
    ("words", "shortened"), [(0, False), (1, False), (510, False), (511, True), (2000, True)]
)
def test_tokens_of_a_text(tokenizer, words, shortened):
    tokens = tokenize(tokenizer, [" ".join(["film"] * words)])
    [ids] = tokens.ids
    film = tokenizer.convert_tokens_to_ids("film")
    assert ids == [tokenizer.cls_token_id, *[film] * min(words, 510), tokenizer.sep_token_id]
    assert tokens.lengths == [words + 2]
    assert tokens.shortened == [shortened]


def test_tokens_keep_the_order_of_the_texts_and_the_given_length(tokenizer):
    tokens = tokenize(tokenizer, ["great plot", "the<br />DULL film end"], max_tokens=4)
    assert tokenizer.batch_decode(tokens.ids) == ["[CLS] great plot [SEP]", "[CLS] the end [SEP]"]
    assert tokens.shortened == [False, True]
    [_, head] = tokenize(tokenizer, ["great plot", "the DULL film end"], 4, tail=False).ids
    assert tokenizer.decode(head) == "[CLS] the dull [SEP]"


def test_of_a_very_long_text_both_ends_are_read_and_nothing_else_is_tokenised(tokenizer):
    """At some 300 bytes for each character, the whole of it would fill the memory."""
    seen = []

    def spy(texts, **options):
        seen.extend(texts)
        return tokenizer(texts, **options)

    spy.cls_token_id, spy.sep_token_id = tokenizer.cls_token_id, tokenizer.sep_token_id
    text = "great " * 200 + "film " * 10**6 + "dull " * 400
    found, expected = (tokenize(it, [text]) for it in (spy, tokenizer))
    assert found.ids == expected.ids
    assert tokenizer.decode(found.ids[0]).split() == [
        "[CLS]", *["great"] * 128, *["dull"] * 382, "[SEP]",
    ]  # fmt: skip
    assert found.shortened == [True]
    assert sum(map(len, seen)) < 300_000
    # so also where what is left is few tokens
    assert tokenize(tokenizer, ["x" * 10**6]).shortened == [True]


def test_many_long_texts_are_tokenised_a_few_at_once(tokenizer):
    at_once = []

    def spy(texts, **options):
        at_once.append(sum(map(len, texts)))
        return tokenizer(texts, **options)

    spy.cls_token_id, spy.sep_token_id = tokenizer.cls_token_id, tokenizer.sep_token_id
    texts = ["film " * 20_000] * 20
    assert tokenize(spy, texts).ids == tokenize(tokenizer, texts).ids
    assert max(at_once) < 500_000


def test_a_text_without_a_token_is_empty(tokenizer):
    """Whatever the tokenizer drops, alone or together."""
    # All of the planes that have names one by one, and some of each of the others.
    codes = [*range(0x20000), *range(0x20000, 0x110000, 61), *range(0xE0000, 0xE1000)]
    characters = [chr(code) for code in codes if not 0xD800 <= code <= 0xDFFF]
    cleaned = [clean(character) for character in characters]
    ids = tokenizer(cleaned, add_special_tokens=False)["input_ids"]
    dropped = [character for character, row in zip(characters, ids, strict=True) if not row]
    assert len(dropped) > 1000
    assert all(map(is_empty, dropped))
    assert is_empty(" \u200b\u200d\x07<br />\u0301")
    assert not any(map(is_empty, ["a", "?", "\u200bno", "👍", "好", "é"]))


def test_a_long_run_of_combining_marks_takes_no_time():
    """Normalising is quadratic in it: half a megabyte would take minutes."""
    text = clean("a" + "\u0327\u0301" * 200_000 + "b")
    assert text.endswith("b")
    assert len(text) < 40
    # U+0F73 is no mark itself, but becomes two
    assert len(clean("a" + "\u0f73" * 200_000)) < 100
    assert clean("e\u0301 n\u0303") == "é ñ"


def test_no_texts(tokenizer):
    tokens = tokenize(tokenizer, [])
    assert tokens.ids == tokens.lengths == tokens.shortened == []


def test_an_excerpt_is_shown_as_it_was_written():
    """Dollar signs must not become formulas, nor stars and tags formatting."""
    shown = excerpt("It cost $5 and $6, *really* <i>cheap</i> " + "word " * 100 + "the end", 60)
    assert not set("$*<") & set(shown)
    assert shown.endswith("… word word the end")


def test_an_excerpt_holds_beginning_and_end():
    text = " ".join(f"word{number}" for number in range(200))
    shown = excerpt(text, 120)
    assert shown.startswith("word0 word1")
    assert shown.endswith("word198 word199")
    assert shown.count("…") == 1
    assert len(shown) <= 120
    assert excerpt("short  text", 120) == "short text"


class Verdict(StrEnum):
    GOOD = "good"


@pytest.mark.parametrize("given", [array("u", "Good"), Verdict, pd.Series(["Good"]).str])
def test_what_only_looks_like_a_list_of_texts_is_refused(given):
    with pytest.raises(InputError, match="Give a"):
        as_texts(given)
