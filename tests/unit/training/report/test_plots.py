import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread
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
        assert (filling.edges[0], filling.edges[-1]) == (0.5, len(values) + 0.5)
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


def test_queries_are_counted_in_whole_numbers() -> None:
    figure = wins_plot(per_query("rrra", [0.1, 0.2]), "rrra")
    as_svg(figure, "plot")
    (axes,) = figure.axes
    first, last = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if first <= tick <= last] == [1, 2]
    assert axes.get_title(loc="left") == "Queries: 2 won, 0 equal, 0 lost"


def timed(milliseconds: dict[str, float], dataset: str = "towns") -> dict[str, Any]:
    return {
        "dataset": dataset,
        "split": "test",
        "systems": {name: {"nDCG@10": 0.5} for name in milliseconds},
        "stages": {name: [name] for name in milliseconds},
        "query_ms": {name: {"p50": own} for name, own in milliseconds.items()},
    }


@pytest.mark.parametrize("fastest", [0.002, 0.2, 3.1])
@pytest.mark.parametrize("factor", [1.0, 1.3, 4.0, 60.0, 3000.0, 1e6])
def test_times_of_any_size_are_told_apart(fastest: float, factor: float) -> None:
    figure = quality_plot(timed({"a": fastest, "b": fastest * factor}))
    as_svg(figure, "plot")
    (axes,) = figure.axes
    labels = [one for one in axes.get_xticklabels(which="both") if one.get_text()]
    boxes = sorted((one.get_window_extent() for one in labels), key=lambda box: box.x0)
    shown = [box for box in boxes if axes.bbox.x0 <= (box.x0 + box.x1) / 2 <= axes.bbox.x1]
    assert len(shown) >= 2
    assert all(before.x1 < after.x0 for before, after in pairwise(shown))
    assert not any("e" in one.get_text() for one in labels if 1e-3 < one.get_position()[0] < 1e5)


@pytest.mark.parametrize("number", [1, 2, 9, 14])
def test_marks_stand_out_from_light_and_dark_pages(number: int) -> None:
    (axes,) = quality_plot(timed({f"system {n}": 1.0 + n for n in range(number)})).axes
    colours = [mark.get_edgecolor()[0, :3] for mark in axes.collections]
    assert len({tuple(colour) for colour in colours}) == number
    for page in ("#ffffff", "#1f2227"):
        assert min(contrast(colour, to_rgb(page)) for colour in colours) >= 3


def contrast(one: Any, other: Any) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in map(np.asarray, (one, other))]
    dark, light = sorted(0.05 + own @ [0.2126, 0.7152, 0.0722] for own in linear)
    return light / dark


@pytest.mark.parametrize("letters", [5, 16, 17, 26, 27, 60, 68, 200])
def test_long_names_fit_into_the_picture(letters: int, tmp_path: Path) -> None:
    name = ("MiniLM-of-all-seeds_" * letters)[: letters - 1]
    names = {f"{n}{name}": 1.0 + n for n in range(3)}
    every = [timed(names, dataset=name)]
    inside(quality_plot(every[0]))
    inside(wins_plot(per_query(next(iter(names)), [0.1]), next(iter(names))))
    draw_quality(every, tmp_path / "quality.png")
    # A white rim: nothing is cut.
    picture = imread(tmp_path / "quality.png")
    assert all((edge[..., :3] == 1).all() for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def inside(figure: Figure) -> None:
    figure.draw_without_rendering()
    (axes,) = figure.axes
    names = [text for legend in figure.legends for text in legend.get_texts()]
    for text in (axes.xaxis.label, axes.yaxis.label, *names):
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text


@pytest.mark.parametrize("name", NAMES)
def test_a_dollar_in_a_name_is_a_dollar(name: str, tmp_path: Path) -> None:
    figures = {
        "dataset": name,
        "split": "test",
        "systems": {name: {"nDCG@10": 0.5}},
        "query_ms": {name: {"p50": 3.0}},
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
