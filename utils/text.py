"""Text to tokens: one cleaning and one cut, the same in training, evaluation and serving."""

import html
import re
import textwrap
import unicodedata
from dataclasses import dataclass

MAX_TOKENS = 512  # positions of DistilBERT, [CLS] and [SEP] included
HEAD_TOKENS = 128  # kept from the start of a longer text; the rest comes from its end


def clean(text: str) -> str:
    """The text without HTML line breaks, in Unicode's NFKC form, runs of white space made one."""
    text = unicodedata.normalize("NFKC", text)
    return " ".join(re.sub(r"<br\s*/?>", " ", text, flags=re.IGNORECASE).split())


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


@dataclass(frozen=True)
class Tokens:
    """Token ids of some texts, [CLS] and [SEP] included, and each text's length before the cut."""

    ids: list[list[int]]
    lengths: list[int]

    @property
    def shortened(self) -> list[bool]:
        """For each text, whether the cut took something away."""
        return [length > len(ids) for ids, length in zip(self.ids, self.lengths, strict=True)]


def tokenize(
    tokenizer, texts: list[str], max_tokens: int = MAX_TOKENS, tail: bool = True
) -> Tokens:
    """Clean the texts, tokenise them and cut them to `max_tokens` ([CLS] and [SEP] included).

    Without `tail`, the cut takes the end away, for a comparison.
    """
    if not texts:
        return Tokens([], [])
    cleaned = [clean(text) for text in texts]
    # verbose=False: the warning about long texts is for those who would not cut them
    whole = tokenizer(cleaned, add_special_tokens=False, verbose=False)["input_ids"]
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    limit = max_tokens - 2
    ids = [[start, *(head_tail(row, limit) if tail else row[:limit]), end] for row in whole]
    return Tokens(ids, [len(row) + 2 for row in whole])
