"""``rrra train``: carry out a training recipe."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli.extras import extra
from rrra_haystack.files import read_json
from rrra_haystack.pretrained import DEFAULT_MODEL

if TYPE_CHECKING:
    from rrra_training.choosing.plan import Plan


def command(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA|RECIPE",
            help="Labelled data: a folder in the BEIR layout, or a file of questions and what answers them. "
            "Or a recipe: a YAML file, or the name of a bundled one.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(file_okay=False, help="The run directory; runs/NAME if not given.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    start: Annotated[
        str | None, typer.Option(help="With data: the model to begin with; the default one if not given.")
    ] = None,
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
    Train a model on labelled data, or by a recipe; the run directory then holds it as [bold]model/[/].

    Every component loads it by its path, as [bold]model: runs/my-model/model[/] in a pipeline.
    """
    with extra("train", "rrra train"):
        from rrra_training.choosing.plan import plan_of
        from rrra_training.data.beir import split_of
        from rrra_training.data.recognising import recognised
        from rrra_training.recipe.bundled import is_recipe
        from rrra_training.recipe.recipe import load_recipe
        from rrra_training.runs.processes import processes
        from rrra_training.train import train

    console = Console()
    plan = None
    folder, split = split_of(data, "")
    if is_recipe(data) or not folder.exists():
        loaded = load_recipe(data, set_ or ())
        if start is not None:
            msg = f"{data} is a recipe, which names the model to begin with itself: use --set start={start}."
            raise ValueError(msg)
    else:
        plan = plan_of(recognised(folder), split or None, start or DEFAULT_MODEL, set_ or ())
        loaded = plan.recipe
    if show:
        typer.echo(loaded.to_yaml(), nl=False)
        return
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("rrra_training").setLevel(logging.INFO)
    if dry_run:
        from rrra_training.train import previews

        for table in previews(loaded):
            console.print(table)
        return
    target = output if output is not None else Path("runs") / loaded.name
    if plan is not None:
        _choose(console, plan, start or DEFAULT_MODEL, target, resume=resume, phase=phase, cache=cache)
        return
    made = train(loaded, target, resume=resume, phase=phase, cache=cache, show_progress=True)
    if not processes().is_main_process:
        return
    figures = target / "dev.json"
    if figures.exists():
        from rrra_training.phases.model_card import dev_table

        console.print(dev_table(figures))
    _tell_where(console, made)


def _choose(
    console: Console, plan: "Plan", start: str, target: Path, *, resume: bool, phase: int | None, cache: Path | None
) -> None:
    from rrra_training.choosing.choosing import CHOSEN, train_on_labels
    from rrra_training.choosing.report import table

    if phase is not None:
        msg = "--phase is of recipes. Without it, data are trained on as their size allows; --show prints the recipe."
        raise ValueError(msg)
    made = train_on_labels(plan, start, target, resume=resume, cache=cache, show_progress=True)
    console.print(table(read_json(target / f"{CHOSEN}.json", f"Remove {target} to train again.")))
    _tell_where(console, made)


def _tell_where(console: Console, made: Path) -> None:
    console.print(f"The model is in [bold]{escape(str(made))}[/]. Load it as model=[bold]{escape(repr(str(made)))}[/].")
