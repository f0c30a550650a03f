"""Turn a classifier that others saved into a safe folder, running nothing that is in the file.

Examples:
  python scripts/convert-legacy.py finetuned_bert_model --tokenizer my-tokenizer --output my-model
  python scripts/convert-legacy.py checkpoint-500 --output my-model

FILE is what torch.save wrote, a whole model, whose class may no longer exist, or a state dict; or a
folder of save_pretrained or a Trainer. It is a DistilBERT with a head of one linear layer on [CLS],
or of two with ReLU between them, as transformers' own.
"""

import argparse
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils import InputError
from utils.files import sha256
from utils.manifest import check_replaceable

CARD = """---
language: en
library_name: transformers
pipeline_tag: text-classification
---

# {name}, converted

The weights of `{name}` (SHA-256 `{sha256}`), read without running anything and written as
safetensors. How it was trained is not in the file, and nothing was measured here.

```python
from transformers import pipeline

pipeline("text-classification", "{folder}")("A moving, clever film.", truncation=True)
```
"""
MOST_BYTES = 2**36  # of weights
SECONDS = 120  # of reading, and one for each 10 MB
GIGABYTES = 4  # beside a multiple of the file's size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="what torch.save wrote, or a checkpoint's folder")
    parser.add_argument(
        "--tokenizer", type=Path, help="a folder with the tokenizer of its training; of a folder "
        "its own, if not given"
    )  # fmt: skip
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument(
        "--heads", type=int, help="attention heads of each layer, where the file does not say"
    )
    parser.add_argument(
        "--labels", nargs=2, metavar=("CLASS_0", "CLASS_1"), help="names of the two classes, where "
        "the file does not say: negative positive, or the other way round"
    )  # fmt: skip
    arguments = parser.parse_args()
    try:
        folder, notes, tensors = convert(arguments)
    except InputError as error:
        sys.exit(f"error: {error}")
    shown = os.path.relpath(folder)
    print(f"{tensors} tensors were read, nothing was run. In the new folder class 0 is NEGATIVE")
    print("and class 1 POSITIVE.")
    for note in notes:
        print(f"Note: {note}")
    print(f"Written to {shown}/. Use it:")
    print(f'  python scripts/model-inference.py --model {shown} "A moving, clever film."')


def convert(arguments: argparse.Namespace) -> tuple[Path, list[str], int]:
    """The folder that was written, what had to be assumed, and how many tensors were read."""
    # Imported here, so that --help and a wrong argument answer at once.
    from transformers.utils.logging import disable_progress_bar

    from utils.export.folder import write_model
    from utils.hardware import versions
    from utils.inference.classifier import Classifier
    from utils.modeling.legacy import legacy_model, read_legacy
    from utils.modeling.tokenizer import load_tokenizer

    disable_progress_bar()
    file, tokenizer = arguments.file, arguments.tokenizer
    check_replaceable(arguments.output.resolve())
    if tokenizer is None and not file.is_dir():
        raise InputError("--tokenizer is missing: a file of torch.save holds none, so name a "
                         "folder with the one of its training.")  # fmt: skip
    if tokenizer is not None and not tokenizer.is_dir():
        raise InputError(
            f"--tokenizer {tokenizer} is no folder: save the tokenizer of the training there, with "
            "AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)."
        )
    if not file.exists():
        raise InputError(f"{file} does not exist.")
    digest = hash_of(file)
    with limits(file):
        legacy = read_legacy(file)
        model, notes = legacy_model(legacy, arguments.heads, arguments.labels)
        tokenizer = load_tokenizer(tokenizer or file, model.config.vocab_size)
    if hash_of(file) != digest:
        raise InputError(f"{file} changed while it was read: convert it again.")
    Classifier(model, tokenizer).predict("A film.")  # which a model that is damaged cannot
    name = file.resolve().name.encode(errors="backslashreplace").decode()
    card = CARD.format(name=name, sha256=digest, folder=arguments.output.name)
    about = {"converted_from": {"file": name, "sha256": digest}, "versions": versions()}
    folder = write_model(model, tokenizer, card, about, arguments.output)
    return folder, notes, len(legacy.tensors)


@contextmanager
def limits(file: Path) -> Iterator[None]:
    """Bounds on memory and processor time while a file of a stranger is read.

    The reader has its own; these are for what it may have overlooked. Of this process, which does
    nothing else: a child would have to hand its tensors back. Elsewhere than on POSIX there are
    none.
    """
    try:
        import resource
    except ImportError:
        yield
        return
    from utils.modeling.backbones import weight_files

    files = weight_files(file)[0] if file.is_dir() else [file]
    sizes = [path.stat() for path in files]  # as they lie on the disk: a file may have holes
    size = min(MOST_BYTES, sum(min(found.st_size, 512 * found.st_blocks) for found in sizes))
    used = resource.getrusage(resource.RUSAGE_SELF)
    # What is written to counts, not address space alone, which threads and drivers take in plenty.
    wanted = {
        resource.RLIMIT_DATA: GIGABYTES * 2**30 + 4 * size,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime) + SECONDS + size // 10**7,
    }
    before = {kind: resource.getrlimit(kind) for kind in wanted}
    try:
        for kind, (soft, hard) in before.items():
            allowed = [n for n in (soft, hard, wanted[kind]) if n != resource.RLIM_INFINITY]
            resource.setrlimit(kind, (min(allowed), hard))
        yield
    finally:
        for kind, both in before.items():
            resource.setrlimit(kind, both)


def hash_of(path: Path) -> str:
    """The SHA-256 of a file; of a folder that of its weights or, of several shards, of theirs."""
    from utils.modeling.backbones import weight_files

    if path.is_file():
        return sha256(path)
    hashes = [sha256(file) for file in weight_files(path)[0]]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


if __name__ == "__main__":
    main()
