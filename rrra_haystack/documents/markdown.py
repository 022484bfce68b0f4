"""Markdown -> sections of text."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_plain.renderer import RendererPlain

from rrra_haystack.documents.html_pages import parts_of_html
from rrra_haystack.documents.records import text_of_table
from rrra_haystack.documents.sections import TITLE_KEY, Heading, Section, sections_of

# A rule, unlike the beginning of front matter, has an empty line below it.
_FRONT_MATTER = re.compile(r"\A---\n(?![^\S\n]*\n)(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
# How deep blocks may lie in one another; a list and its item are two.
_DEEPEST, _AT_ONCE = 60, 4
_HEADING, _TAGS = "heading_open", "html_block"


def sections_of_markdown(text: str) -> list[Section]:
    """
    Markdown without its marks. The rows of tables name their columns.

    :param text: The Markdown; its front matter may name a title.
    """
    title, text = _front_matter(text)
    return sections_of(_parts(text), title=title)


def _parts(text: str) -> Iterator[Heading | str]:
    parser = MarkdownIt("commonmark", {"maxNesting": _DEEPEST}, renderer_cls=RendererPlain).enable("table")
    env: dict[str, Any] = {}
    tokens = parser.parse(text, env)
    if any(token.level >= _DEEPEST - _AT_ONCE for token in tokens):
        yield text  # What is nested deeper would be left out.
        return

    def plain(tokens: Sequence[Token]) -> str:
        return str(parser.renderer.render(_without_tables(parser, tokens, env), parser.options, env))

    for kind, blocks in groupby(_blocks(tokens), lambda block: block[0].type):
        if kind == _HEADING:
            yield from (Heading(int(block[0].tag[1]), plain(block)) for block in blocks)
        elif kind == _TAGS:
            yield from parts_of_html("".join(block[0].content for block in blocks))
        else:
            yield plain([token for block in blocks for token in block]) + "\n\n"


def _front_matter(text: str) -> tuple[str | None, str]:
    """The title that front matter names, and the rest."""
    found = _FRONT_MATTER.match(text)
    if not found:
        return None, text
    try:
        told = yaml.safe_load(found[1])
    except (yaml.YAMLError, ValueError, RecursionError):
        return None, text
    if not isinstance(told, dict):
        return None, text
    title = told.get(TITLE_KEY)
    return str(title) if title and isinstance(title, str | int | float) else None, text[found.end() :]


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """The blocks that lie in no other one."""
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


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
            told.append(Token("code_block", "code", 0, content=text_of_table(rows, 1)))
            rows = None
    return told
