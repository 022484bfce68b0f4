"""``rrra evaluate``: measure the encoder alone against RRRA and others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from rrra_haystack.cli.extras import extra
from rrra_haystack.cli.options import IgnoreIdentical
from rrra_haystack.files import check_writable, write_json
from rrra_haystack.pretrained import DEFAULT_MODEL

if TYPE_CHECKING:
    from rrra_training.evaluation.evaluate import Evaluation


def command(
    data: Annotated[
        list[str],
        typer.Argument(help="Folders in the BEIR layout, each as FOLDER or FOLDER:SPLIT.", show_default=False),
    ],
    split: Annotated[str, typer.Option(help="Which queries: the name of a file in qrels/.")] = "test",
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    systems: Annotated[
        list[str] | None,
        typer.Option(
            help="What to measure beside the encoder: bm25, maxsim, match, rrra, untrained, hybrid, NAME=MODEL, or the "
            "YAML file of a Haystack ranker. May be repeated; match and rrra if not given.",
            show_default=False,
        ),
    ] = None,
    code: Annotated[
        list[str] | None, typer.Option(help="Kinds of token codes: 1bit, 2bit, 4bit, int8, float32. May be repeated.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many passages are retrieved for a query, and reranked.")] = 100,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw, the intervals and the tests.")] = 0,
    condensed: Annotated[
        bool, typer.Option("--condensed", help="Measure over the judged passages alone too.", show_default=False)
    ] = False,
    match: Annotated[
        str | None,
        typer.Option(
            metavar="meta.FIELD[,FIELD]",
            help="Labels name these metadata fields, as meta.source,meta.page_number, and not passages.",
        ),
    ] = None,
    ignore_identical: IgnoreIdentical = False,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Keep the encoded corpus here and take it from there the next time."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", dir_okay=False, help="Write the figures to this file.")
    ] = None,
    html_file: Annotated[
        Path | None, typer.Option("--html", dir_okay=False, help="Write a report to this file.")
    ] = None,
    figure_file: Annotated[
        Path | None,
        typer.Option("--figure", dir_okay=False, help="Draw quality against milliseconds to this file, png or svg."),
    ] = None,
) -> None:
    """Measure the encoder alone, RRRA and others, over the exact first passages of the whole corpus."""
    with extra("train", "rrra evaluate"):
        from rrra_training.data.beir import split_of
        from rrra_training.evaluation.evaluate import (
            DEFAULT_SYSTEMS,
            UnfinishedEvaluationError,
            evaluate,
        )
        from rrra_training.evaluation.splits import check_split
        from rrra_training.runs.places import check_figure

    for file in (json_file, html_file):
        if file is not None:
            check_writable(file)
    if figure_file is not None:
        check_figure(figure_file)
    named = [split_of(one, split) for one in data]
    # What is wrong with the last collection is told before hours are spent on the first, which is looked at anyway.
    for folder, own_split in named[1:]:
        check_split(folder, own_split, only_judged=condensed, match=match)
    evaluations: list[Evaluation] = []
    try:
        for folder, own_split in named:
            evaluations.append(
                evaluate(
                    folder, model=model, split=own_split, systems=systems or DEFAULT_SYSTEMS,
                    codes=code, top_k=top_k, limit=limit, seed=seed, only_judged=condensed,
                    match=match, ignore_identical=ignore_identical, cache=cache, show_progress=True,
                )
            )  # fmt: skip
    except UnfinishedEvaluationError as error:
        evaluations.append(error.measured)
        raise
    finally:
        # What was measured before an error is kept and shown.
        if evaluations:
            _tell(evaluations, json_file, html_file, figure_file)


def _tell(
    evaluations: "list[Evaluation]", json_file: Path | None, html_file: Path | None, figure_file: Path | None
) -> None:
    from rrra_training.evaluation.evaluate import as_json
    from rrra_training.evaluation.tables import render

    if json_file is not None:
        write_json(json_file, as_json(evaluations))
    if html_file is not None:
        from rrra_training.report.page import write_report

        write_report(evaluations, html_file)
    if figure_file is not None:
        from rrra_training.report.quality_plot import draw_quality

        draw_quality([one.figures for one in evaluations], figure_file)
    console = Console()
    # A file or a pipe has no width of its own, and wide tables are worth theirs.
    console.width = console.width if console.is_terminal else 170
    console.print(render(evaluations))
