"""Tables that people read."""

import os
import re
from pathlib import Path
from typing import Any

from haystack import Document, ExtractedAnswer
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rrra_haystack.asking.ask import Asked, Reranked, beginning
from rrra_haystack.documents.metadata import place_of, scores_of

# Characters of a passage without a sentence that matched, and of a sentence.
_SHOWN, _LONGEST = 90, 240
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


def show(console: Console, asked: Asked, passages: int = 3) -> None:
    """Print a question, its answers, and what the adapter changed."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("rank", justify="right")
    table.add_column("before", justify="right")
    table.add_column("relevance", justify="right")
    table.add_column("passage")
    for passage in asked.passages[:passages]:
        moved = passage.before is not None and passage.before != passage.rank
        probability = scores_of(passage.document).get("relevance_probability")
        table.add_row(
            str(passage.rank),
            Text(str(passage.before or "-"), style="bold green" if moved else "dim"),
            "-" if probability is None else f"{probability:.2f}",
            _passage(passage) + _place(passage.document, passage.sentence[0]),
        )
    parts: list[Text | Table] = [answer_line(asked), Text()] if asked.answers else []
    parts.append(table)
    footer = f"{len(asked.retrieved)} candidates, {asked.milliseconds:.0f} ms"
    title = Text(asked.question, style="bold")
    console.print(Panel(Group(*parts), title=title, title_align="left", subtitle=footer))


def _passage(passage: Reranked) -> Text:
    """The sentence that matched best, or the first words of a passage that has none."""
    content = passage.document.content or ""
    begin, end = passage.sentence
    if end > begin:
        return Text(_shortened(content[begin:end], _LONGEST), style="bold")
    return Text(_shortened(content, _SHOWN))


def _place(document: Document | None, at: int) -> Text:
    """Where something stands, as one would name it from the folder that one is in."""
    return Text(_printable(f"  {place_of(document, at).removeprefix(f'{Path.cwd()}{os.sep}')}"), style="dim")


def _printable(text: str) -> str:
    """A text of a file without the characters that control a terminal."""
    return _CONTROL.sub(" ", text)


def _shortened(text: str, longest: int) -> str:
    text = " ".join(_printable(text).split())
    return text[:longest] + ("..." if len(text) > longest else "")


def answer_line(asked: Asked) -> Text:
    """The best answer, or that there is none and what comes nearest; of extracted ones, how probable they are."""
    best = asked.answers[0]
    if best.data:
        return _said(best, "bold cyan")
    none = Text("No answer found.", style="yellow")
    nearest = next((answer for answer in asked.answers if answer.data), None)
    return none if nearest is None else none + Text("  Nearest: ", style="dim") + _said(nearest, "")


def _said(answer: Any, style: str) -> Text:
    line = Text(_printable(str(answer.data)).strip(), style=style)
    if isinstance(answer, ExtractedAnswer):
        line += Text(f"  {answer.score:.0%}", style="dim") + _place(answer.document, beginning(answer))
    return line
