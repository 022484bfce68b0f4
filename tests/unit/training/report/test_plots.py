import re
from pathlib import Path

import numpy as np
import pytest
from rrra_training.answering.figures import Said
from rrra_training.answering.showing import draw
from rrra_training.report.plots import as_svg, probability_plot, quality_plot, wins_plot
from rrra_training.report.quality_plot import draw_quality

# A formula, a broken one, and one that nobody closed.
NAMES = ["US$5-and-US$6", "p$_$", "cost$"]


def per_query(name: str, difference: list[float]) -> dict[str, dict[str, np.ndarray]]:
    base = np.full(len(difference), 0.5)
    return {"bm25": {"nDCG@10": base}, name: {"nDCG@10": base + np.asarray(difference)}}


def heights(values: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """What the two fillings of the plot hold, query by query."""
    (axes,) = wins_plot(per_query("rrra", values), "rrra").axes
    won, lost = (patch.get_data() for patch in axes.patches)
    for filling in (won, lost):
        assert (filling.edges[0], filling.edges[-1]) == (-0.5, len(values) - 0.5)
    return won.values, lost.values


def test_each_query_has_its_step() -> None:
    won, lost = heights([0.1, -0.3, 0, 0.5, -0.2])
    assert won == pytest.approx([50, 10, 0, 0, 0])
    assert lost == pytest.approx([0, 0, 0, -20, -30])


@pytest.mark.parametrize("queries", [1, 7, 1000, 1001, 20_000])
def test_a_single_query_is_seen_among_many(queries: int) -> None:
    won, lost = heights([0.25] + [0.0] * (queries - 1))
    assert won.tolist() == [25.0] + [0.0] * (min(queries, 1000) - 1)
    assert not lost.any()
    won, lost = heights([-0.25] + [0.0] * (queries - 1))
    assert lost.tolist() == [0.0] * (min(queries, 1000) - 1) + [-25.0]
    assert not won.any()


def test_many_queries_make_no_large_page() -> None:
    differences = np.random.default_rng(0).uniform(-0.5, 0.5, 100_000).tolist()
    assert len(as_svg(wins_plot(per_query("rrra", differences), "rrra"), "plot")) < 200_000


@pytest.mark.parametrize("name", NAMES)
def test_a_dollar_in_a_name_is_a_dollar(name: str, tmp_path: Path) -> None:
    figures = {
        "dataset": name,
        "split": "test",
        "systems": {name: {"nDCG@10": 0.5}},
        "stages": {name: ["reranking"]},
        "latency_ms": {"reranking": {"p50": 3.0}},
    }
    plots = [
        quality_plot(figures),
        probability_plot({name: np.array([0.1, 0.9])}),
        wins_plot(per_query(name, [0.1]), name),
    ]
    for number, figure in enumerate(plots):
        assert name in re.sub(r"aria-label=\"[^\"]*\"", "", as_svg(figure, f"plot-{number}"))
    draw_quality([figures], tmp_path / "quality.svg")
    said = {name: Said(right := np.arange(24) % 2, right, np.linspace(0, 1, 24), np.zeros(24))}
    draw(said, said, tmp_path / "said.svg")
    assert all(path.stat().st_size for path in tmp_path.iterdir())
