"""Text in reStructuredText, AsciiDoc and Org mode -> sections of text, whose other marks stay as they are."""

import re
from collections.abc import Iterator

from rrra_haystack.documents.cutting import has_word
from rrra_haystack.documents.sections import Heading, Section, sections_of

_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1+\s*")
_SHORT = 4
_ADOC_HEADING, _ADOC_END = re.compile(r"(={1,6}|#{1,6})\s+(\S.*)"), re.compile("=+")
_ADOC_BLOCK = re.compile(r"(-{4,}|\.{4,}|={4,}|\+{4,}|_{4,}|\*{4,}|/{4,}|`{3,})(?:(?<=`)\w[\w,-]*)?\s*")
# A run below a title is as long as it, or one more or less; the sign tells the level.
_ADOC_SIGNS, _ADOC_UNDERLINE = "=-~^+", re.compile(r"([=~^+-])\1+\s*")
# Lines that say something of what follows them, and are none of its text.
_ADOC_ATTRIBUTES = re.compile(r"\[.*\]\s*|:[^:\s]+:.*|//.*|\..*")
_ORG_HEADING, _ORG_TAGS = re.compile(r"(\*+)\s+(?:(?:TODO|DONE)\s+)?(\S.*)"), re.compile(r":[\w@#%:]+:")
_ORG_TITLE = re.compile(r"#\+title:\s*(\S.*)", re.IGNORECASE)


def sections_of_rst(text: str) -> list[Section]:
    """
    What stands below the headings of reStructuredText.

    :param text: The text.
    """
    return sections_of(_of_rst(text.split("\n")))


def sections_of_adoc(text: str) -> list[Section]:
    """
    What stands below the headings of AsciiDoc.

    :param text: The text.
    """
    return sections_of(_of_adoc(text.split("\n")))


def sections_of_org(text: str) -> list[Section]:
    """
    What stands below the headings of Org mode.

    :param text: The text.
    """
    lines = text.split("\n")
    titles = [found[1].rstrip() for line in lines if (found := _ORG_TITLE.fullmatch(line))]
    return sections_of(_of_org(lines), title=titles[0] if titles else None)


def _of_rst(lines: list[str]) -> Iterator[Heading | str]:
    """Headings are underlined, with the same mark above or not; levels are in the order of what first stands there."""
    kinds: list[tuple[str, bool]] = []
    at = 0
    while at < len(lines):
        is_over = _is_title(lines, at + 1) and _UNDERLINE.fullmatch(lines[at]) and lines[at][0] == lines[at + 2][0]
        begins = at == 0 or not lines[at - 1].strip()
        if begins and (is_over or _is_title(lines, at)):
            name = lines[at + bool(is_over)]
            kind = lines[at + 1 + bool(is_over)][0], bool(is_over)
            if kind not in kinds:
                kinds.append(kind)
            yield Heading(kinds.index(kind) + 1, name)
            at += 2 + bool(is_over)
        else:
            yield f"{lines[at]}\n"
            at += 1


def _is_title(lines: list[str], at: int) -> bool:
    """Whether a line is underlined."""
    if at + 1 >= len(lines) or not lines[at].strip() or _UNDERLINE.fullmatch(lines[at]):
        return False
    under = lines[at + 1].rstrip()
    return bool(_UNDERLINE.fullmatch(under)) and len(under) >= min(len(lines[at].strip()), _SHORT)


def _of_adoc(lines: list[str]) -> Iterator[Heading | str]:
    """Headings have marks before them or a line below; what stands between two equal delimiters has none."""
    last = {line.rstrip(): at for at, line in enumerate(lines) if _ADOC_BLOCK.fullmatch(line)}
    block = None
    begins, at = True, 0
    while at < len(lines):
        line = lines[at]
        if block is not None:
            block = None if line.rstrip() == block else block
        elif found := _ADOC_HEADING.fullmatch(line):
            yield Heading(len(found[1]) - 1, _without_end(found[2], _ADOC_END))
            begins, at = True, at + 1
            continue
        elif begins and _is_adoc_title(lines, at):
            yield Heading(_ADOC_SIGNS.index(lines[at + 1][0]), line.strip())
            at += 2
            continue
        elif found := _ADOC_BLOCK.fullmatch(line):
            # What is never closed is no block: it would swallow all headings that follow.
            block = found[1] if last.get(found[1], at) > at else None
            begins = True
        else:
            begins = not line.strip() or (begins and bool(_ADOC_ATTRIBUTES.fullmatch(line)))
        yield f"{line}\n"
        at += 1


def _is_adoc_title(lines: list[str], at: int) -> bool:
    """Whether a line of words is underlined."""
    if at + 1 >= len(lines) or not has_word(lines[at]) or _ADOC_ATTRIBUTES.fullmatch(lines[at]):
        return False
    under = lines[at + 1].rstrip()
    return bool(_ADOC_UNDERLINE.fullmatch(under)) and abs(len(under) - len(lines[at].rstrip())) <= 1


def _of_org(lines: list[str]) -> Iterator[Heading | str]:
    for line in lines:
        found = _ORG_HEADING.fullmatch(line)
        yield Heading(len(found[1]), _without_end(found[2], _ORG_TAGS)) if found else f"{line}\n"


def _without_end(name: str, end: re.Pattern[str]) -> str:
    """A name without what may stand behind it as a last word."""
    words = name.rsplit(maxsplit=1)
    return words[0] if len(words) > 1 and end.fullmatch(words[1]) else name.rstrip()
