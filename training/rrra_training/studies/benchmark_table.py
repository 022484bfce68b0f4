"""The table of a benchmark."""

from collections.abc import Mapping, Sequence
from typing import Any

from rrra_training.evaluation.evaluate import Evaluation
from rrra_training.evaluation.figures import difference, machine_of, query_costs, settings_of, title_of
from rrra_training.evaluation.systems import ENCODER_SYSTEM, baseline_of

_MEASURES = ("R@1", "MRR@10", "nDCG@10", "R@100", "judged@10")
_OVER = "R@1"


def markdown(evaluations: Sequence[Evaluation]) -> str:
    """One table over all collections, in percent, the best of each column in bold."""
    every = [one.figures for one in evaluations]
    systems = list(dict.fromkeys(name for figures in every for name in figures["systems"]))
    columns = [(head, cells) for figures in every for head, cells in _columns(figures, systems)]
    head = ["system", *(own for own, _ in columns), "ms a query (p95)", "last stage, ms (p95)", "bytes a passage"]
    rows = [
        [name, *(cells[place] for _, cells in columns), *query_costs(every[0], name)]
        for place, name in enumerate(systems)
    ]
    lines = [_line(head), _line(["---", *(["---:"] * (len(head) - 1))]), *map(_line, rows)]
    about = "; ".join(f"{title_of(figures)}: {settings_of(figures)}" for figures in every)
    note = (
        f"{about}. Milliseconds: the median on {title_of(every[0])} ({machine_of(every[0])}), retrieval and reranking "
        "together, without encoding the query, with the 95th percentile; the last stage alone. Bytes: token codes as "
        "stored, or token states, beside the embedding. Differences: the 95 % paired bootstrap interval, and p of the "
        "paired randomisation test, which is not corrected for the number of systems."
    )
    return "\n".join([*lines, "", note, ""])


def _columns(figures: Mapping[str, Any], systems: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Head and cells of the columns of a collection."""
    measured = {name: {**own, "judged@10": figures["judged@10"][name]} for name, own in figures["systems"].items()}
    columns = []
    for measure in _MEASURES:
        values = [measured.get(name, {}).get(measure) for name in systems]
        columns.append((f"{title_of(figures)} {measure}", [_cell(value, values) for value in values]))
    found = [difference(figures, name, _OVER)[0] for name in systems]
    baseline = "the encoder" if baseline_of(figures["systems"]) == ENCODER_SYSTEM else "BM25"
    columns.append((f"{title_of(figures)} {_OVER} over {baseline} (95 %)", found))
    if "rrra_over" in figures:
        over = [difference(figures["rrra_over"], name, _OVER) for name in systems]
        head = f"{title_of(figures)} {_OVER} of rrra over this system (95 %, p)"
        columns.append((head, [", ".join(filter(None, own)) for own in over]))
    return columns


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float | None, column: Sequence[float | None]) -> str:
    if value is None:
        return ""
    text = f"{100 * value:.1f}"
    return f"**{text}**" if value == max(own for own in column if own is not None) else text
