"""Tables that people read."""

from haystack import ExtractedAnswer
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from rrra_haystack.cli.asking import Asked, source_of

_SHOWN = 90


def show(console: Console, asked: Asked, passages: int = 3) -> None:
    """Print a question, its answers, and what the adapter changed."""
    table = Table(box=None, pad_edge=False, show_header=True, header_style="dim")
    table.add_column("rank", justify="right")
    table.add_column("before", justify="right")
    table.add_column("relevance", justify="right")
    table.add_column("passage")
    for passage in asked.passages[:passages]:
        moved = passage.before is not None and passage.before != passage.rank
        probability = passage.document.meta.get("rrra", {}).get("relevance_probability")
        text = " ".join((passage.document.content or "").split())
        table.add_row(
            str(passage.rank),
            Text(str(passage.before or "-"), style="bold green" if moved else "dim"),
            "-" if probability is None else f"{probability:.2f}",
            Text(text[:_SHOWN] + ("..." if len(text) > _SHOWN else "")) + Text(f"  {passage.source}", style="dim"),
        )
    parts: list[Text | Table] = [answer_line(asked), Text()] if asked.answers else []
    parts.append(table)
    footer = f"{len(asked.retrieved)} candidates, {asked.milliseconds:.0f} ms"
    console.print(Panel(Group(*parts), title=f"[bold]{asked.question}[/]", title_align="left", subtitle=footer))


def answer_line(asked: Asked) -> Text:
    """The best answer; of an extracted one, how probable it is, and its source."""
    best = asked.answers[0]
    if not best.data:
        return Text("No answer found.", style="yellow")
    line = Text(str(best.data).strip(), style="bold cyan")
    if isinstance(best, ExtractedAnswer):
        line += Text(f"  {best.score:.0%}  {source_of(best.document)}", style="dim")
    return line
