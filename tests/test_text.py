"""Cleaning, cutting and tokenising: what every notebook, script and service relies on."""

import pytest

from utils.backbone import load_backbone
from utils.text import clean, excerpt, head_tail, tokenize


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
