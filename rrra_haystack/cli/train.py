"""``rrra train``: carry out a training recipe."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape


def command(
    recipe: Annotated[str, typer.Argument(help="A YAML file, or the name of a bundled recipe.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="The run directory; runs/NAME if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    phase: Annotated[
        int | None, typer.Option(help="Only this phase: 1 dual encoder, 2 adapter, 3 joint fine-tuning.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as adapter.steps=100.")
    ] = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, help="Where encoded corpora are kept, for several runs to share.", show_default=False
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe with all defaults, and do no more.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check the data, print three rows of each split as read, and do no more."),
    ] = False,
) -> None:
    """
    Train a model from a recipe; the run directory then holds it as [bold]model/[/].

    Every component loads it by its path, as [bold]model: runs/my-model/model[/] in a pipeline.
    """
    try:
        from rrra_training.recipe.recipe import load_recipe  # noqa: PLC0415
        from rrra_training.runs.processes import processes  # noqa: PLC0415  (needs the extra)
        from rrra_training.train import train  # noqa: PLC0415
    except ImportError as error:
        msg = f"'rrra train' needs the extra 'train': pip install 'rrra-haystack[train]' ({error})"
        raise ImportError(msg) from None

    console = Console()
    loaded = load_recipe(recipe, set_ or ())
    if show:
        typer.echo(loaded.to_yaml(), nl=False)
        return
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("rrra_training").setLevel(logging.INFO)
    if dry_run:
        from rrra_training.train import previews  # noqa: PLC0415

        for table in previews(loaded):
            console.print(table)
        return
    target = output if output is not None else Path("runs") / loaded.name
    made = train(loaded, target, resume=resume, phase=phase, cache=cache, show_progress=True)
    if not processes().is_main_process:
        return
    figures = target / "dev.json"
    if figures.exists():
        from rrra_training.phases.model_card import dev_table  # noqa: PLC0415

        console.print(dev_table(figures))
    console.print(f"The model is in [bold]{escape(str(made))}[/]. Load it as model=[bold]{escape(repr(str(made)))}[/].")
