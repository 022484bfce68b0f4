"""Markdown and HTML -> sections of text, each with its title and headings."""

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any, NamedTuple

import trafilatura
import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_plain.renderer import RendererPlain
from trafilatura.settings import use_config

from rrra_haystack.documents.records import text_of_table

TITLE_KEY, HEADINGS_KEY = "title", "headings"
_BETWEEN = " > "
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
# A heading or a row of a table in Markdown, and what gives one in HTML.
_STRUCTURE, _STRUCTURED = re.compile(r"^(?:#|\|)", re.MULTILINE), "//h2 | //h3 | //h4 | //th"
_AROUND = {"nav", "header", "footer", "aside", "script", "style"}
_OF_ANY_LENGTH = use_config()
for _size in ("MIN_EXTRACTED_SIZE", "MIN_OUTPUT_SIZE"):
    _OF_ANY_LENGTH.set("DEFAULT", _size, "0")
_LISTED_IN_CELL = "//td//li | //th//li"


class Section(NamedTuple):
    """
    What stands below a heading.

    :param text: The text, without the heading.
    :param meta: The ``title`` of the whole and the ``headings`` that lead to the text, as far as there are any.
    """

    text: str
    meta: dict[str, str]


def sections_of_markdown(text: str, *, html: bool = True, title: str | None = None) -> list[Section]:
    """
    Markdown without its marks. The rows of tables name their columns.

    :param text: The Markdown; its front matter may name a title.
    :param html: Whether tags are tags; else they are text.
    :param title: The title, if it is known.
    """
    front, text = _front_matter(text)
    parser = MarkdownIt("commonmark", {"html": html}, renderer_cls=RendererPlain).enable("table")
    env: dict[str, Any] = {}
    blocks = list(_blocks(parser.parse(text, env)))
    headings = [(int(block[0].tag[1]), _plain(parser, block, env)) for block in blocks if _is_heading(block)]
    tops = [name for level, name in headings if level == 1]
    title = title or front or (tops[0] if len(tops) == 1 and headings[0][0] == 1 else None)
    path: list[tuple[int, str]] = []
    upcoming = iter(headings)
    sections = []
    for is_heading, some in groupby(blocks, _is_heading):
        if is_heading:
            for _ in some:
                heading = next(upcoming)
                path = [*(one for one in path if one[0] < heading[0]), heading]
            continue
        body = _plain(parser, [token for block in some for token in block], env)
        if body:
            sections.append(Section(body, _meta(title, path)))
    return sections or [Section(name, {}) for _, name in headings[:1]]


def sections_of_html(text: str) -> list[Section]:
    """
    What a page tells, without its navigation. The rows of tables name their columns.

    :param text: The HTML.
    """
    tree = trafilatura.load_html(text)
    if tree is None:
        return []
    for item in tree.xpath(_LISTED_IN_CELL):
        item.tail = ("; " if item.getnext() is not None else "") + (item.tail or "").lstrip()
        item.drop_tag()
    heading = getattr(trafilatura.extract_metadata(tree), "title", None) or ""
    title = " ".join((tree.findtext(".//title") or "").split())
    # Of a short page the first heading is found there alone.
    title = " - ".join(filter(None, [title, "" if heading in title else heading]))
    whole = deepcopy(tree)
    told = _markdown_of(tree)
    if not _STRUCTURE.search(told) and whole.xpath(_STRUCTURED):
        # Of a short page it gives the bare text, unless it is told what is the page and what is around it.
        told = _markdown_of(_with_main(whole), _OF_ANY_LENGTH) or told
    return sections_of_markdown(told, html=False, title=title or None)


def _markdown_of(tree: Any, config: Any = None) -> str:
    options = {} if config is None else {"config": config}
    told = trafilatura.extract(tree, output_format="markdown", include_formatting=True, favor_recall=True, **options)
    return told or ""


def _with_main(tree: Any) -> Any:
    """The page with a `main` about all but its navigation, unless it has one."""
    body = tree.find(".//body")
    if body is not None and not tree.xpath("//main | //article"):
        main = body.makeelement("main")
        main.text, body.text = body.text, None
        main.extend([child for child in body if child.tag not in _AROUND])
        body.append(main)
    return tree


def _meta(title: str | None, path: Sequence[tuple[int, str]]) -> dict[str, str]:
    names = [name for level, name in path if name and not (level == 1 and name in (title or ""))]
    told = {TITLE_KEY: title or "", HEADINGS_KEY: _BETWEEN.join(names)}
    return {key: value for key, value in told.items() if value}


def _front_matter(text: str) -> tuple[str | None, str]:
    """The title that front matter names, and the rest."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return None, text
    try:
        told = yaml.safe_load(found[1])
    except yaml.YAMLError:
        return None, text
    if not isinstance(told, dict):
        return None, text
    return str(told[TITLE_KEY]) if told.get(TITLE_KEY) else None, text[found.end() :]


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The blocks that lie in no other one."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _is_heading(block: Sequence[Token]) -> bool:
    return block[0].type == "heading_open"


def _plain(parser: MarkdownIt, tokens: Sequence[Token], env: dict[str, Any]) -> str:
    return str(parser.renderer.render(_without_tables(parser, tokens, env), parser.options, env))


def _without_tables(parser: MarkdownIt, tokens: Sequence[Token], env: dict[str, Any]) -> list[Token]:
    """The same, with tables as the text of their rows."""
    told: list[Token] = []
    rows: list[list[str]] | None = None
    for token in tokens:
        if token.type == "table_open":
            rows = []
        elif rows is None:
            told.append(token)
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline":
            rows[-1].append(str(parser.renderer.render(token.children or [], parser.options, env)))
        elif token.type == "table_close":
            told.append(Token("code_block", "code", 0, content=text_of_table(rows)))
            rows = None
    return told
