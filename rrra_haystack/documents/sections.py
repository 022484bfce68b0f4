"""Headings and what stands below them -> sections of text, each with its title and the path of its headings."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

TITLE_KEY, HEADINGS_KEY, PAGE_KEY = "title", "headings", "page_number"
PAGE_END = "\f"
_BETWEEN = " > "
_TOP = 1


class Section(NamedTuple):
    """
    What stands below a heading.

    :param text: The text, without the heading.
    :param meta: The ``title`` of the whole and the ``headings`` that lead to the text, as far as there are any.
    """

    text: str
    meta: dict[str, Any]


class Heading(NamedTuple):
    """
    A heading.

    :param level: 1 is the highest, and 0 is the title of the whole.
    :param name: What it says.
    """

    level: int
    name: str


Path = tuple[Heading, ...]


def sections_of(
    parts: Iterable[Heading | str], *, title: str | None = None, otherwise: str | None = None, paged: bool = False
) -> list[Section]:
    """
    The sections of a text. A heading with nothing below it is the text of a section itself.

    :param parts: The headings, and the text between them, in order.
    :param title: The title of the whole, if it is known.
    :param otherwise: The title if no heading gives one.
    :param paged: Whether form feeds end pages, whose numbers the sections are to have.
    """
    stretches = list(_stretches(parts))
    headings = [path[-1] for path, _ in stretches if path]
    tops = [heading for heading in headings if heading.level <= _TOP]
    title = title or _title_among(headings, tops) or otherwise
    # What the title says already is no part of the path.
    told = {heading for heading in tops if heading.name == title or (len(tops) == 1 and heading.name in (title or ""))}
    sections = []
    page = 1
    for (path, text), (following, _) in pairwise([*stretches, ((), "")]):
        is_lone = bool(path) and not text.strip() and following[: len(path)] != path
        body = path[-1].name if is_lone else text.strip()
        if body:
            first = page + text[: len(text) - len(text.lstrip())].count(PAGE_END)
            above = path[:-1] if is_lone else path
            names = _BETWEEN.join(heading.name for heading in above if heading.name and heading not in told)
            meta = {TITLE_KEY: title if title != body else "", HEADINGS_KEY: names, PAGE_KEY: first if paged else 0}
            sections.append(Section(body, {key: value for key, value in meta.items() if value}))
        page += text.count(PAGE_END)
    return sections


def _stretches(parts: Iterable[Heading | str]) -> Iterator[tuple[Path, str]]:
    """The text below each heading, with all headings that lead to it."""
    path: Path = ()
    text = ""
    for part in parts:
        if isinstance(part, Heading):
            yield path, text
            text = ""
            own = Heading(part.level, " ".join(part.name.split()))
            path = (*(heading for heading in path if heading.level < own.level), own)
        else:
            text += part
    yield path, text


def _title_among(headings: Sequence[Heading], tops: Sequence[Heading]) -> str | None:
    """The title, if one heading of the highest level stands before all others."""
    named = [heading.name for heading in tops if heading.level == 0]
    if named:
        return named[0]
    return tops[0].name if len(tops) == 1 and headings[0] == tops[0] else None
