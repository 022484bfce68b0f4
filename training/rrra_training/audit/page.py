"""The suspects as a page to decide on, and as a table."""

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

import jinja2
from rich.console import Group
from rich.table import Table
from rich.text import Text

from rrra_haystack.files import atomic_write, write_json
from rrra_training.audit.decisions import Kind
from rrra_training.audit.suspects import Audit


def write_audit(found: Audit, folder: Path) -> None:
    """
    Write ``audit.html``, a page to decide by keyboard, and ``audit.json``.

    :param found: What was found.
    :param folder: Where both go, in the place of those of an earlier audit.
    """
    held_json = asdict(found)
    template = files("rrra_training").joinpath("templates/audit.html").read_text(encoding="utf-8")
    page = jinja2.Environment(autoescape=True).from_string(template).render(audit=held_json)
    write_json(folder / "audit.json", held_json)
    atomic_write(folder / "audit.html", page)


_TITLES: dict[Kind, tuple[str, str]] = {
    "missing": ("Probably relevant, not labelled", "relevant"),
    "wrong": ("Labelled, the least probably relevant", "right"),
}
_SHOWN = 3


def render(found: Audit) -> Group:
    """The first suspects of each kind."""
    tables: list[Table | Text] = [Text(f"{found.dataset}, split {found.split}: {found.queries} queries looked at")]
    for kind, (title, column) in _TITLES.items():
        own = [one for one in found.suspects if one.kind == kind]
        table = Table(title=f"{title}: {len(own)}", title_justify="left", box=None, pad_edge=False)
        table.add_column(column, justify="right", no_wrap=True)
        table.add_column("query")
        table.add_column("passage")
        for one in own[:_SHOWN]:
            text = f"{one.title} {one.text}"
            table.add_row(f"{one.probability:.2f}", Text(_shortened(one.question, 80)), Text(_shortened(text, 100)))
        tables += [table, Text(found.meaning[kind], style="dim")]
    tables.append(
        Text(f"{found.doubtful} of {found.labels} labels are more probably wrong than right, as far as this can tell.")
    )
    return Group(*tables)


def _shortened(text: str, letters: int) -> str:
    """The beginning of a text, whether or not there are spaces in it."""
    text = " ".join(text.split())
    return text if len(text) <= letters else f"{text[: letters - 1]}…"
