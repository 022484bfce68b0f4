"""HTML -> sections of text: all that a page shows, but what it stands between."""

import re
from collections.abc import Iterator
from typing import Any

from lxml import etree, html

from rrra_haystack.documents.html_tables import LINES, PARAGRAPHS, is_data, text_of_html_table
from rrra_haystack.documents.sections import Heading, Section, sections_of

_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
# Never text to read.
_UNSEEN = "script style template noscript iframe object svg button select input textarea rp head".split()
# No characters of any text: the end of a paragraph and of a line, and space that stays as it is.
_PARAGRAPH, _LINE, _SPACE, _NEWLINE = "\ufdd0", "\ufdd1", "\ufdd2", "\ufdd3"
_ENDS = re.compile(f"[ {_PARAGRAPH}{_LINE}]*[{_PARAGRAPH}{_LINE}][ {_PARAGRAPH}{_LINE}]*")
_KEPT = str.maketrans({" ": _SPACE, "\n": _NEWLINE})
_SHOWN = str.maketrans({_SPACE: " ", _NEWLINE: "\n"})
_HAS_WORD = re.compile(r"\w")
# What a page stands between, unless the page itself stands in it.
_AROUND = (
    "//nav | //*[@role='navigation' or @role='banner' or @role='contentinfo' or @role='search']"
    "| //header[not(ancestor::main or ancestor::article or ancestor::section)]"
    "| //footer[not(ancestor::article)] | //aside[not(ancestor::main or ancestor::article)]"
    "| //*[@hidden and not(@role='tabpanel')] | //*[@aria-hidden='true']"
    "| //*[contains(translate(@style, ' ', ''), 'display:none')]"
)
_WITHIN = ".//main | .//article | .//h1"
_NAMED_SO = re.compile(r"(?:^|[\s_-])(?:nav\w*|menu|sidebar|breadcrumbs?|footer|toc|pag(?:er|ination))(?:$|[\s_-])")
_MOSTLY = 0.5


def sections_of_html(text: str) -> list[Section]:
    """
    What a page tells, without its navigation. The rows of tables name their columns.

    :param text: The HTML.
    :raises ValueError: If its tags are nested too deeply.
    """
    tree = _tree(text)
    if tree is None:
        return []
    title = " ".join((tree.findtext(".//title") or "").split())
    parts = list(_parts(_content(tree)))
    tops = [" ".join(part.name.split()) for part in parts if isinstance(part, Heading) and part.level == 1]
    heading = tops[0] if len(tops) == 1 and tops[0] not in title else ""
    return sections_of(parts, title=" - ".join(filter(None, [title, heading])) or None)


def parts_of_html(text: str) -> list[Heading | str]:
    """
    The headings of some HTML within another text, and what stands between them.

    :param text: The HTML; tags that are open or closed elsewhere do no harm.
    """
    tree = _tree(text)
    if tree is None:
        return []
    etree.strip_elements(tree, *_UNSEEN, with_tail=False)
    return list(_parts(tree))


def _tree(text: str) -> Any:
    parser = html.HTMLParser(huge_tree=True, remove_comments=True, remove_pis=True)
    try:
        tree = html.document_fromstring(_DECLARATION.sub("", text), parser=parser)
    except etree.ParserError:
        return None  # There is nothing in it.
    if any(error.type == etree.ErrorTypes.ERR_RESOURCE_LIMIT for error in parser.error_log):
        msg = "its tags are nested too deeply"
        raise ValueError(msg)
    return tree


def _content(tree: Any) -> Any:
    """What a page stands for, out of all that is around it."""
    etree.strip_elements(tree, *_UNSEEN, with_tail=False)
    for element in tree.xpath(_AROUND):
        _drop_unless_page(element)
    for element in tree.xpath("//*[(@class or @id) and not(ancestor-or-self::main or ancestor-or-self::article)]"):
        if _NAMED_SO.search(f"{element.get('class', '')} {element.get('id', '')}".lower()) and _is_of_links(element):
            _drop_unless_page(element)
    mains = tree.xpath("//main | //*[@role='main']")
    if len(mains) == 1 and mains[0].xpath(".//h1") and _size(mains[0]) > _MOSTLY * _size(tree):
        return mains[0]
    return tree


def _drop_unless_page(element: Any) -> None:
    # A body may be hidden until a script shows it, or be named for its layout.
    if element.tag not in ("html", "body") and not element.xpath(_WITHIN):
        element.drop_tree()


def _is_of_links(element: Any) -> bool:
    return sum(map(_size, element.iter("a"))) > _MOSTLY * _size(element)


def _size(element: Any) -> int:
    return len("".join(element.text_content().split()))


def _parts(tree: Any) -> Iterator[Heading | str]:
    """Headings and the text between them; by no recursion, since pages are nested at will."""
    text: list[str] = []
    heading: Any = None
    literal = 0
    walk = etree.iterwalk(tree, events=("start", "end"))
    for event, element in walk:
        begins = event == "start"
        if element.tag in _HEADINGS and heading in (None, element):
            told, text = _whole(text), []
            yield told if begins else Heading(_HEADINGS[element.tag], told)
            heading = element if begins else None
        text.append(_end(element, begins))
        if element.tag == "pre":
            literal += 1 if begins else -1
        if not begins:
            text.append(_written("" if element is tree else element.tail, literal))
        elif element.tag == "table" and is_data(element):
            text.append(text_of_html_table(element).translate(_KEPT))
            walk.skip_subtree()
        elif heading is not None and element.tag == "a" and not _HAS_WORD.search(element.text_content()):
            walk.skip_subtree()  # The mark that links to a heading.
        else:
            text.append(_written(element.text, literal))
    yield _whole(text)


def _end(element: Any, begins: bool) -> str:
    """What a tag ends, with its beginning or its own end."""
    if element.tag in LINES:
        return _LINE if begins else ""
    if element.tag in ("ol", "ul") and element.getparent() is not None and element.getparent().tag == "li":
        return " "
    return _PARAGRAPH if element.tag in PARAGRAPHS else ""


def _written(text: str | None, literal: int) -> str:
    return (text or "").translate(_KEPT) if literal else text or ""


def _whole(pieces: list[str]) -> str:
    text = _ENDS.sub(_newlines, re.sub(r"\s+", " ", "".join(pieces)))
    return text.translate(_SHOWN)


def _newlines(ends: re.Match[str]) -> str:
    return "\n\n" if _PARAGRAPH in ends[0] or ends[0].count(_LINE) > 1 else "\n"
