"""Word files -> sections of text, by python-docx of the extra `files`."""

import io
import re
from collections.abc import Iterator
from dataclasses import fields
from datetime import datetime
from typing import Any

from rrra_haystack.documents.office import title_told
from rrra_haystack.documents.records import BETWEEN_ROWS, texts_of_rows
from rrra_haystack.documents.sections import PAGE_END, PAGE_KEY, Heading, Section, sections_of

_LEVEL = re.compile(r"heading ([1-9])", re.IGNORECASE)
_WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_COPY = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Where a page began when a program last laid out the file; many programs tell none.
_PAGE_BEGIN = f"{_WORD}lastRenderedPageBreak"
# What of a paragraph is text, as it stands or as one character.
_WRITTEN = {
    f"{_WORD}t": "",
    f"{_MATH}t": "",
    f"{_WORD}tab": "\t",
    f"{_WORD}br": "\n",
    f"{_WORD}cr": "\n",
    f"{_WORD}noBreakHyphen": "-",
    _PAGE_BEGIN: PAGE_END,
}
# A tab stop is called as a tab, and stands elsewhere.
_RUNS = frozenset({f"{_WORD}r", f"{_MATH}r"})
# What a text may stand in: a paragraph, or what was deleted of it or moved elsewhere.
_OUTER = (f"{_WORD}p", f"{_WORD}del", f"{_WORD}moveFrom")
_OUTLINED = frozenset("012345678")
_DEEPEST = 20
_WIDTHS = frozenset(map(str, range(1, 64)))
# Between the paragraphs of a cell, which are items unless they are sentences.
_BETWEEN_ITEMS = "\x1f"
_ITEM_END = re.compile(rf"(?<=[\w)\]%]){_BETWEEN_ITEMS}")


def sections_of_docx(data: bytes) -> list[Section]:
    """
    What stands below the headings of a Word file. The rows of tables name their columns.

    :param data: The file.
    """
    import docx  # noqa: PLC0415
    from haystack.components.converters.docx import DOCXMetadata  # noqa: PLC0415

    document = docx.Document(io.BytesIO(data))
    about = {field.name: getattr(document.core_properties, field.name) for field in fields(DOCXMetadata)}
    told = {key: value.isoformat() if isinstance(value, datetime) else value for key, value in about.items()}
    body = document.element.body
    parts = _Word(document).parts(body)
    sections = sections_of(parts, otherwise=title_told(told["title"]), paged=True)
    # One page may be all, or there is no telling; a splitter would count from the first.
    unknown = {PAGE_KEY: 0} if next(body.iter(_PAGE_BEGIN), None) is None else {}
    return [Section(one.text, {**one.meta, **unknown, "docx": told}) for one in sections]


class _Word:
    """What is written in a Word file, in controls and by whoever changed it too, which python-docx leaves out."""

    def __init__(self, document: Any) -> None:
        levels = {style.style_id: _level_of_style(style) for style in document.styles}
        self._levels = {name: level for name, level in levels.items() if level is not None}

    def parts(self, around: Any) -> Iterator[Heading | str]:
        """Headings, paragraphs and tables, as they follow one another."""
        for element in around:
            if element.tag == f"{_WORD}p":
                text = _paragraph(element)
                level = self._level_of(element)
                if level is None or not text.strip():
                    yield f"{text}\n\n"
                else:
                    yield PAGE_END * text.count(PAGE_END)
                    yield Heading(level, text)
                for box in element.iter(f"{_WORD}txbxContent"):
                    if not _is_copy(box):
                        yield from self.parts(box)
            elif element.tag == f"{_WORD}tbl":
                yield f"{_table(element)}\n\n"
            elif isinstance(element.tag, str):
                yield from self.parts(element)

    def _level_of(self, paragraph: Any) -> int | None:
        outline = paragraph.find(f"{_WORD}pPr/{_WORD}outlineLvl")
        if outline is not None:
            told = str(outline.get(f"{_WORD}val"))
            return int(told) + 1 if told in _OUTLINED else None
        style = paragraph.find(f"{_WORD}pPr/{_WORD}pStyle")
        return None if style is None else self._levels.get(style.get(f"{_WORD}val"))


def _level_of_style(style: Any) -> int | None:
    """The level of the heading that a style is, or is made from."""
    for _ in range(_DEEPEST):
        name = str(getattr(style, "name", None))
        if name == "Title":
            return 0
        if found := _LEVEL.fullmatch(name):
            return int(found[1])
        style = getattr(style, "base_style", None)
    return None


def _paragraph(element: Any) -> str:
    """The text of a paragraph, without what a text box in it holds or was taken out of it."""
    return "".join(
        _WRITTEN[piece.tag] or piece.text or ""
        for piece in element.iter(*_WRITTEN)
        if piece.getparent().tag in _RUNS and next(piece.iterancestors(*_OUTER)) is element
    )


def _table(element: Any) -> str:
    rows: list[list[str]] = []
    pages: list[tuple[int, int]] = []
    names = 0
    above: dict[int, str] = {}
    for row in _own(element, "tr", "tbl"):
        if names == len(rows) and row.find(f"{_WORD}trPr/{_WORD}tblHeader") is not None:
            names += 1
        told: list[str] = []
        for cell in _own(row, "tc", "tr"):
            merged, span = (cell.find(f"{_WORD}tcPr/{_WORD}{name}") for name in ("vMerge", "gridSpan"))
            goes_on = merged is not None and merged.get(f"{_WORD}val") != "restart"
            text = above.get(len(told), "") if goes_on else _cell(cell)
            width = "1" if span is None else str(span.get(f"{_WORD}val"))
            for column in range(int(width) if width in _WIDTHS else 1):
                above[len(told)] = text
                told.append(text if names > len(rows) or not column else "")
        rows.append(told)
        pages.append(_page_begins(row))
    texts = zip(pages, texts_of_rows(rows, names or None), strict=True)
    paged = (PAGE_END * before + text + PAGE_END * within for (before, within), text in texts)
    return BETWEEN_ROWS.join(filter(None, paged))


def _own(element: Any, name: str, outer: str) -> Iterator[Any]:
    """The rows of a table or the cells of a row, without those of tables within."""
    return (one for one in element.iter(_WORD + name) if next(one.iterancestors(_WORD + outer)) is element)


def _page_begins(row: Any) -> tuple[int, int]:
    """How many pages begin with a row and how many within it; cells beside one another tell of the same ones."""
    texts = ["".join(map(_paragraph, cell.iter(f"{_WORD}p"))) for cell in _own(row, "tc", "tr")]
    before = max((text[: len(text) - len(text.lstrip())].count(PAGE_END) for text in texts), default=0)
    return before, max((text.count(PAGE_END) for text in texts), default=0) - before


def _cell(element: Any) -> str:
    told = [" ".join(_paragraph(one).split()) for one in element.iter(f"{_WORD}p") if not _is_copy(one)]
    return _ITEM_END.sub("; ", _BETWEEN_ITEMS.join(filter(None, told))).replace(_BETWEEN_ITEMS, " ")


def _is_copy(element: Any) -> bool:
    """Whether something is there a second time, for older programs."""
    return next(element.iterancestors(_COPY), None) is not None
