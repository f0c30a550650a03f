"""The tokenizer of a folder: the one of its vocabulary, or none."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import BAD, GOOD, PLAIN
from tokenizers import Tokenizer
from transformers import AutoTokenizer, DistilBertTokenizer, MPNetTokenizer, PreTrainedTokenizerFast

from utils import InputError
from utils.inference.classifier import Classifier
from utils.manifest import write_manifest
from utils.modeling.pretrained import minilm_folder
from utils.modeling.tokenizer import load_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = [*SPECIAL, ".", "!", *GOOD, *BAD, *PLAIN]
TEXTS = ["Great film!", "a DULL plöt. [SEP]", "word " * 300, "naïve Café \u200b GOOD, 你好…"]


def folder_of(path: Path, words: list[str] = WORDS, **config) -> Path:
    """A folder with a vocab.txt and, where something is said, a tokenizer_config.json."""
    path.mkdir(exist_ok=True)
    (path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    if config:
        (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def only_json(path: Path, tokenizer, **changes) -> Path:
    """A folder with the tokenizer.json of a tokenizer alone, changed."""
    path.mkdir(exist_ok=True)
    saved = json.loads(tokenizer.backend_tokenizer.to_str()) | changes
    (path / "tokenizer.json").write_text(json.dumps(saved))
    return path


def ids(tokenizer) -> list[list[int]]:
    return tokenizer(TEXTS, verbose=False)["input_ids"]


def test_the_embedded_ones_ids_are_those_of_its_vocabulary(tmp_path):
    expected = ids(DistilBertTokenizer(vocab=str(minilm_folder() / "vocab.txt")))
    assert ids(load_tokenizer(minilm_folder(), 30_522)) == expected
    for name in ("vocab.txt", "tokenizer.json"):  # the latter cuts and pads to 128
        (tmp_path / name).mkdir()
        shutil.copy(minilm_folder() / name, tmp_path / name)
        tokenizer = load_tokenizer(tmp_path / name, 30_522)
        assert ids(tokenizer) == expected
        assert tokenizer.model_max_length == 512
        tokenizer.save_pretrained(tmp_path / "saved")
        assert ids(AutoTokenizer.from_pretrained(tmp_path / "saved")) == expected


def test_a_folder_without_one_is_refused(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    assert len(AutoTokenizer.from_pretrained(tmp_path)) == 5  # made up
    with pytest.raises(InputError, match="has no tokenizer"):
        load_tokenizer(tmp_path, 5)


@pytest.mark.parametrize(("words", "config", "cased"), [
    (WORDS, {}, False),
    ([*WORDS, "Film"], {}, True),
    ([*WORDS, "Film"], {"do_lower_case": True}, False),
    (WORDS, {"do_lower_case": False}, True),
])  # fmt: skip
def test_a_vocabulary_says_whether_capitals_count(tmp_path, words, config, cased):
    tokenizer = load_tokenizer(folder_of(tmp_path / "words", words, **config), len(words))
    unknown = tokenizer.convert_tokens_to_ids("[UNK]")
    assert (tokenizer("FILM")["input_ids"][1] == unknown) == cased


def test_a_cased_tokenizer_json_alone_stays_cased(tmp_path):
    cased = DistilBertTokenizer(vocab={w: n for n, w in enumerate(WORDS)}, do_lower_case=False)
    found = load_tokenizer(only_json(tmp_path, cased), len(WORDS))
    assert ids(found) == ids(cased)
    assert found("FILM")["input_ids"][1] == 1


@pytest.mark.parametrize("missing", SPECIAL[:4])
def test_a_special_token_that_is_missing_is_named(tmp_path, missing):
    words = [word for word in WORDS if word != missing]
    with pytest.raises(InputError, match=rf"\[{missing[1:-1]}\]"):
        load_tokenizer(folder_of(tmp_path / "words", words), 40)


@pytest.mark.parametrize(("more", "fits"), [(0, True), (3, True), (27, True), (1, False),
                                            (-1, False), (40, False)])  # fmt: skip
def test_only_a_vocabulary_that_was_rounded_up_may_be_larger(tmp_path, more, fits):
    """37 words are 40, 48 or 64 once rounded."""
    folder = folder_of(tmp_path / "words")
    if fits:
        assert len(load_tokenizer(folder, len(WORDS) + more)) == len(WORDS) == 37
    else:
        with pytest.raises(InputError, match=f"37 words and the model {37 + more}"):
            load_tokenizer(folder, len(WORDS) + more)


def test_tokens_that_were_added_are_kept(tmp_path):
    tokenizer = DistilBertTokenizer(vocab={w: n for n, w in enumerate(WORDS)})
    tokenizer.add_tokens(["popcornfilm", "<br>"])
    for save in (only_json, lambda path, made: made.save_pretrained(path)):
        save(tmp_path, tokenizer)
        found = load_tokenizer(tmp_path, len(WORDS) + 2)
        text = "a great popcornfilm<br>"
        assert found(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert len(WORDS) in found(text)["input_ids"]


@pytest.mark.parametrize("file", ["added_tokens.json", "tokenizer_config.json"])
def test_tokens_that_were_added_to_a_vocab_txt_are_kept(tmp_path, file):
    folder = folder_of(tmp_path / "words")
    added = {"popcornfilm": len(WORDS)}
    if file == "tokenizer_config.json":
        added = {"added_tokens_decoder": {str(len(WORDS)): {"content": "popcornfilm"}}}
    (folder / file).write_text(json.dumps(added))
    found = load_tokenizer(folder, len(WORDS) + 1)
    assert found("popcornfilm")["input_ids"][1] == len(WORDS)


def test_a_tokenizer_of_the_generic_class_is_served_where_it_is_berts(tmp_path):
    made = DistilBertTokenizer(vocab={w: n for n, w in enumerate(WORDS)})
    generic = PreTrainedTokenizerFast(tokenizer_object=made.backend_tokenizer)
    generic.save_pretrained(tmp_path)
    found = load_tokenizer(tmp_path, len(WORDS))
    assert ids(found) == ids(made)
    assert found.model_input_names == ["input_ids", "attention_mask"]


@pytest.mark.parametrize("name", ["RobertaTokenizer", "LlamaTokenizerFast", "MyTokenizer"])
def test_other_classes_are_refused_by_name(tmp_path, name):
    with pytest.raises(InputError, match=name.removesuffix("Fast")):
        load_tokenizer(folder_of(tmp_path / "words", tokenizer_class=name), len(WORDS))


def test_another_kind_of_tokenizer_json_is_refused(tmp_path):
    from tokenizers.models import BPE

    Tokenizer(BPE(vocab={"a": 0}, merges=[])).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match="WordPiece"):
        load_tokenizer(tmp_path, 1)


def test_code_and_damage_are_refused_by_name(tmp_path):
    folder = folder_of(tmp_path / "words", auto_map={"AutoTokenizer": ["code.Mine", None]})
    with pytest.raises(InputError, match=r"tokenizer_config.json names code"):
        load_tokenizer(folder, len(WORDS))
    for content in (b"{", b"[]", b"\xff"):
        (folder / "tokenizer_config.json").write_bytes(content)
        with pytest.raises(InputError, match=r"tokenizer_config.json"):
            load_tokenizer(folder, len(WORDS))
    (folder / "tokenizer_config.json").unlink()
    (folder / "vocab.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match=r"vocab.txt"):
        load_tokenizer(folder, len(WORDS))


def test_the_teachers_tokenizer_is_read_by_its_model_type(tmp_path):
    words = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>", *PLAIN]
    folder = folder_of(tmp_path / "words", words)
    (folder / "config.json").write_text('{"model_type": "mpnet"}')
    found = load_tokenizer(folder, len(words))
    assert isinstance(found, MPNetTokenizer)
    expected = MPNetTokenizer(vocab=str(folder / "vocab.txt"))
    assert found("a film")["input_ids"] == expected("a film")["input_ids"]


def test_an_exported_folder_without_its_tokenizer_is_refused(exported, tmp_path):
    folder = shutil.copytree(exported, tmp_path / "model")
    (folder / "tokenizer.json").unlink()
    write_manifest(folder, {})
    with pytest.raises(InputError, match="has no tokenizer"):
        Classifier.from_folder(folder)


def rewritten(folder: Path, name: str, **values) -> None:
    path = folder / name
    said = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(said | values))


@pytest.fixture
def with_name(tmp_path) -> Path:
    """A vocab.txt that holds a special token of its own, [NAME]."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "film", "##ing", "[NAME]", "by"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    return tmp_path


@pytest.mark.parametrize(("file", "said"), [
    ("tokenizer_config.json", {"additional_special_tokens": ["[NAME]"]}),
    ("tokenizer_config.json", {"extra_special_tokens": {"name_token": "[NAME]"}}),
    ("special_tokens_map.json", {"additional_special_tokens": [{"content": "[NAME]"}]}),
    ("tokenizer_config.json",
     {"added_tokens_decoder": {"7": {"content": "[NAME]", "special": True}}}),
    ("added_tokens.json", {"[NAME]": 7}),
])  # fmt: skip
def test_special_tokens_that_a_vocabulary_holds_are_not_split(with_name, file, said):
    rewritten(with_name, file, **said)
    ids = load_tokenizer(with_name, 9)("film by [NAME]")["input_ids"]
    assert ids == [2, 5, 8, 7, 3]


def test_a_special_token_that_is_nowhere_is_refused(with_name):
    rewritten(with_name, "tokenizer_config.json", additional_special_tokens=["[PLACE]"])
    with pytest.raises(InputError, match=r"'\[PLACE\]', which its vocabulary has not"):
        load_tokenizer(with_name, 9)


def test_the_older_file_of_special_tokens_counts(with_name):
    rewritten(with_name, "special_tokens_map.json", cls_token="[NAME]")
    assert load_tokenizer(with_name, 9)("film")["input_ids"][0] == 7


@pytest.mark.parametrize("change", [
    lambda said: said["normalizer"].update(lowercase=False),
    lambda said: said["model"].update(unk_token="[MASK]"),
    lambda said: said["post_processor"]["special_tokens"]["[CLS]"].update(ids=[4]),
], ids=["case", "unknown", "template"])  # fmt: skip
def test_a_tokenizer_json_that_reads_otherwise_than_its_other_files_is_refused(
    with_name, tmp_path, change
):
    tokenizer = load_tokenizer(with_name, 9)
    folder = tmp_path / "saved"
    tokenizer.save_pretrained(folder)
    assert load_tokenizer(folder, 9)("film by")["input_ids"] == [2, 5, 8, 3]
    said = json.loads((folder / "tokenizer.json").read_text())
    change(said)
    (folder / "tokenizer.json").write_text(json.dumps(said))
    rewritten(folder, "tokenizer_config.json", do_lower_case=True)
    with pytest.raises(InputError, match="read a text differently"):
        load_tokenizer(folder, 9)


def test_a_template_with_a_token_that_it_does_not_define_is_refused(with_name, tmp_path):
    """Which ends in a panic of Rust's, that is no Exception."""
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    said["post_processor"]["single"][0]["SpecialToken"]["id"] = "[NONE]"
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="its tokenizer cannot be used"):
        load_tokenizer(folder, 9)


def test_a_word_with_a_capital_that_was_added_does_not_make_it_cased(tmp_path):
    words = [*WORDS, *(f"word{n}" for n in range(300)), "IMDb"]
    tokenizer = load_tokenizer(folder_of(tmp_path / "a", words), len(words))
    assert tokenizer("FILM")["input_ids"] == tokenizer("film")["input_ids"]


def test_a_template_that_multiplies_tokens_is_refused(with_name, tmp_path):
    """Memory that Rust does not get ends the process, without a word."""
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    template = said["post_processor"]
    template["single"] = template["single"] * 50
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="post_processor"):
        load_tokenizer(folder, 9)
    template["single"] = template["single"][:3]
    template["special_tokens"]["[CLS]"]["ids"] *= 50
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="post_processor"):
        load_tokenizer(folder, 9)


@pytest.mark.parametrize("change", [
    {"model": []}, {"normalizer": []}, {"added_tokens": [{"content": "x", "id": None}]},
])  # fmt: skip
def test_a_tokenizer_json_of_another_shape_is_one_sentence(with_name, tmp_path, change):
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(said | change))
    with pytest.raises(InputError):
        load_tokenizer(folder, 9)


def test_an_added_token_that_the_tokenizer_json_has_not_is_refused(with_name, tmp_path):
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    (folder / "added_tokens.json").write_text(json.dumps({"popcornfilm": 9}))
    with pytest.raises(InputError, match="added token 'popcornfilm'"):
        load_tokenizer(folder, 16)


def test_a_tokenizer_that_adds_no_cls_is_refused(with_name, tmp_path):
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(said | {"post_processor": None}))
    rewritten(folder, "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    with pytest.raises(InputError, match=r"puts no \[CLS\] and \[SEP\]"):
        load_tokenizer(folder, 9)


def test_added_tokens_of_many_letters_are_refused(with_name, tmp_path):
    folder = tmp_path / "saved"
    load_tokenizer(with_name, 9).save_pretrained(folder)
    said = json.loads((folder / "tokenizer.json").read_text())
    first = said["added_tokens"][0]
    said["added_tokens"] += [{**first, "id": 9 + n, "content": f"{n}" + "x" * 5000}
                             for n in range(40)]  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match="letters together"):
        load_tokenizer(folder, 49)
