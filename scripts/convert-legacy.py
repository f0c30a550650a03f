"""Turn a model pickled with torch.save into a safe folder, running nothing that is in the file.

Example:
  python scripts/convert-legacy.py finetuned_bert_model --tokenizer my-tokenizer --output my-model

FILE is a whole pickled model, whose class may no longer exist, or a state dict: a DistilBERT with a
head of one linear layer on [CLS], or transformers' own of two.
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from utils import InputError
from utils.export import write_model
from utils.hardware import versions
from utils.legacy import legacy_model, read_legacy
from utils.results import sha256
from utils.text import MAX_TOKENS

CARD = """---
language: en
library_name: transformers
pipeline_tag: text-classification
---

# {name}, converted

The weights of `{name}` (SHA-256 `{sha256}`), read from a pickle without running it and written as
safetensors. How it was trained is not in the file, and nothing was measured here.

```python
from transformers import pipeline

pipeline("text-classification", "{folder}")("A moving, clever film.", truncation=True)
```
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="what torch.save wrote")
    parser.add_argument(
        "--tokenizer", type=Path, required=True, help="a folder with the tokenizer of its training"
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--heads", type=int, help="attention heads of each layer, where the file does not say"
    )
    arguments = parser.parse_args()
    try:
        tensors, configuration = read_legacy(arguments.file)
        model = legacy_model(tensors, configuration, arguments.heads)
        tokenizer = read_tokenizer(arguments.tokenizer, model.config.vocab_size)
        digest = sha256(arguments.file)
        name, folder = arguments.file.name, arguments.output
        card = CARD.format(name=name, sha256=digest, folder=folder.name)
        about = {"converted_from": {"file": name, "sha256": digest}, "versions": versions()}
        folder = write_model(model, tokenizer, card, about, folder)
    except InputError as error:
        sys.exit(f"error: {error}")
    shown = os.path.relpath(folder)
    print(f"{len(tensors)} tensors were read, nothing was run. Class 0 is taken for NEGATIVE and 1")
    print(f"for POSITIVE, as in the originals. Written to {shown}/. Use it:")
    print(f'  python scripts/model-inference.py --model {shown} "A moving, clever film."')


def read_tokenizer(folder: Path, vocabulary: int) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder, which must have as many words as the model."""
    if not folder.is_dir():
        raise InputError(
            f"--tokenizer {folder} is no folder: save the tokenizer of the training there, with "
            "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # tokenizers raises no narrower one
        raise InputError(f"--tokenizer {folder} cannot be read: {str(error)[:200]}") from error
    if len(tokenizer) != vocabulary:
        raise InputError(
            f"The tokenizer in {folder} has {len(tokenizer):,} words and the model "
            f"{vocabulary:,}: give the one of its training."
        )
    tokenizer.model_max_length = MAX_TOKENS
    return tokenizer


if __name__ == "__main__":
    main()
