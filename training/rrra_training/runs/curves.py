"""Curves of a run."""

from typing import Any

# Okabe and Ito's colours, told apart by colour-blind readers too.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000", "#F0E442")
# Up to so many points of a phase are marked one by one.
_FEW = 20


def curves_figure(rows: list[dict[str, Any]], names: list[str]) -> Any:
    """Measures of a run over its steps, one plot a name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (slow to import)
    from matplotlib.figure import Figure  # noqa: PLC0415

    phases = list(dict.fromkeys(row["phase"] for row in rows))
    columns = min(len(names), 3)
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(4.8 * columns, 3.4 * lines), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    for place, name in enumerate(names, start=1):
        axes = figure.add_subplot(lines, columns, place)
        for number, phase in enumerate(phases):
            points = [(row["step"], row[name]) for row in rows if row["phase"] == phase and row.get(name) is not None]
            if not points:
                continue
            steps, values = (list(column) for column in zip(*points, strict=True))
            style: dict[str, Any] = {
                "color": _COLOURS[number % len(_COLOURS)],
                "marker": "o" if len(points) <= _FEW else None,
                "markersize": 3,
            }
            if "loss" in name:
                axes.plot(steps, values, alpha=0.3, linewidth=0.8, **style)
                axes.plot(steps, smoothed(values), label=phase, **style | {"marker": None})
            else:
                axes.plot(steps, values, label=phase, **style)
        axes.set_title(name)
        axes.set_xlabel("step")
        axes.set_ylabel(name)
        axes.grid(visible=True, alpha=0.3)
        if axes.lines:
            axes.legend(frameon=False)
    return figure


def smoothed(values: list[float], weight: float = 0.9) -> list[float]:
    """
    Exponential moving average without the pull towards 0 at its beginning (arXiv 1412.6980, section 3).

    :param values: Values in order.
    :param weight: Share of what was before, below 1.
    """
    average, result = 0.0, []
    for number, value in enumerate(values, start=1):
        average = weight * average + (1 - weight) * value
        result.append(average / (1 - weight**number))
    return result
