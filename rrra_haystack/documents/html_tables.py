"""Tables of HTML -> text, with the names of the columns in every row."""

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree

from rrra_haystack.documents.records import text_of_table

# What begins a paragraph or a line; any other tag stands within one.
PARAGRAPHS = frozenset(
    "address article aside blockquote body caption center details dialog div dl fieldset figcaption figure footer form "
    "header hr html legend main menu nav ol p pre section summary table td th tr ul".split()
)
LINES = frozenset("br dd dt li option".split())
_ITEMS = frozenset("dd dt li td th tr".split())
_MOST_COLUMNS = 100
_ITEM_END = "\x1f"
_NUMBER = re.compile(r"[0-9]{1,5}")


def is_data(table: Any) -> bool:
    """
    Whether a table is one, and not how a page is laid out.

    :param table: The element.
    """
    if table.xpath(".//h1 | .//h2 | .//h3 | .//h4 | .//h5 | .//h6"):
        return False
    cells = [_cells(row) for row in _rows(table)]
    has_names = any(cell.tag == "th" for own in cells for cell in own)
    return any(len(own) > 1 for own in cells) and (has_names or not table.xpath(".//table"))


def text_of_html_table(table: Any) -> str:
    """
    The caption of a table and its rows.

    :param table: The element.
    """
    rows = list(_rows(table))
    cells = [_cells(row) for row in rows]
    heads = [row.getparent().tag == "thead" or all(cell.tag == "th" for cell in _cells(row)) for row in rows]
    names: int | None = heads.index(False) if False in heads else min(len(heads), 1)
    if not names and not any(own and own[0].tag == "th" for own in cells):
        names = None
    caption = [_text(element) for element in table.iterchildren("caption")]
    return "\n\n".join(filter(None, [*caption, text_of_table(list(_grid(cells, names or 0)), names)]))


def _rows(table: Any) -> Iterator[Any]:
    return (row for row in table.iter("tr") if next(row.iterancestors("table")) is table)


def _cells(row: Any) -> list[Any]:
    return [cell for cell in row if cell.tag in ("td", "th")]


def _grid(rows: list[list[Any]], names: int) -> Iterator[list[str]]:
    """The rows; a cell that reaches over several stands in each, and a name over each of its columns."""
    reaching: dict[int, tuple[int, str]] = {}
    for number, cells in enumerate(rows):
        row: list[str] = []
        for cell in cells:
            _continue(row, reaching)
            text = _text(cell)
            for column in range(min(_span(cell, "colspan"), _MOST_COLUMNS)):
                told = text if number < names or not column else ""
                reaching[len(row)] = _span(cell, "rowspan") - 1, told
                row.append(told)
        _continue(row, reaching)
        yield row


def _continue(row: list[str], reaching: dict[int, tuple[int, str]]) -> None:
    """Put in what reaches down from the rows above."""
    while reaching.get(len(row), (0, ""))[0] > 0:
        left, text = reaching[len(row)]
        reaching[len(row)] = left - 1, text
        row.append(text)


def _span(cell: Any, name: str) -> int:
    told = cell.get(name, "").strip()
    return max(int(told), 1) if _NUMBER.fullmatch(told) else 1


def _text(cell: Any) -> str:
    """What stands in a cell, on one line: a list or a table in it as items."""
    pieces: list[str] = []
    for event, element in etree.iterwalk(cell, events=("start", "end")):
        if element is not cell and element.tag in _ITEMS:
            pieces.append(_ITEM_END)
        elif element.tag in PARAGRAPHS or element.tag in LINES:
            pieces.append(" ")
        if event == "start":
            pieces.append(element.text or "")
        elif element is not cell:
            pieces.append(element.tail or "")
    items = (" ".join(item.split()) for item in "".join(pieces).split(_ITEM_END))
    return "; ".join(filter(None, items))
