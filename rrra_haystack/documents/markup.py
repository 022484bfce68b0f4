"""Markdown and HTML -> text."""

import trafilatura
from markdown_it import MarkdownIt
from mdit_plain.renderer import RendererPlain


def text_of_markdown(text: str) -> str:
    """
    Markdown without its marks.

    :param text: The Markdown.
    """
    return MarkdownIt(renderer_cls=RendererPlain).render(text)


def text_of_html(text: str) -> str:
    """
    What a page tells, without its navigation.

    :param text: The HTML.
    """
    return trafilatura.extract(text) or ""
