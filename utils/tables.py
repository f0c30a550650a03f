"""Tables in files, read and written a block of rows at a time: CSV, JSON and parquet."""

import codecs
import csv
import gzip
import io
import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from utils import InputError
from utils.files import each_once, memory_limit
from utils.text import is_unicode

BLOCK = 1024  # rows held in memory at a time
BLOCK_BYTES = 2**25  # of their lines, where these are long
LONGEST_LINE = 2**26  # bytes; of a CSV, of a row
MOST_VALUES = 2**24  # of a JSON line or array, and rows of parquet
MOST_OBJECTS = 2**19  # in a JSON line or array
MOST_LISTED = 2**22  # of the lists of a parquet row group, each of which may become a dict
MOST_PACKED = 100  # times that a column of parquet may be packed: texts are some five times
MOST_SHARED = 2**30  # bytes of texts that stand in many rows
MOST_REPEATED = 1000  # times a file's size, once each row has its own
MOST_COLUMNS = 10_000
MOST_CELLS = 2**20  # of a block
MOST_ALL_CELLS = 2**26  # of a small parquet file
MOST_MEMORY = 2**32  # bytes, for reading some rows of parquet
MOST_PROBED = 2**30  # bytes, for reading the first row of a group
LARGEST_ARRAY = 2**28  # bytes of a JSON array, which is read as a whole
csv.field_size_limit(2**27)  # characters; the default refuses long texts
SEPARATORS = ";\t|,"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet would run
LONE = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # half a character, which JSON alone can hold
GZ = ".gz"  # any of the formats made of text may be packed


def _keep_bytes(error: UnicodeEncodeError) -> tuple[bytes, int]:
    """Bytes that were no UTF-8 are written as they were; half a surrogate pair as U+FFFD."""
    code = ord(error.object[error.start])
    kept = bytes([code - 0xDC00]) if 0xDC80 <= code <= 0xDCFF else "\ufffd".encode()
    return kept, error.start + 1


codecs.register_error("keep_bytes", _keep_bytes)


@dataclass
class Block:
    """Some rows of a table.

    One that is no JSON object is empty, with its raw text in `unparsed`, by its position.
    """

    rows: list[dict] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)  # position in `rows`: what is wrong
    unparsed: dict[int, str] = field(default_factory=dict)
    share: float = 1.0  # of the file, read so far
    schema: pa.Schema | None = None  # of all rows, where the file tells it
    added: dict[str, pa.DataType] = field(default_factory=dict)  # columns that the file has not
    mark: bool = False  # the file begins with a byte-order mark, as Excel's CSV in UTF-8 does


def table_format(path: Path) -> str | None:
    """The extension that tells a table's format, without .gz; None where it is of no such file."""
    name = path.name.lower()
    suffix = Path(name.removesuffix(GZ)).suffix
    packed_parquet = name.endswith(GZ) and suffix == ".parquet"
    return suffix if suffix in READERS and not packed_parquet else None


def read_table(path: Path, separator: str | None = None) -> Iterator[Block]:
    """The blocks of a file of one of the formats in READERS, at least one.

    `separator` is that of .csv files, a comma where it is None. A row that cannot be read keeps its
    place, with what is wrong in `problems`. Raises InputError where the file has another extension,
    is missing or cannot be read at all.
    """
    suffix = _known_format(path)
    if not path.exists():
        raise InputError(f"{path} does not exist.")
    if not path.is_file() and not path.is_dir():  # a pipe or a device may never end
        raise InputError(f"{path} is no regular file: copy its content into one.")
    options = [_separator(suffix, separator)] if suffix in (".csv", ".tsv") else []
    return _readable_blocks(path, READERS[suffix](path, *options))


def _readable_blocks(path: Path, blocks: Iterator[Block]) -> Iterator[Block]:
    """The same blocks; where the disk or the packing fails, an InputError says so."""
    try:
        path.open("rb").close()
        yield from blocks
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} is no whole gzip file ({error}): get it again.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def write_table(
    path: Path, name: str, separator: str | None = None, escape: bool = False
) -> AbstractContextManager[Callable[[Block], None]]:
    """A context in which blocks are written to `path`, in the format of `name`'s extension.

    With `escape`, texts of a CSV that a spreadsheet would run as formulas get a ' before them.
    Raises InputError where a later block has columns that the format cannot add any more.
    """
    suffix = _known_format(Path(name))
    if suffix == ".parquet":
        return _write_parquet(path)
    packed = name.lower().endswith(GZ)
    if suffix in (".csv", ".tsv"):
        return _write_csv(path, packed, _separator(suffix, separator), escape)
    return _write_json(path, packed, array=suffix == ".json")


def _known_format(path: Path) -> str:
    suffix = table_format(path)
    if suffix is None:
        raise InputError(f"{path.name}: give a file of {FORMATS}.")
    return suffix


def _separator(suffix: str, wanted: str | None) -> str:
    return "\t" if suffix == ".tsv" else wanted or ","


def separator_hint(columns: list[str]) -> str | None:
    """A question, where a header is one column whose name holds another separator."""
    if len(columns) != 1:
        return None
    found = next((mark for mark in SEPARATORS if mark in columns[0]), None)
    said = "'tab'" if found == "\t" else repr(found)
    return found and (
        f"it has one column, named {columns[0]!r}: is it separated by {said}? Then say so, by "
        f"--separator {said} or in training SEPARATOR={said}"
    )


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Callable[[], float]]]:
    """A file's bytes, unpacked, and a function that tells which share of it was read."""
    size = max(1, path.stat().st_size)
    with path.open("rb") as raw:
        packed = path.name.lower().endswith(GZ)
        begin = raw.read(2)
        raw.seek(0)
        if begin == b"\x1f\x8b" and not packed:
            raise InputError(f"{path.name} is packed by gzip: name it {path.name}{GZ}.")
        if begin in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{path.name} is UTF-16: save it as UTF-8.")
        file = gzip.GzipFile(fileobj=raw) if packed else raw
        yield file, lambda: raw.tell() / size


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file; InputError at one that no review can be, as a packed bomb has."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise InputError(f"{path.name} has a line of over {LONGEST_LINE:,} bytes.")
        _require_unpacked(file.tell(), path)
        yield line


def _require_unpacked(count: int, path: Path) -> None:
    """Raise InputError where so many bytes came out of a file that is packed as a bomb is."""
    if count > max(LONGEST_LINE, MOST_PACKED * path.stat().st_size):
        raise InputError(f"{path.name} unpacks to over {MOST_PACKED} times its size: unpack it "
                         "first.")  # fmt: skip


def _has_mark(file: BinaryIO) -> bool:
    mark = file.read(3) == codecs.BOM_UTF8
    file.seek(0)
    return mark


class _Rows(csv.DictReader):
    """The rows of a CSV; of one column, a blank line is an empty cell, as spreadsheets write it."""

    def __next__(self):
        columns = self.fieldnames
        if len(columns) != 1:
            return super().__next__()
        row = next(self.reader)
        self.line_num = self.reader.line_num
        found = {columns[0]: row[0] if row else ""}
        return found | ({None: row[1:]} if len(row) > 1 else {})


def _read_csv(path: Path, separator: str) -> Iterator[Block]:
    """UTF-8 with a header; every value is a text, as it stands there."""
    with _opened(path) as (file, share):
        mark = _has_mark(file)
        read = 0  # bytes since the last row
        fields: list[int] = []  # of each line since the last row, were there no quotes
        file.seek(len(codecs.BOM_UTF8) if mark else 0)

        def lines() -> Iterator[str]:
            nonlocal read
            for line in _lines(file, path):
                read += len(line)
                if read > LONGEST_LINE:
                    raise InputError(f"{path.name} has a row of over {LONGEST_LINE:,} bytes.")
                # Bytes that are no UTF-8 survive as lone surrogates, to be written as they were.
                for part in _at_carriage_returns(line.decode("utf-8", errors="surrogateescape")):
                    if part.strip("\r\n"):
                        fields.append(part.count(separator) + 1)
                    yield part

        # strict: else an open quote swallows the rows after it
        reader = _Rows(lines(), strict=True, delimiter=separator)

        def broken(error: csv.Error) -> InputError:
            line = reader.line_num + 1  # after the last row that could be read
            return InputError(
                f"{path.name}, row in line {line}: {error}. In quotes, a quote is written twice."
            )

        try:
            columns = reader.fieldnames or []
        except csv.Error as error:
            raise broken(error) from error
        if re.fullmatch("sep=.?", "".join(columns[:1])):
            raise InputError(f"{path.name} begins with {columns[0]!r}, which Excel alone reads: "
                             "delete that line, and give the separator.")  # fmt: skip
        if not all(is_unicode(name) and "\0" not in name for name in columns):
            raise InputError(f"{path.name}: its first line is not UTF-8: save the file as UTF-8.")
        if len(columns) > MOST_COLUMNS:
            raise InputError(f"{path.name} has {len(columns):,} columns, of {MOST_COLUMNS:,} at "
                             "most.")  # fmt: skip
        if len(set(columns)) != len(columns) or not columns:
            raise InputError(f"{path.name}: its first line must name the columns, each once.")
        if (hint := separator_hint(columns)) and path.name.lower().removesuffix(GZ)[-4:] == ".tsv":
            hint = f"it has one column, named {columns[0]!r}, and no tab: name it .csv"
        if hint:
            raise InputError(f"{path.name}: {hint}.")

        plain = set(fields) == {len(columns)}  # so far each line is a row, without any quotes
        fields.clear()
        missing = 0  # cells, all in all

        def rows():
            nonlocal read, plain, missing
            try:
                for row in reader:
                    read = 0
                    alike = set(fields) == {len(columns)} != {1}
                    several, plain = alike and len(fields) > 1, plain and alike
                    fields.clear()
                    wrong = None in row or None in row.values()
                    missing += list(row.values()).count(None) if wrong else 0
                    if missing > MOST_CELLS + 10 * file.tell():  # each of them is written
                        raise InputError(f"{path.name} has many rows of fewer cells than the "
                                         f"header's {len(columns):,}: is it right?")  # fmt: skip
                    if surplus := row.pop(None, None):  # it stays in the last column
                        row[columns[-1]] = separator.join([row[columns[-1]], *surplus])
                    problem = f"not the header's {len(columns)} fields" if wrong else None
                    if [(value or "").removeprefix("\ufeff") for value in row.values()] == columns:
                        problem = "it repeats the header"
                    cells = [value for value in row.values() if value]
                    if several and (plain or any(_holds_rows(c, separator) for c in cells)):
                        problem = ("a quoted cell looks like several rows: in quotes, a quote is "
                                   "written twice")  # fmt: skip
                    yield row, problem
            except csv.Error as error:
                raise broken(error) from error

        schema = pa.schema([(name, pa.string()) for name in columns])
        for block in _blocks(rows(), share, file.tell):
            block.schema, block.mark = schema, mark
            yield block


def _at_carriage_returns(line: str) -> Iterator[str]:
    """The line in parts: a lone carriage return ends a row, too."""
    start = 0
    while 0 <= (end := line.find("\r", start)) < len(line) - 1 and line[end + 1] != "\n":
        yield line[start : end + 1]
        start = end + 1
    yield line[start:]


def _holds_rows(cell: str, separator: str) -> bool:
    """Whether a cell of several lines has swallowed rows, from a quote that a text begins with.

    Each line then ends with a separator and a value, or begins with them. In prose a space follows.
    """
    first, *others = cell.split("\n", 1000)

    def ends_with_value(line: str) -> bool:
        _, mark, value = line.rstrip("\r").rpartition(separator)
        return bool(mark and value) and not any(map(str.isspace, value))

    def begins_with_value(line: str) -> bool:
        value, mark, rest = line.partition(separator)
        return bool(mark and value and rest.strip()) and not any(map(str.isspace, value + rest[0]))

    return bool(others) and (
        all(map(ends_with_value, (first, *others[:-1]))) or all(map(begins_with_value, others))
    )


def _read_json(path: Path) -> Iterator[Block]:
    """A JSON object on each line, blank lines being no rows; or one array of such objects."""
    with _opened(path) as (file, share):
        mark = _has_mark(file)
        begin = file.read(2**16).lstrip(b"\xef\xbb\xbf \t\r\n")
        file.seek(0)
        if begin.startswith(b"["):
            content = file.read(LARGEST_ARRAY + 1)
            if len(content) > LARGEST_ARRAY:
                raise InputError(f"{path.name} is too large for a JSON array: write one object a "
                                 "line (.jsonl).")  # fmt: skip
            _require_unpacked(len(content), path)
            if _is_bomb(content):
                raise InputError(f"{path.name} has more than {MOST_VALUES:,} values, too many for "
                                 "a JSON array: write one object a line (.jsonl).")  # fmt: skip
            try:
                text = content.decode("utf-8-sig", errors="surrogateescape")
                del content  # as large again
                whole = json.loads(text, object_pairs_hook=each_once)
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{path.name} begins as a JSON array, and cannot be parsed: {error}. Get it "
                    "again, or write one object a line."
                ) from error
            values = (_within_columns(value, json.dumps(value, ensure_ascii=False))
                      for value in whole)  # fmt: skip
        elif begin.split(b"\n")[0].strip() == b"{":
            raise InputError(f"{path.name} holds objects over several lines: write each on a line "
                             "of its own, or an array of them.")  # fmt: skip
        else:
            values = (_parsed(line) for line in _lines(file, path) if line.strip())
        rows = ((row, None) if isinstance(row, dict) else ({}, (raw, why))
                for row, raw, why in values)  # fmt: skip
        empty = True
        for block in _blocks(rows, share, file.tell):
            empty = empty and not block.rows
            block.unparsed = {place: raw for place, (raw, _) in block.problems.items()}
            block.problems = {place: f"not a JSON object{why}: its raw text is kept"
                              for place, (_, why) in block.problems.items()}  # fmt: skip
            block.mark = mark
            yield block
        if empty:
            raise InputError(f"{path.name} holds no rows.")


def _is_bomb(content: bytes) -> bool:
    """Whether JSON has more values than are held: each of them takes many times its bytes."""
    objects = content.count(b"{") + content.count(b"[")
    return objects > MOST_OBJECTS or content.count(b",") > MOST_VALUES


def _parsed(line: bytes) -> tuple[object, str, str]:
    """A line's value, its text and, where it has no value, why."""
    raw = line.decode("utf-8-sig", errors="surrogateescape").rstrip("\r\n")
    if _is_bomb(line):
        return None, raw, f" (it has more than {MOST_VALUES:,} values)"
    try:
        return _within_columns(json.loads(raw, object_pairs_hook=each_once), raw)
    except (ValueError, RecursionError) as error:
        return None, raw, f" ({error})"


def _within_columns(value: object, raw: str) -> tuple[object, str, str]:
    """The same three, of a value that was parsed."""
    if isinstance(value, dict) and len(value) > MOST_COLUMNS:
        return None, raw, f" (it has {len(value):,} columns, of {MOST_COLUMNS:,} at most)"
    return value, raw, ""


def _blocks(
    rows: Iterable[tuple[dict, str | None]],
    share: Callable[[], float],
    position: Callable[[], int],
) -> Iterator[Block]:
    """Rows in blocks; what comes beside a row is its problem. `position` counts unpacked bytes."""
    block, names, begun = Block(), set(), 0
    for row, problem in rows:
        if problem is not None:
            block.problems[len(block.rows)] = problem
        block.rows.append(row)
        names.update(row)
        cells = (len(block.rows) + 1) * len(names)  # once each row has all columns, with one more
        if len(block.rows) == BLOCK or cells > MOST_CELLS or position() - begun > BLOCK_BYTES:
            block.share, begun = share(), position()
            yield block
            block, names = Block(), set()
    yield block


# What pyarrow raises where a file is damaged, or is more than is held.
UNREADABLE = (pa.ArrowException, OSError, ValueError, OverflowError, MemoryError)


def _read_parquet(path: Path) -> Iterator[Block]:
    try:
        schema = pq.read_schema(path)
        if len(schema.names) > MOST_COLUMNS:
            raise InputError(f"{path.name} has {len(schema.names):,} columns, of {MOST_COLUMNS:,} "
                             "at most: leave some out.")  # fmt: skip
        if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
            raise InputError(f"{path.name} has two columns named {twice[0]!r}: rename one.")
        for column in _with_inner(schema):
            if pa.types.is_time64(column.type) and column.type.unit == "ns":
                raise InputError(f"{path.name}: the times in the column {column.name} have "
                                 "nanoseconds: they would be lost.")  # fmt: skip
        metadata = pq.read_metadata(path)
        check_parquet(metadata, path)
        total, done, size = metadata.num_rows, 0, 0
        with pq.ParquetFile(path, read_dictionary=_texts(metadata)) as file:
            for batch in _batches(file):
                size += sum(_sizes(column).sum() for column in batch.columns)
                if size > max(MOST_SHARED, MOST_REPEATED * path.stat().st_size):
                    raise InputError(
                        f"{path.name} repeats its texts until they have "
                        f"{MOST_REPEATED} times its size: save them once."
                    )
                for part in _parts(batch, path.name):
                    done += part.num_rows
                    with memory_limit(MOST_MEMORY):
                        rows = part.to_pylist()
                    yield Block(rows, share=done / total, schema=schema)
            if done != total:
                raise pa.ArrowInvalid(f"it holds {done:,} of {total:,} rows")
            if not total:
                yield Block(schema=schema)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path.name} cannot be read as parquet: {error}") from error


def _batches(file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """Some rows at a time, each batch of one group: pyarrow cannot join lists of texts of two."""
    for number in range(file.metadata.num_row_groups):
        group, found = file.metadata.row_group(number), 0
        batches = file.iter_batches(_rows_at_once(group), row_groups=[number])
        while True:
            with memory_limit(MOST_MEMORY):  # the sizes in a file's footer may be lies
                batch = next(batches, None)
            if batch is None:
                break
            found += batch.num_rows
            yield batch
        if found != group.num_rows:  # pyarrow ends where one column does
            raise pa.ArrowInvalid(f"it holds {found:,} of {group.num_rows:,} rows")


def _texts(metadata: pq.FileMetaData) -> list[str]:
    """The columns of texts: one that stands in many rows is stored once.

    As a dictionary it is read once, too.
    """
    leaves = [metadata.schema.column(number) for number in range(metadata.num_columns)]
    return [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"
            and leaf.logical_type.type in ("STRING", "NONE", "JSON")]  # fmt: skip


def bytes_of_texts(path: Path) -> int:
    """The bytes of a parquet file's texts, once each row has its own."""
    with pq.ParquetFile(path, read_dictionary=_texts(pq.read_metadata(path))) as file:
        return int(sum(_sizes(column).sum() for batch in _batches(file)
                       for column in batch.columns))  # fmt: skip


def _with_inner(fields: Iterable[pa.Field]) -> Iterator[pa.Field]:
    """The fields, and those within them."""
    for column in fields:
        yield column
        yield from _with_inner(column.type.field(n) for n in range(column.type.num_fields))


def check_parquet(metadata: pq.FileMetaData, path: Path) -> None:
    """Raise InputError where a few bytes describe more values, or longer ones, than are held."""
    name = path.name
    if metadata.num_rows > max(MOST_VALUES, MOST_PACKED * path.stat().st_size):
        raise InputError(f"{name} has {metadata.num_rows:,} rows, a hundred times its bytes: save "
                         "it anew, without those that are empty.")  # fmt: skip
    for column in _with_inner(metadata.schema.to_arrow_schema()):
        if isinstance(column.type, pa.JsonType) or "list_view" in str(column.type):
            raise InputError(f"{name}: the column {column.name} is a {column.type}: save it as "
                             "text, or as a list.")  # fmt: skip
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    if (held := sum(group.num_rows for group in groups)) != metadata.num_rows:
        raise InputError(f"{name} is damaged: its parts hold {held:,} of {metadata.num_rows:,} "
                         "rows, get it again.")  # fmt: skip
    most = max(MOST_ALL_CELLS, MOST_PACKED * path.stat().st_size)
    cells = 0  # of all groups
    for number, first in enumerate(_first_rows(path)):
        if first is None and metadata.row_group(number).num_rows:
            raise InputError(f"{name} is damaged: a part of it has no rows, get it again.")
        group, listed = metadata.row_group(number), 0
        for place in range(group.num_columns):
            column = group.column(place)
            size, packed = column.total_uncompressed_size, column.total_compressed_size
            if column.physical_type == "FIXED_LEN_BYTE_ARRAY":  # of which one may stand for many
                size = max(size, metadata.schema.column(place).length * column.num_values)
            if size > LONGEST_LINE and size > MOST_PACKED * packed:
                raise InputError(f"{name}: the column {column.path_in_schema} unpacks to {size:,} "
                                 "bytes, a hundred times its size: save it anew.")  # fmt: skip
            listed += max(0, column.num_values - group.num_rows) * _depth(column)
            if listed > MOST_LISTED:
                raise InputError(f"{name} has lists of {column.num_values:,} values in the column "
                                 f"{column.path_in_schema}: leave it out, or write smaller row "
                                 "groups.")  # fmt: skip
            cells += max(column.num_values, group.num_rows) * _depth(column)
            if cells > most:
                raise InputError(f"{name} has over {most:,} values, a hundred times its bytes: "
                                 "leave columns out, or save fewer rows in a file.")  # fmt: skip


def _first_rows(path: Path) -> Iterator[pa.RecordBatch | None]:
    """The first row of each group, None where it has none.

    Of a damaged footer, reading the columns' sizes ends the process, where reading a row raises.
    """
    with pq.ParquetFile(path) as file:
        for number in range(file.metadata.num_row_groups):
            with memory_limit(MOST_PROBED):
                first = next(file.iter_batches(1, row_groups=[number]), None)
            yield first


def _depth(column: pq.ColumnChunkMetaData) -> int:
    """Of how many dicts and lists each of its values may become one, beside the value itself."""
    return max(1, column.path_in_schema.count(".") - 1)  # a list's path has two dots


def _rows_at_once(group: pq.RowGroupMetaData) -> int:
    """Rows of a batch of BLOCK_BYTES and MOST_CELLS at most, as the group's are in the mean."""
    columns = map(group.column, range(group.num_columns))
    cells = sum(max(column.num_values, group.num_rows) * _depth(column) for column in columns)
    times = min(BLOCK_BYTES / max(1, group.total_byte_size), MOST_CELLS / max(1, cells))
    return max(1, min(BLOCK, int(times * group.num_rows)))


def _parts(batch: pa.RecordBatch, name: str) -> Iterator[pa.RecordBatch]:
    """The batch in parts of BLOCK_BYTES at most, or of one row, once each row has its own texts.

    Raises InputError where a row is longer than is held.
    """
    sizes = sum(map(_sizes, batch.columns), np.zeros(batch.num_rows))
    if batch.num_rows and sizes.max() > LONGEST_LINE:
        raise InputError(f"{name} has a row of over {LONGEST_LINE:,} bytes.")
    numbers = (np.cumsum(sizes) // BLOCK_BYTES).astype(int)
    starts = np.unique(numbers, return_index=True)[1]
    for start, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
        yield batch.slice(start, end - start)


def _sizes(column: pa.Array) -> np.ndarray:
    """The bytes of each row's texts, however nested, once each has its own; shape (rows,)."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return lengths.fill_null(0).to_numpy(zero_copy_only=False)
    if pa.types.is_struct(kind):
        return sum(map(_sizes, column.flatten()), np.zeros(len(column)))
    if pa.types.is_fixed_size_list(kind):
        column = column.cast(pa.list_(kind.value_type))
    elif not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind)):
        return np.zeros(len(column))
    inner = (column.keys, column.items) if pa.types.is_map(kind) else (column.values,)
    ends = np.concatenate([[0], np.cumsum(sum(map(_sizes, inner)))])
    return np.diff(ends[column.offsets.to_numpy()])


@contextmanager
def _text_file(path: Path, packed: bool) -> Iterator[TextIO]:
    """A file for text in UTF-8, packed or not; its bytes depend on nothing but the text."""
    with path.open("wb") as raw:
        file = gzip.GzipFile("", "wb", fileobj=raw, mtime=0) if packed else raw
        with file, io.TextIOWrapper(file, "utf-8", errors="keep_bytes", newline="") as text:
            yield text


@contextmanager
def _write_csv(
    path: Path, packed: bool, separator: str, escape: bool
) -> Iterator[Callable[[Block], None]]:
    with _text_file(path, packed) as file:
        writer = None

        def write_rows(rows: list[dict]) -> None:
            if escape:
                rows = [{name: _no_formula(v) for name, v in row.items()} for row in rows]
            writer.writerows(rows)

        def write(block: Block) -> None:
            nonlocal writer
            if writer is None:
                file.write("\ufeff" if block.mark else "")
                writer = csv.DictWriter(file, _columns(block), delimiter=separator)
                write_rows([{name: name for name in writer.fieldnames}])
            try:
                write_rows(block.rows)
            except ValueError as error:
                raise InputError(f"A CSV file cannot add columns later: {error}.") from error

        yield write


def _no_formula(value):
    """The value; of a text that begins as a formula, with a ' before it, as OWASP advises."""
    if not isinstance(value, str) or value[:1] not in FORMULA:
        return value
    try:
        float(value)  # a number is none, be it negative
        return value
    except ValueError:
        return f"'{value}"


@contextmanager
def _write_json(path: Path, packed: bool, array: bool) -> Iterator[Callable[[Block], None]]:
    """One object a line; as an `array`, between brackets and with commas."""
    with _text_file(path, packed) as file:
        before = "[\n" if array else ""

        def write(block: Block) -> None:
            nonlocal before
            if file.tell() == 0 and block.mark:
                file.write("\ufeff")
            for row in block.rows:
                line = json.dumps(row, ensure_ascii=False, default=str)
                file.write(before + LONE.sub(lambda found: f"\\u{ord(found[0]):04x}", line))
                before = ",\n" if array else "\n"

        yield write
        if array:
            file.write("[]\n" if before == "[\n" else "\n]\n")
        elif before:
            file.write("\n")


@contextmanager
def _write_parquet(path: Path) -> Iterator[Callable[[Block], None]]:
    writer = None

    def write(block: Block) -> None:
        nonlocal writer
        try:
            with memory_limit(MOST_MEMORY):
                rows = [_readable(row) for row in block.rows]
                if writer is None:
                    rows = [dict.fromkeys(_columns(block)) | row for row in rows]
                    schema = _schema(block, rows)
                    _require_readable(schema)
                    writer = pq.ParquetWriter(path, schema)
                if unknown := {name for row in rows for name in row} - set(writer.schema.names):
                    raise InputError(f"A parquet file cannot add columns later: {sorted(unknown)}.")
                table = pa.Table.from_pylist(rows, writer.schema)
                if block.schema is None and (lost := _lost(rows, table.to_pylist())):
                    raise pa.ArrowInvalid(f"{lost} would be lost")
                writer.write_table(table)
        except MemoryError as error:
            raise InputError("Some rows need too much memory as parquet: write .jsonl.") from error
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, RecursionError,
                NotImplementedError) as error:  # fmt: skip
            raise InputError(
                f"A column does not keep one type, as parquet needs: {error}. Write .jsonl."
            ) from error

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()


def _require_readable(schema: pa.Schema) -> None:
    """Raises ArrowInvalid where pyarrow would write what it refuses to read, as deep nesting."""
    empty = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), empty)
    try:
        pq.read_schema(pa.BufferReader(empty.getvalue()))
    except OSError as error:
        raise pa.ArrowInvalid(str(error)) from error


def _lost(given: list, found: list) -> str | None:
    """The first value that a column of one type, set by the first rows, does not hold, as text."""
    for one, other in zip(given, found, strict=True):
        if isinstance(one, dict) and isinstance(other, dict):
            if one.keys() - other.keys():
                return str(one)[:80]
            lost = _lost(list(one.values()), [other[name] for name in one])
        elif isinstance(one, list) and isinstance(other, list):
            lost = _lost(one, other)
        else:
            lost = None if one == other or one != one else str(one)[:80]  # NaN is not itself
        if lost:
            return lost
    return None


def _schema(block: Block, rows: list[dict]) -> pa.Schema:
    """The file's schema, else the rows', with the added columns: also where no row has a value.

    Categories are written in the order in which they come, so that they are not ordered any more.
    """
    schema = block.schema or pa.Table.from_pylist(rows).schema
    for place, column in enumerate(schema):
        if pa.types.is_dictionary(column.type) and column.type.ordered:
            kind = pa.dictionary(column.type.index_type, column.type.value_type)
            schema = schema.set(place, column.with_type(kind))
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


READERS = {
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".jsonl": _read_json,
    ".ndjson": _read_json,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
FORMATS = f"{', '.join(READERS)} (all but parquet also with {GZ})"
