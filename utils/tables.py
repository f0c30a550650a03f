"""Tables in files, read and written a block of rows at a time: CSV, JSONL and parquet."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from utils import InputError

BLOCK = 1024  # rows held in memory at a time
csv.field_size_limit(2**27)  # characters; the default refuses long texts


def _keep_bytes(error: UnicodeEncodeError) -> tuple[bytes, int]:
    """Bytes that were no UTF-8 are written as they were; half a surrogate pair as U+FFFD."""
    code = ord(error.object[error.start])
    kept = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else "\ufffd".encode()
    return kept, error.start + 1


codecs.register_error("keep_bytes", _keep_bytes)


@dataclass
class Block:
    """Some rows of a table."""

    rows: list[dict] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)  # position in `rows`: what is wrong
    share: float = 1.0  # of the file, read so far
    schema: pa.Schema | None = None  # of all rows, where the file tells it
    added: dict[str, pa.DataType] = field(default_factory=dict)  # columns that the file has not


def read_table(path: Path) -> Iterator[Block]:
    """The blocks of a .csv, .jsonl or .parquet file, at least one.

    A row that cannot be read keeps its place, with what is wrong in `problems`. Raises InputError
    where the file has another extension, is missing or cannot be read at all.
    """
    reader = _by_extension(path, READERS)
    if not path.is_file():
        raise InputError(f"{path} does not exist.")
    return _readable_blocks(path, reader)


def _readable_blocks(path: Path, reader: Callable[[Path], Iterator[Block]]) -> Iterator[Block]:
    """The reader's blocks; where the disk fails, an InputError says that it was in reading."""
    try:
        path.open("rb").close()
        yield from reader(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def write_table(path: Path, name: str) -> AbstractContextManager[Callable[[Block], None]]:
    """A context in which blocks are written to `path`, in the format of `name`'s extension.

    Raises InputError where a later block has columns that the format cannot add any more.
    """
    return _by_extension(Path(name), WRITERS)(path)


def _by_extension(path: Path, known: dict) -> Callable:
    if path.suffix.lower() not in known:
        raise InputError(f"{path.name}: give a .csv, .jsonl or .parquet file.")
    return known[path.suffix.lower()]


def _read_csv(path: Path) -> Iterator[Block]:
    """UTF-8 with a header; every value is a text, as it stands there."""
    with path.open("rb") as file:
        # Bytes that are no UTF-8 survive as lone surrogates, and are written back as they were.
        text = io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.DictReader(text, strict=True)  # else an open quote swallows the rows after it

        def broken(error: csv.Error) -> InputError:
            line = reader.line_num + 1  # after the last row that could be read
            return InputError(
                f"{path.name}, row in line {line}: {error}. In quotes, a quote is written twice."
            )

        try:
            columns = reader.fieldnames or []
        except csv.Error as error:
            raise broken(error) from error
        if len(set(columns)) != len(columns) or not columns:
            raise InputError(f"{path.name}: its first line must name the columns, each once.")
        if not all(map(is_unicode, columns)):
            raise InputError(f"{path.name}: its first line is not UTF-8: save the file as UTF-8.")

        def rows():
            try:
                for row in reader:
                    wrong = None in row or None in row.values()
                    if surplus := row.pop(None, None):  # it stays in the last column
                        row[columns[-1]] = ",".join([row[columns[-1]], *surplus])
                    yield row, f"not the header's {len(columns)} fields" if wrong else None
            except csv.Error as error:
                raise broken(error) from error

        schema = pa.schema([(name, pa.string()) for name in columns])
        yield from _blocks(rows(), file, path.stat().st_size, schema)


def _read_jsonl(path: Path) -> Iterator[Block]:
    """A JSON object on each line; blank lines are no rows."""
    with path.open("rb") as file:

        def rows():
            for line in file:
                if not line.strip():
                    continue
                try:
                    row = json.loads(line.decode("utf-8-sig", errors="surrogateescape"))
                except (ValueError, RecursionError):
                    row = None
                yield (row, None) if isinstance(row, dict) else ({}, "not a JSON object")

        yield from _blocks(rows(), file, path.stat().st_size, None)


def _blocks(
    rows: Iterable[tuple[dict, str | None]], file, size: int, schema: pa.Schema | None
) -> Iterator[Block]:
    block = Block(schema=schema)
    for row, problem in rows:
        if problem:
            block.problems[len(block.rows)] = problem
        block.rows.append(row)
        if len(block.rows) == BLOCK:
            block.share = file.tell() / size
            yield block
            block = Block(schema=schema)
    yield block


def _read_parquet(path: Path) -> Iterator[Block]:
    try:
        with pq.ParquetFile(path) as file:
            total, done = file.metadata.num_rows, 0
            for batch in file.iter_batches(BLOCK):
                done += batch.num_rows
                yield Block(batch.to_pylist(), share=done / total, schema=file.schema_arrow)
            if not total:
                yield Block(schema=file.schema_arrow)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{path.name} cannot be read as parquet: {error}") from error


@contextmanager
def _write_csv(path: Path) -> Iterator[Callable[[Block], None]]:
    with path.open("w", encoding="utf-8", errors="keep_bytes", newline="") as file:
        writer = None

        def write(block: Block) -> None:
            nonlocal writer
            if writer is None:
                writer = csv.DictWriter(file, _columns(block))
                writer.writeheader()
            try:
                writer.writerows(block.rows)
            except ValueError as error:
                raise InputError(f"A CSV file cannot add columns later: {error}.") from error

        yield write


@contextmanager
def _write_jsonl(path: Path) -> Iterator[Callable[[Block], None]]:
    with path.open("w", encoding="utf-8", errors="keep_bytes") as file:

        def write(block: Block) -> None:
            for row in block.rows:
                file.write(json.dumps(row, ensure_ascii=False, default=str) + "\n")

        yield write


@contextmanager
def _write_parquet(path: Path) -> Iterator[Callable[[Block], None]]:
    writer = None

    def write(block: Block) -> None:
        nonlocal writer
        try:
            rows = [_readable(row) for row in block.rows]
            if writer is None:
                rows = [dict.fromkeys(_columns(block)) | row for row in rows]
                writer = pq.ParquetWriter(path, _schema(block, rows))
            if unknown := {name for row in rows for name in row} - set(writer.schema.names):
                raise InputError(f"A parquet file cannot add columns later: {sorted(unknown)}.")
            writer.write_table(pa.Table.from_pylist(rows, writer.schema))
        except (pa.ArrowException, OverflowError) as error:
            raise InputError(
                f"A column does not keep one type, as parquet needs: {error}. Write .jsonl."
            ) from error

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _schema(block: Block, rows: list[dict]) -> pa.Schema:
    """The file's schema, else the rows', with the added columns: also where no row has a value."""
    schema = block.schema or pa.Table.from_pylist(rows).schema
    for name, kind in block.added.items():
        place = schema.get_field_index(name)
        new = pa.field(name, kind)
        schema = schema.append(new) if place < 0 else schema.set(place, new)
    return schema


def _columns(block: Block) -> list[str]:
    known = block.schema.names if block.schema else [name for row in block.rows for name in row]
    return list(dict.fromkeys([*known, *block.added]))


def _readable(value):
    """A value whose texts have none of the bytes that parquet cannot hold, however nested."""
    if isinstance(value, dict):
        return {_readable(name): _readable(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_readable(inner) for inner in value]
    if not isinstance(value, str):
        return value
    return value.encode(errors="keep_bytes").decode(errors="replace")


def is_unicode(text: str) -> bool:
    """Whether a text holds no lone surrogates, which stand for bytes that were no UTF-8."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


READERS = {".csv": _read_csv, ".jsonl": _read_jsonl, ".parquet": _read_parquet}
WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl, ".parquet": _write_parquet}
