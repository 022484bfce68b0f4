"""PowerPoint files -> sections of text, by python-pptx of the extra `files`."""

import io
from collections.abc import Iterable, Iterator
from typing import Any

from rrra_haystack.documents.office import title_told
from rrra_haystack.documents.records import text_of_table
from rrra_haystack.documents.sections import PAGE_END, Heading, Section, sections_of


def sections_of_pptx(data: bytes) -> list[Section]:
    """
    The slides of a presentation, below their titles, with tables, groups and the speaker's notes.

    :param data: The file.
    """
    import pptx  # noqa: PLC0415

    presentation = pptx.Presentation(io.BytesIO(data))
    parts = (part for number, slide in enumerate(presentation.slides) for part in _slide(slide, number))
    return sections_of(parts, otherwise=title_told(presentation.core_properties.title), paged=True)


def _slide(slide: Any, number: int) -> Iterator[Heading | str]:
    """The parts of a slide; the title of the first one is that of the whole."""
    if number:
        yield PAGE_END
    title = slide.shapes.title
    if title is not None and title.text_frame.text.strip():
        yield Heading(min(number, 1), title.text_frame.text)
    for text in _shapes(slide.shapes, None if title is None else title.element):
        yield f"{text}\n\n"
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        yield f"{slide.notes_slide.notes_text_frame.text}\n\n"


def _shapes(shapes: Iterable[Any], title: Any) -> Iterator[str]:
    for shape in shapes:
        if shape.element is title:  # The numbers of shapes are not always their own.
            continue
        if hasattr(shape, "shapes"):
            yield from _shapes(shape.shapes, title)
        elif getattr(shape, "has_table", False):
            rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
            yield text_of_table(rows, 1 if shape.table.first_row else None)
        elif shape.has_text_frame:
            yield shape.text_frame.text.replace("\v", "\n")
