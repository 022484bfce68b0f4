"""What an adaptation tried, gained and kept: a table, three lines, JSON."""

from dataclasses import asdict
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from rrra_training.adapting.adapt import Adapted
from rrra_training.adapting.choosing import Judged, Weights
from rrra_training.adapting.lists import CORPUS, FORMER_CORPUS


def render(found: Adapted) -> Table:
    """A row for each attempt: the weights, and what they gain on the kinds of questions that judged."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("fitted on")
    for name in ("fusion", "lexical", "rare by", *(f"on {kind}" for kind in found.questions)):
        table.add_column(name, justify="right")
    for one in found.tried:
        weights = (f"{one.weights.fusion:g}", f"{one.weights.lexical:g}", one.weights.language or "candidates")
        by_kind = {judged.kind: f"{judged.gain:+.1f}\n{_interval(judged)}" for judged in one.judged}
        table.add_row(one.fitted_on, *weights, *(by_kind.get(kind, "") for kind in found.questions))
    return table


def said(found: Adapted) -> str:
    """What was tried, what it gained, and what was kept, in three lines."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.questions.items())
    over = f"{found.searched:,} of {found.passages:,}" if found.searched < found.passages else f"{found.passages:,}"
    best = found.kept or max(found.tried, key=lambda one: one.gain)
    gains = ", ".join(f"{one.gain:+.1f} {_interval(one)} on {one.kind}" for one in best.judged)
    tried = (
        f"Tried: fusion weight, lexical weight and frequencies of words, by questions ({kinds}) over {over} passages."
    )
    if found.astray:
        tried += f" {found.astray} more were written, and do not find their passage."
    lines = [
        tried,
        f"Gained: in points of nDCG@10, fitted on {best.fitted_on}: {gains}.",
    ]
    if found.kept is None:
        lines.append(f"Kept: what the model had ({_named(found.former)}), for nothing else is better for sure.")
    else:
        lines.append(f"Kept: {_named(found.kept.weights)}, in place of {_named(found.former)}.")
    return "\n".join(lines)


def as_json(found: Adapted) -> dict[str, Any]:
    """Everything, by the names of :class:`~rrra_training.adapting.adapt.Adapted`."""
    return asdict(found)


def _interval(one: Judged) -> str:
    low, high = one.interval
    return f"({low:+.1f} to {high:+.1f})"


def _named(weights: Weights) -> str:
    rare = {
        CORPUS: "words rare by your documents",
        FORMER_CORPUS: "words rare by the documents that it was adapted to before",
        None: "words rare by the candidates",
    }
    by = rare.get(weights.language, f"words rare by {weights.language}")
    return f"fusion weight {weights.fusion:g}, lexical weight {weights.lexical:g}, {by}"
