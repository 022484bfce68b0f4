"""Tables of HTML -> text, with the names of the columns in every row."""

import re
from collections.abc import Collection, Iterator
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
_CELLS = ("td", "th")
_ROWS = ("tr", "thead", "tbody", "tfoot", "table")
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
    cells = list(_rows(table).values())
    has_names = any(cell.tag == "th" for own in cells for cell in own)
    return any(len(own) > 1 for own in cells) and (has_names or not table.xpath(".//table"))


def text_of_html_table(table: Any) -> str:
    """
    The caption of a table, what stands in it beside its cells, and its rows.

    :param table: The element.
    """
    rows = _rows(table)
    cells = list(rows.values())
    heads = [
        "thead" in (row.tag, row.getparent().tag) or all(one.tag == "th" for one in own) for row, own in rows.items()
    ]
    names: int | None = heads.index(False) if False in heads else min(len(heads), 1)
    if not names and not any(own and own[0].tag == "th" for own in cells):
        names = None
    captions = list(table.iterchildren("caption"))
    beside = _text(table, without={*captions, *(cell for own in cells for cell in own)})
    return "\n\n".join(
        filter(None, [*map(_text, captions), beside, text_of_table(list(_grid(cells, names or 0)), names)])
    )


def _rows(table: Any) -> dict[Any, list[Any]]:
    """The cells of each row; where pages leave out its `tr`, of what stands for it."""
    rows: dict[Any, list[Any]] = {}
    for element in table.iter("tr", *_CELLS):
        if next(element.iterancestors("table", *_CELLS)) is not table:
            continue
        if element.tag == "tr":
            rows.setdefault(element, [])
        else:
            rows.setdefault(next(element.iterancestors(*_ROWS)), []).append(element)
    return rows


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


def _text(cell: Any, without: Collection[Any] = ()) -> str:
    """What stands in a cell, on one line: a list or a table in it as items."""
    pieces: list[str] = []
    walk = etree.iterwalk(cell, events=("start", "end"))
    for event, element in walk:
        if element is not cell and element.tag in _ITEMS:
            pieces.append(_ITEM_END)
        elif element.tag in PARAGRAPHS or element.tag in LINES:
            pieces.append(" ")
        if event == "end":
            pieces.append("" if element is cell else element.tail or "")
        elif element in without:
            walk.skip_subtree()
        else:
            pieces.append(element.text or "")
    items = (" ".join(item.split()) for item in "".join(pieces).split(_ITEM_END))
    return "; ".join(filter(None, items))
