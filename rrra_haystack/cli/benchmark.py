"""``rrra benchmark``: the peers on the same work in one run."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markdown import Markdown
from rich.markup import escape

from rrra_haystack.cli.extras import extra


def command(
    plan: Annotated[
        str, typer.Argument(help="A YAML file, or the name of a bundled plan.", show_default=False)
    ] = "benchmark-minilm-l6",
    output: Annotated[Path, typer.Option(file_okay=False, help="Where trained peers and the report go.")] = Path(
        "runs/benchmark"
    ),
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the plan, as limit=500.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(file_okay=False, help="Where encoded corpora are kept; OUTPUT/cache if not given.")
    ] = None,
) -> None:
    """
    Train the peers of a plan that are missing, and measure all of them in one run.

    The report is one Markdown table, one figure, JSON, and an HTML page.
    """
    with extra("train", "rrra benchmark"):
        from rrra_training.recipe.bundled import find_recipe
        from rrra_training.recipe.yaml_files import load_yaml
        from rrra_training.studies.benchmark import BenchmarkPlan, benchmark
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("rrra_training").setLevel(logging.INFO)
    loaded = load_yaml(find_recipe(plan), set_ or (), BenchmarkPlan)
    report = benchmark(loaded, output, cache=cache, show_progress=True)
    console = Console()
    console.width = console.width if console.is_terminal else 170
    console.print(Markdown((report / "benchmark.md").read_text(encoding="utf-8")))
    console.print(f"Table, figure and page are in [bold]{escape(str(report))}[/].", soft_wrap=True)
