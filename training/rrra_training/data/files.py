"""Data files as people have them: compressed or not, with an encoding mark or without, JSON, CSV or Parquet."""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from rrra_haystack.documents.decoding import marked_encoding
from rrra_haystack.documents.records import header_delimiter
from rrra_training.data.rows import Malformed

_CHUNK = 1 << 16
_ROWS_AT_ONCE = 1024
# Cells may be longer than the reader's default of 131,072 characters.
_LONGEST_CELL = (1 << 31) - 1
_DAMAGED = (EOFError, gzip.BadGzipFile, zlib.error)


def suffix_of(path: Path) -> str:
    """What kind of file a name tells, compressed or not: ``.jsonl`` of ``corpus.jsonl.gz``."""
    return Path(path.name.removesuffix(".gz")).suffix.lower()


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """
    Open a text file, gzipped or not; a byte order mark tells its encoding, which is UTF-8 otherwise.

    :param path: The file.
    :raises FileNotFoundError: If it is missing.
    :raises ValueError: If it is damaged, or not in that encoding.
    """
    if not path.is_file():
        msg = f"{path} is missing. Check the path."
        raise FileNotFoundError(msg)
    with _binary(path) as file:
        encoding = _encoding_of(file, path)
        try:
            yield io.TextIOWrapper(file, encoding=encoding, newline="")
        except UnicodeDecodeError as error:
            line = _first_line_that(lambda text: not _is_encoded(text, encoding), path)
            msg = (
                f"{path}, line {line}: the text is not {encoding.upper().removesuffix('-SIG')} ({error.reason}). Save "
                "the file as UTF-8."
            )
            raise ValueError(msg) from None
        except _DAMAGED as error:
            msg = f"{path} is damaged: it cannot be decompressed ({error}). Copy or download it again."
            raise ValueError(msg) from None


def _binary(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _encoding_of(file: IO[bytes], path: Path) -> str:
    try:
        begin = file.read(4)
    except _DAMAGED as error:
        msg = f"{path} is damaged: it cannot be decompressed ({error}). Copy or download it again."
        raise ValueError(msg) from None
    file.seek(0)
    return marked_encoding(begin) or "utf-8"


def _is_encoded(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _first_line_that(holds: Callable[[bytes], bool], path: Path) -> int:
    with _binary(path) as lines:
        return next((number for number, line in enumerate(lines, start=1) if holds(line)), 1)


def records(path: Path, malformed: Malformed) -> Iterator[tuple[int, dict[str, Any]]]:
    """
    Rows with names, and their line (or row) numbers from 1: of JSON lines, a JSON array, CSV, TSV with a header, or
    Parquet, as the name of the file says; all but Parquet may be gzipped. What separates the values of CSV, the header
    tells, or a first line ``sep=;``.

    :param path: The file.
    :param malformed: What is told of rows that cannot be read.
    :raises FileNotFoundError: If it is missing.
    :raises ValueError: If it is damaged, not in its encoding, or has too many malformed rows.
    """
    match suffix_of(path):
        case ".parquet":
            yield from _of_parquet(path)
        case ".csv":
            with open_text(path) as lines:
                delimiter, before = header_delimiter(lines)
            yield from _of_table(path, malformed, delimiter, before)
        case ".tsv":
            yield from _of_table(path, malformed, "\t")
        case ".json":
            for number, row in json_array(path, malformed):
                if isinstance(row, dict):
                    yield number, row
                else:
                    malformed.report(path, number, "not a JSON object")
        case _:
            yield from json_lines(path, malformed)


def json_lines(path: Path, malformed: Malformed) -> Iterator[tuple[int, dict[str, Any]]]:
    """Objects of a JSON lines file with their line numbers."""
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                malformed.report(path, number, f"not valid JSON ({error.msg}, column {error.colno})")
                continue
            if isinstance(row, dict):
                yield number, row
            else:
                malformed.report(path, number, "not a JSON object")


def json_array(path: Path, malformed: Malformed) -> Iterator[tuple[int, Any]]:
    """
    Elements of a JSON array with their numbers, without reading the whole file.

    Files of JSON lines are read as well.
    """
    with open_text(path) as file:
        decoder = json.JSONDecoder()
        buffer, number, ended = file.read(_CHUNK).lstrip(), 0, False
        buffer = buffer.removeprefix("[")
        while True:
            buffer = buffer.lstrip(" \t\r\n,")
            if buffer.startswith("]"):
                return
            try:
                # A number at the end of the buffer may go on in the next chunk; objects cannot.
                element, end = decoder.raw_decode(buffer)
            except json.JSONDecodeError as error:
                more = "" if ended else file.read(max(_CHUNK, len(buffer)))
                ended = not more
                if more:
                    buffer += more
                    continue
                if buffer.strip():
                    malformed.report(
                        path, number + 1, f"not valid JSON ({error.msg}), and nothing after it can be read"
                    )
                return
            number += 1
            yield number, element
            buffer = buffer[end:]


def tab_separated(
    path: Path, malformed: Malformed, columns: int, *, quoted: bool = False
) -> Iterator[tuple[int, list[str]]]:
    """
    Rows of a file of tab-separated values with their line numbers, one row a line.

    :param path: The file, gzipped or not.
    :param malformed: What is told of rows with another number of columns, or with a quote that is not closed.
    :param columns: How many a row has.
    :param quoted: Whether cells are quoted as in CSV.
    """
    csv.field_size_limit(_LONGEST_CELL)
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            # Line by line, or a quote that is not closed would swallow the lines behind it.
            try:
                (cells,) = csv.reader(
                    (line,), delimiter="\t", quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
                )
            except (csv.Error, ValueError) as error:
                malformed.report(path, number, _told(error))
                continue
            if len(cells) != columns:
                malformed.report(path, number, f"expected {columns} columns separated by tabs, found {len(cells)}")
                continue
            yield number, cells


def _of_table(
    path: Path, malformed: Malformed, delimiter: str, before: int = 0
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Rows below a header, before which some lines are left out; a cell may go over several lines."""
    csv.field_size_limit(_LONGEST_CELL)
    with open_text(path) as lines:
        reader = csv.reader(islice(lines, before, None), delimiter=delimiter, strict=True)
        header: list[str] = []
        first = 1 + before
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                malformed.report(path, first, _told(error))
                # What follows the line of the error is another row.
                first = before + reader.line_num + 1
                continue
            if cells is None:
                return
            number, first = first, before + reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                malformed.report(path, number, f"{len(cells)} cells where the header has {len(header)}")
            else:
                yield number, dict(zip(header, cells, strict=True))


def _told(error: Exception) -> str:
    if str(error) == "unexpected end of data":
        return "a quote is not closed"
    return f"not separated values ({error})"


def _of_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if not path.is_file():
        msg = f"{path} is missing. Check the path."
        raise FileNotFoundError(msg)
    try:
        number = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        msg = f"{path} is no Parquet file, or a damaged one ({error}). Copy or download it again."
        raise ValueError(msg) from None
