"""Text to tokens: one cleaning and one cut, the same in training, evaluation and serving."""

import html
import re
import sys
import textwrap
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from functools import cache

from utils import InputError

MAX_TOKENS = 512  # positions of DistilBERT, [CLS] and [SEP] included
HEAD_TOKENS = 128  # kept from the start of a longer text; the rest comes from its end
# Characters read from either end of a text: words of over 100 are one token, [UNK], so that even
# 510 of the longest fit, and the tokens kept are those of the whole text.
END_CHARACTERS = 2**16
AT_ONCE = 2**18  # characters given to the tokenizer together: it needs some 300 bytes for each


def clean(text: str) -> str:
    """The text without HTML line breaks, in Unicode's NFKC form, runs of white space made one.

    Of a run of combining marks the first 30 stay, as in Unicode's Stream-Safe Text Format (UAX 15):
    the time of normalising is quadratic in its length.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _long_runs().sub(r"\1", text))
    return " ".join(re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE).split())


@cache
def _long_runs() -> re.Pattern:
    """Runs of more than 30 combining marks, with the first 30 as a group."""
    codes = range(sys.maxunicode + 1)
    # Some are no marks themselves, but become several when they are normalised.
    first = (unicodedata.normalize("NFKD", chr(code))[0] for code in codes)
    marks = "".join(chr(n) for n, mark in enumerate(first) if unicodedata.combining(mark))
    return re.compile(f"([{marks}]{{30}})[{marks}]+")


def is_empty(text: str) -> bool:
    """Whether a text has no character to read: only white space, zero-width or control ones.

    The tokenizer drops these, and combining marks alone: the model would label no word at all.
    """
    return all(
        character.isspace()
        or character == "\ufffd"
        or ((kind := unicodedata.category(character))[0] in "CM" and kind != "Cn")
        for character in read_ends(text)[0]
    )


def is_unicode(text: str) -> bool:
    """Whether a text holds no lone surrogates, which stand for bytes that were no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_texts(texts: str | Iterable[str]) -> list[str]:
    """One text as a list of one; a Series, an array, a column, a generator as a list.

    Raises InputError where it is no sequence of texts, or names the first that cannot be read.
    """
    if isinstance(texts, str):
        texts = [texts]
    table = hasattr(texts, "columns")  # of a DataFrame one would get its columns' names
    odd = isinstance(texts, bytes | Mapping | Set | array | type)
    if table or odd or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise InputError(f"Give a text, or a list or column of texts, not a {kind}.")
    if getattr(texts, "shape", None) == ():
        raise InputError("Give a text, or a list or column of texts, not an array of none.")
    try:
        texts = texts.to_pylist() if hasattr(texts, "to_pylist") else list(texts)  # of pyarrow
    except TypeError as error:  # pandas' accessors claim to be sequences
        raise InputError(f"Give a list or column of texts: {error}.") from error
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise InputError(f"texts[{position}] is {text!r:.40}, no text: leave it out.")
        if not is_unicode(text):
            raise InputError(
                f"texts[{position}] is not Unicode: it was read with a wrong encoding."
            )
    return texts


def head_tail(ids: list[int], limit: int) -> list[int]:
    """At most `limit` of the ids: the first HEAD_TOKENS and as many from the end as still fit.

    Of a limit below 2 HEAD_TOKENS half is for either.

    A review opens with its subject and closes with its verdict; keeping both beat either one
    alone in Sun et al., "How to Fine-Tune BERT for Text Classification?" (2019).
    """
    if len(ids) <= limit:
        return ids
    head = min(HEAD_TOKENS, limit // 2)
    return ids[:head] + ids[len(ids) - (limit - head) :]


def excerpt(text: str, width: int) -> str:
    """Beginning and end of a text on one line, safe to show as Markdown: without formatting.

    Both, as the model reads it: a review often turns at its end.
    """
    text = " ".join(text.split())
    if len(text) > width:
        beginning = textwrap.shorten(text, 2 * width // 3, placeholder=" … ")
        text = beginning + text[-(width // 3) :].split(" ", 1)[-1]
    short = html.escape(text)
    return re.sub(r"[$*_`~\[\]\\]", lambda match: f"&#{ord(match[0])};", short)


def read_ends(text: str) -> tuple[str, bool]:
    """The cleaned text, of a very long one its two ends; and whether characters were left out."""
    cleaned = clean(_ends(text))
    read = _ends(cleaned)
    return read, len(text) > 2 * END_CHARACTERS or len(read) < len(cleaned)


def _ends(text: str) -> str:
    if len(text) <= 2 * END_CHARACTERS:
        return text
    return f"{text[:END_CHARACTERS]} {text[-END_CHARACTERS:]}"


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, [CLS] and [SEP] included, and each text's length before the cut.

    `shortened` says of each text whether the cut took something away.
    """

    ids: list[list[int]]
    lengths: list[int]
    shortened: list[bool]


def tokenize(
    tokenizer, texts: list[str], max_tokens: int = MAX_TOKENS, tail: bool = True
) -> Tokens:
    """Clean the texts, tokenise them and cut them to `max_tokens` ([CLS] and [SEP] included).

    Of a very long text only its two ends are tokenised, and counted. Without `tail`, the cut takes
    the end away, for a comparison.
    """
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    limit = max_tokens - 2
    ids, lengths, shortened = [], [], []
    for some in _some_at_once(map(read_ends, texts)):
        # verbose=False: the warning about long texts is for those who would not cut them
        cleaned = [text for text, _ in some]
        whole = tokenizer(cleaned, add_special_tokens=False, verbose=False)["input_ids"]
        for row, (_, left_out) in zip(whole, some, strict=True):
            ids.append([start, *(head_tail(row, limit) if tail else row[:limit]), end])
            lengths.append(len(row) + 2)
            shortened.append(left_out or len(row) > limit)
    return Tokens(ids, lengths, shortened)


def _some_at_once(texts: Iterable[tuple[str, bool]]) -> Iterator[list[tuple[str, bool]]]:
    some, characters = [], 0
    for text in texts:
        some.append(text)
        characters += len(text[0])
        if characters >= AT_ONCE:
            yield some
            some, characters = [], 0
    if some:
        yield some
