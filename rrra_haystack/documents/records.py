"""Tables, JSON and notebooks -> text in which each record names its own fields."""

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from itertools import islice, zip_longest
from typing import Any

_TAB = "\t"
_DELIMITERS = f",;{_TAB}|"
# No line of any file.
_END = "\x1e"
_LONGEST_CELL = 2**31 - 1
_SAMPLE = 1 << 14
# From each quote the sniffer reads on over all that follow: thousands in a sample take it many seconds.
_QUOTES = re.compile("[\"'][^\"']*")
_MOST_QUOTES = 400
# As Excel is told it, in a first line.
_DELIMITER_TOLD = re.compile(r"\s*sep=(.)\r?\n")
# A name in a header may be quoted and go on in the next lines.
_HEADER_LINES = 20
_LONGEST_NAME = 100
_ESCAPED_QUOTE = re.compile(r'\\(["\\])')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|.)")
_NUMBER = re.compile(r"[-+]?[\d.,\s]*\d[\d.,\s]*%?")
# Rows are paragraphs, so that a passage ends with a whole one.
BETWEEN_ROWS = "\n\n"


def text_of_table(rows: Sequence[Sequence[str]], names: int | None = None) -> str:
    """
    A table, with the names of the columns in every row: a passage holds few rows, and seldom the first one.

    :param rows: The rows.
    :param names: How many of the first rows hold the names. If `None`, the first one does, unless a name in it is long,
        twice there or a number, or another than the first one is missing.
    """
    return BETWEEN_ROWS.join(filter(None, texts_of_rows(rows, names)))


def texts_of_rows(rows: Sequence[Sequence[str]], names: int | None = None) -> list[str]:
    """
    The same, row by row.

    :param rows: The rows.
    :param names: As for :func:`text_of_table`.
    :returns: The text of each row, empty for one that holds the names or nothing.
    """
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    begin = names or 0
    filled = [at for at, row in enumerate(rows) if any(row) and at >= begin]
    if names is None and len(filled) > 1 and _are_names(rows[filled[0]]):
        begin = filled[0] + 1
    if not begin or not filled:
        return [" | ".join(row) if any(row) else "" for row in rows]
    named = [" ".join(filter(None, dict.fromkeys(column))) for column in zip_longest(*rows[:begin], fillvalue="")]
    return [*[""] * begin, *(_row(named, row) if any(row) else "" for row in rows[begin:])]


def text_of_csv(text: str, delimiter: str | None = None) -> str:
    """
    A file of separated values, in the same way.

    :param text: The file.
    :param delimiter: What separates the values; found out if `None`.
    """
    if found := _DELIMITER_TOLD.match(text):
        delimiter, text = found[1], text[found.end() :]
    try:
        # The limit is the whole process's, whoever set it.
        csv.field_size_limit(_LONGEST_CELL)
        rows = _rows(io.StringIO(text, newline="").readlines(), delimiter or _delimiter(_sample(text)))
    except csv.Error:
        # What is no table is text all the same.
        return text
    return text_of_table(rows)


def header_delimiter(lines: Iterable[str]) -> tuple[str, int]:
    """
    What separates the values of a table whose header names the columns.

    :param lines: The lines of the table, of which the first ones are taken.
    :returns: The separator, and how many lines there are up to the one that tells it; 0 if none does.
    """
    filled = ((number, line) for number, line in enumerate(lines) if line.strip())
    begin = list(islice(filled, _HEADER_LINES))
    if begin and (found := _DELIMITER_TOLD.match(begin[0][1])):
        return found[1], begin[0][0] + 1
    return max(_DELIMITERS, key=lambda one: _names_by(one, [line for _, line in begin])), 0


def text_of_json(text: str) -> str:
    """
    A JSON document: each record of a list with its fields, anything else as it stands, but for escaped letters.

    :param text: The document.
    :raises ValueError: If it is not JSON.
    """
    value = _loaded(text)
    return BETWEEN_ROWS.join(map(_record, value)) if isinstance(value, list) else _ESCAPE.sub(_letter, text)


def text_of_json_lines(text: str) -> str:
    """
    One record a line, each with its fields.

    :param text: The lines.
    :raises ValueError: If one of them is not JSON.
    """
    lines = enumerate(text.split("\n"), start=1)
    return BETWEEN_ROWS.join(_record(_loaded(line, number)) for number, line in lines if line.strip())


def text_of_notebook(text: str) -> str:
    """
    What was written into the cells of a Jupyter notebook, without what they put out.

    :param text: The notebook.
    :raises ValueError: If it is none.
    """
    try:
        sources = ["".join(cell["source"]) for cell in _loaded(text)["cells"]]
    except (KeyError, TypeError) as error:
        msg = "it is not a notebook of format 4"
        raise ValueError(msg) from error
    return "\n\n".join(sources)


def _names_by(delimiter: str, lines: Sequence[str]) -> tuple[bool, int]:
    """How well a delimiter parts a header: whether into two plain names or more, else into how many names."""
    try:
        header = next(csv.reader(lines, delimiter=delimiter, strict=True), [])
    except csv.Error:
        return False, 0
    names = [name for name in header if name.strip()]
    # A list in one of the names has its own separators, however many.
    is_plain = sum(not any(mark in name for mark in _DELIMITERS) for name in names) > 1
    return is_plain, 0 if is_plain else len(names)


def _are_names(row: Sequence[str]) -> bool:
    # A column of numbers often has no name where a table was saved with its index.
    is_sound = all(row[1:]) and len(set(row)) == len(row) and len(row) > sum(not name for name in row)
    return is_sound and not any(len(name) > _LONGEST_NAME or _NUMBER.fullmatch(name) for name in row)


def _row(names: Sequence[str], row: Sequence[str]) -> str:
    named = [f"{name}: {cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell]
    return "; ".join([*named, *filter(None, row[len(names) :])])


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    if delimiter == _TAB:
        # Spreadsheets quote there, and others write a quote as it is: no field may reach over lines by chance.
        try:
            return list(csv.reader(lines, delimiter=delimiter, strict=True))
        except csv.Error:
            return list(csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE))
    for own in (lines, [_ESCAPED_QUOTE.sub(_doubled, line) for line in lines]):
        try:
            return list(csv.reader(own, delimiter=delimiter, strict=True))
        except csv.Error:
            pass
    return _rows_of_odd_quotes(lines, delimiter)


def _rows_of_odd_quotes(lines: list[str], delimiter: str) -> list[list[str]]:
    """The rows of a table in which a quote is not closed, or not where a cell ends: such a one ends with its line."""
    rows: list[list[str]] = []
    begin = 0
    while begin < len(lines):
        rest = (lines[at] for at in range(begin, len(lines)))
        reader = csv.reader(rest, delimiter=delimiter, strict=True)
        end = begin
        try:
            for row in reader:
                rows.append(row)
                end = begin + reader.line_num
        except csv.Error:
            own = list(csv.reader([lines[end], _END], delimiter=delimiter))
            is_closed = own.pop() == [_END]
            rows += own if is_closed else csv.reader([lines[end]], delimiter=delimiter, quoting=csv.QUOTE_NONE)
            end += 1
        begin = end
    return rows


def _doubled(escape: re.Match[str]) -> str:
    """A quote after a backslash, as MySQL writes it, as other tables have it."""
    return '""' if escape[1] == '"' else "\\"


def _sample(text: str) -> str:
    """So much of a text as tells what separates its values."""
    further = next(islice(_QUOTES.finditer(text, 0, _SAMPLE), _MOST_QUOTES, None), None)
    return text[: further.start() if further else _SAMPLE]


def _delimiter(sample: str) -> str:
    try:
        return csv.Sniffer().sniff(sample, _DELIMITERS).delimiter
    except csv.Error:
        return max(_DELIMITERS, key=sample.count)


def _record(value: Any) -> str:
    if not isinstance(value, dict):
        return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "\n".join(_fields(value))


def _fields(record: dict[str, Any]) -> Iterable[str]:
    for name, value in record.items():
        if value not in (None, "", [], {}):
            yield f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _letter(escape: re.Match[str]) -> str:
    """What an escape means, if it is no part of ASCII, whose characters may be marks of JSON."""
    letter = chr(int(escape[1] or "0", 16))
    return escape[0] if letter.isascii() else letter


def _loaded(text: str, line: int | None = None) -> Any:
    """The value that a document is, or one line of it, which is named by its number if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        msg = f"it is not JSON ({error})"
        if line is not None:
            told = f"{error.msg}: column {error.colno}" if isinstance(error, json.JSONDecodeError) else error
            msg = f"its line {line} is not JSON ({told})"
        raise ValueError(msg) from error
