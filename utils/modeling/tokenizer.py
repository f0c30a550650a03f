"""The tokenizer of a checkpoint, rebuilt from its own vocabulary: never one that is made up.

Where files are missing, transformers gives a tokenizer of five words without a word of warning.
"""

import json
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AddedToken, DistilBertTokenizer, MPNetTokenizer, PreTrainedTokenizerBase

from utils import InputError
from utils.text import MAX_TOKENS

# By model type: the tokenizer's class, and the names of those that a folder may ask for.
BERTS = (DistilBertTokenizer, {"BertTokenizer", "DistilBertTokenizer"})
SERVED = {"bert": BERTS, "distilbert": BERTS, "mpnet": (MPNetTokenizer, {"MPNetTokenizer"})}
GENERIC = {"PreTrainedTokenizer", "TokenizersBackend"}  # of a tokenizer.json, which says the rest
ROUNDED = (8, 16, 32, 64, 128)  # what trainings round a vocabulary up to, for their processors
NEEDED = ("cls_token", "sep_token", "pad_token", "unk_token")
PROBES = ("", "The film WAS great, wasn't it?", "Café É naïve 好 électrique \U0001f642 zzqqxx")
OPTIONS = ("do_lower_case", "strip_accents", "tokenize_chinese_chars")
MOST_AROUND = 8  # tokens and texts in a template
FEW_CAPITALS = 0.01  # of an uncased vocabulary
MOST_ADDED = 2**17  # letters of the tokens that were added
MOST_BYTES = 2**26  # of a tokenizer's or a configuration's file
SAVE_IT = "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)"


def model_config(folder: Path) -> dict:
    """The config.json of a checkpoint's folder, of a type of model that is served.

    Raises InputError where it is missing, damaged, of another type, or names code to run.
    """
    config = read_json(folder / "config.json")
    if str(config.get("model_type")) not in SERVED:
        kind = config.get("model_type", "nameless")
        raise InputError(f"{folder.name} is a {kind} checkpoint: give a DistilBERT or BERT one.")
    if config.get("num_labels", 2) not in range(1000):  # each of which would get a name
        raise InputError(f"{folder.name}: its config.json has num_labels="
                         f"{config['num_labels']!r:.40}.")  # fmt: skip
    for key in ("attn_implementation", "_attn_implementation", "quantization_config"):
        if key in config:  # it may name code of the Hub, or a format that is not read
            raise InputError(f"{folder.name}: its config.json has the key {key!r}: remove it.")
    return config


def read_json(path: Path) -> dict:
    """The JSON object of a checkpoint's file, empty where there is none.

    Raises InputError where it is damaged, or names code to run (`auto_map`), which never is.
    """
    if not path.exists():
        return {}
    try:
        found = json.loads(_text_of(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path.name} is damaged ({str(error)[:100]}): get it again.") from error
    if not isinstance(found, dict):
        raise InputError(f"{path.name} is no JSON object: get it again.")
    if "auto_map" in found:
        raise InputError(
            f"{path.name} names code of the folder to run (auto_map), which is never done: give a "
            "checkpoint of transformers' own classes."
        )
    return found


def _text_of(path: Path) -> str:
    """The text of a stranger's file; InputError where it may never end, or is no UTF-8."""
    if not path.is_file() or path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path.name} is no regular file, or over {MOST_BYTES:,} bytes.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name} is not UTF-8: get it again.") from error


def load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase:
    """The WordPiece tokenizer of a folder's tokenizer.json or, alone, its vocab.txt.

    `vocabulary` is the number of words of the checkpoint, which may be rounded up. It neither
    truncates nor pads of itself, and a pipeline truncates at MAX_TOKENS, whatever was saved.
    Raises InputError where files are missing, damaged, name code or another kind of tokenizer, a
    special token is missing, or the vocabulary has another size.
    """
    try:
        return _load_tokenizer(folder, vocabulary)
    except (InputError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # Rust's panics are no Exception
        raise InputError(f"{folder.name}: its tokenizer cannot be used ({type(error).__name__}: "
                         f"{str(error)[:80]}): {SAVE_IT}.") from error  # fmt: skip


def _load_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase:
    saved = read_json(folder / "special_tokens_map.json")  # of older releases
    saved |= read_json(folder / "tokenizer_config.json")
    config = read_json(folder / "config.json")  # none where the folder is a tokenizer's alone
    kind, names = SERVED.get(config.get("model_type"), BERTS)
    named = saved.get("tokenizer_class") or config.get("tokenizer_class") or kind.__name__
    if str(named).removesuffix("Fast") not in names | GENERIC:
        raise InputError(f"{folder.name} has a {named}: give a tokenizer of BERT's WordPiece.")
    options, added = {}, []
    if (folder / "tokenizer.json").exists():
        words, options, added = _read_tokenizer_json(folder / "tokenizer.json")
    elif (folder / "vocab.txt").exists():
        words = _read_vocabulary(folder / "vocab.txt")
        if str(named).removesuffix("Fast") in GENERIC:
            raise InputError(f"{folder.name} has a {named} but no tokenizer.json: {SAVE_IT}.")
        added = _read_added(folder, saved, words)
        # Where nothing else says it: a cased vocabulary has thousands of words with capitals, and
        # an uncased one those few at most that somebody has added.
        plain = [word for word in words if not (word.startswith("[") and word.endswith("]"))]
        capitals = sum(word != word.lower() for word in plain)
        options = {"do_lower_case": capitals <= FEW_CAPITALS * len(plain)}
    else:
        raise InputError(
            f"{folder.name} has no tokenizer, tokenizer.json or vocab.txt: save the one of its "
            f"training there, with {SAVE_IT}."
        )
    options |= {name: saved[name] for name in OPTIONS if name in saved}
    for name, value in options.items():
        if value not in ((True, False, None) if name == "strip_accents" else (True, False)):
            raise InputError(f"{folder.name}: {name} is {value!r:.40}, neither true nor false.")
    known = words | {token["content"]: token["id"] for token in added}
    for token in _read_added(folder, saved, words):
        if known.get(token["content"]) != token["id"]:
            raise InputError(f"{folder.name}: the added token {token['content']!r:.40} is not in "
                             f"its tokenizer.json: {SAVE_IT}.")  # fmt: skip
    if sum(len(token["content"]) for token in added) > MOST_ADDED:
        raise InputError(f"{folder.name} adds tokens of over {MOST_ADDED:,} letters together.")
    added += _more_special(folder.name, saved, known, {token["content"] for token in added})
    tokenizer = kind(vocab=words, **_special(saved, known, kind), **options)
    tokenizer.add_tokens([AddedToken(**_without_id(token)) for token in added])
    _check(tokenizer, known, vocabulary, folder.name)
    if (folder / "tokenizer.json").exists():
        _check_reading(tokenizer, folder, str(named).removesuffix("Fast") in GENERIC)
    tokenizer.model_max_length = MAX_TOKENS
    return tokenizer


def _read_vocabulary(path: Path) -> dict[str, int]:
    lines = _text_of(path).removesuffix("\n").split("\n")
    return {line.rstrip(): number for number, line in enumerate(lines)}


def _read_added(folder: Path, saved: dict, words: dict[str, int]) -> list[dict]:
    """Tokens that were added to a vocab.txt, which need not hold them, in the order of their ids.

    Older releases of transformers kept them in either of two files.
    """
    try:
        plain = read_json(folder / "added_tokens.json").items()
        found = {word: {"id": int(number), "content": word} for word, number in plain}
        decoder = saved.get("added_tokens_decoder") or {}
        found |= {token["content"]: {**token, "id": int(number)}
                  for number, token in decoder.items()}  # fmt: skip
        if any(words.get(word, token["id"]) != token["id"] for word, token in found.items()):
            raise ValueError
        for token in found.values():
            AddedToken(**_without_id(token))
    except (AttributeError, TypeError, KeyError, ValueError) as error:
        raise InputError(f"{folder.name} has added tokens without a number.") from error
    return sorted(found.values(), key=lambda token: token["id"])


def _more_special(name: str, saved: dict, known: dict[str, int], added: set[str]) -> list[dict]:
    """Special tokens beside the usual ones, not split; InputError where one is unknown."""
    more = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        given = saved.get(key) or []
        for token in given.values() if isinstance(given, dict) else given:
            word = token.get("content") if isinstance(token, dict) else token
            if word not in known:
                raise InputError(f"{name} names the special token {word!r:.40}, which its "
                                 f"vocabulary has not: {SAVE_IT}.")  # fmt: skip
            if word not in added:
                more.append({"id": known[word], "content": word, "special": True})
    return more


def _check_reading(tokenizer: PreTrainedTokenizerBase, folder: Path, generic: bool) -> None:
    """Raise InputError where the tokenizer.json itself would read a text otherwise.

    A `generic` class puts around a text what the tokenizer.json says; others know that themselves.
    """
    itself = Tokenizer.from_str(_text_of(folder / "tokenizer.json"))
    itself.no_truncation()
    itself.no_padding()
    special = itself.post_processor is not None
    if generic and not special:
        raise InputError(f"{folder.name}: its tokenizer.json puts no [CLS] and [SEP] around a text "
                         f"(post_processor), as this kind of model needs: {SAVE_IT}.")  # fmt: skip
    added = ["a", *filter(None, tokenizer.get_added_vocab()), "b"]
    words = [*tokenizer.get_vocab()]
    some = " ".join(words[:: len(words) // 1000 + 1]).title()
    for text in (*PROBES, " ".join(added), "".join(added), some):
        ours = tokenizer(text, add_special_tokens=special)["input_ids"]
        if itself.encode(text, add_special_tokens=special).ids != ours:
            raise InputError(
                f"{folder.name}: its tokenizer.json and its other files read a text differently "
                f"({text!r:.40}): {SAVE_IT}."
            )


def _adds_few(processor: dict | None) -> bool:
    """Whether what is put around a text is a few tokens: a template could multiply them."""
    if processor is None or processor["type"] in ("BertProcessing", "RobertaProcessing"):
        return True
    parts = [*processor["single"], *processor["pair"]]
    added = processor["special_tokens"].values()
    return (
        processor["type"] == "TemplateProcessing"
        and len(parts) <= 2 * MOST_AROUND
        and all(len(token["ids"]) == 1 for token in added)
    )


def _read_tokenizer_json(path: Path) -> tuple[dict[str, int], dict, list[dict]]:
    """The words of a tokenizer.json, how it normalises, and the tokens that were added to it.

    Raises InputError where it would read a text otherwise than BERT's.
    """
    found = read_json(path)
    model, normalizer = found.get("model") or {}, found.get("normalizer") or {}
    odd = [
        name
        for name, fits in (
            # Older files do not name the model's type, but this alone has a prefix of words' ends.
            ("model", model.get("type", "WordPiece") == "WordPiece"
             and model.get("continuing_subword_prefix") == "##"
             and model.get("max_input_chars_per_word") == 100),
            ("normalizer", normalizer.get("type") == "BertNormalizer"
             and normalizer.get("clean_text") is True),
            ("pre_tokenizer", (found.get("pre_tokenizer") or {}).get("type") == "BertPreTokenizer"),
            ("post_processor", _adds_few(found.get("post_processor"))),
        )
        if not fits
    ]  # fmt: skip
    if odd:
        raise InputError(
            f"{path.name} has another {odd[0]} than BERT's WordPiece: give a tokenizer of BERT's."
        )
    words, added = model.get("vocab"), found.get("added_tokens") or []
    numbers = list(words.values()) if isinstance(words, dict) else [None]
    try:
        numbers += [token["id"] for token in added if token["content"] not in words]
        added = [token for token in added if AddedToken(**_without_id(token))]
    except (TypeError, KeyError) as error:
        raise InputError(f"{path.name} is damaged: get it again.") from error
    if not all(type(number) is int for number in numbers) or len(set(numbers)) < len(numbers):
        raise InputError(f"{path.name} does not number its words, each with another: get it again.")
    options = {
        "do_lower_case": normalizer.get("lowercase"),
        "strip_accents": normalizer.get("strip_accents"),
        "tokenize_chinese_chars": normalizer.get("handle_chinese_chars"),
    }
    return words, options, sorted(added, key=lambda token: token["id"])


def _without_id(token: dict) -> dict:
    return {name: value for name, value in token.items() if name != "id"}


def _special(saved: dict, known: dict[str, int], kind: type) -> dict[str, str | None]:
    """The special tokens that a folder names, of those that the class has."""
    named = {}
    for name in (*NEEDED, "mask_token", "bos_token", "eos_token"):
        token = saved.get(name)
        token = token.get("content") if isinstance(token, dict) else token
        if isinstance(token, str) and (name in NEEDED or token in known):
            named[name] = token
    if kind is DistilBertTokenizer and named.get("mask_token", "[MASK]") not in known:
        named["mask_token"] = None  # else it would be added to the vocabulary
    return named


def _check(
    tokenizer: PreTrainedTokenizerBase, known: dict[str, int], vocabulary: int, name: str
) -> None:
    special = [getattr(tokenizer, role) for role in NEEDED]
    if missing := [token for token in special if token not in known]:
        raise InputError(
            f"The tokenizer in {name} has no {missing[0]}: give the one of the model's training."
        )
    if len(set(special)) < len(special):
        raise InputError(f"The tokenizer in {name} has one token for two of {', '.join(NEEDED)}.")
    if tokenizer.get_vocab() != known:
        raise InputError(f"The tokenizer in {name} contradicts itself: save it again, {SAVE_IT}.")
    size = len(tokenizer)
    fits = size == vocabulary or any(-(-size // step) * step == vocabulary for step in ROUNDED)
    if not fits or not 0 <= min(known.values()) <= max(known.values()) < vocabulary:
        raise InputError(
            f"The tokenizer in {name} has {size:,} words and the model {vocabulary:,}: give the "
            "one of its training."
        )
