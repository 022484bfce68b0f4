"""``rrra audit``: examine the labels of retrieval data."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli.extras import extra
from rrra_haystack.cli.options import IgnoreIdentical
from rrra_haystack.files import check_writable, working_folder
from rrra_haystack.pretrained import DEFAULT_MODEL

if TYPE_CHECKING:
    from rrra_training.audit.decisions import Corrected


def command(
    data: Annotated[
        str, typer.Argument(help="A folder in the BEIR layout, as FOLDER or FOLDER:SPLIT.", show_default=False)
    ],
    split: Annotated[str, typer.Option(help="Which labels: the name of a file in qrels/.")] = "train",
    top: Annotated[int, typer.Option(min=1, help="Show so many suspects of each kind.")] = 50,
    output: Annotated[
        Path, typer.Option(help="The folder of audit.html and audit.json; with --format, what to write.")
    ] = Path("audit"),
    model: Annotated[str, typer.Option(help="The model.")] = DEFAULT_MODEL,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    ignore_identical: IgnoreIdentical = False,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Where the encoded corpus is kept; a recipe's --cache may be shared."),
    ] = None,
    apply: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Write corrected labels, from the file of decisions that the page saved."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="With --apply: name of the corrected split; SPLIT-audited if not given.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="With --apply: write corrected labels to --output in the format of a trainer, as rrra mine does: "
            "sentence-transformers, pylate, tevatron, flagembedding or beir.",
        ),
    ] = None,
    negatives: Annotated[
        int | None, typer.Option(min=0, help="With --format: negatives of a query; 7 if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With --apply: replace a split or an output.")] = False,
) -> None:
    """
    Find labels that are probably missing or wrong, as a page to go through by keyboard.

    The page saves decisions; [bold]--apply[/] makes a corrected split of them, which rrra train reads, or with
    [bold]--format[/] a file for another trainer.
    """
    with extra("train", "rrra audit"):
        from rrra_training.audit.decisions import corrected
        from rrra_training.audit.examining import audit
        from rrra_training.audit.page import render, write_audit
        from rrra_training.data.beir import split_of
        from rrra_training.formats import check_output

    console = Console()
    _check_options(apply, name, format_, negatives, force=force)
    folder, own_split = split_of(data, split)
    if format_ is not None:
        check_output(output, format_, data=folder, force=force)
    elif apply is None and output.is_file():
        msg = f"Directory '{output}' is a file."
        raise typer.BadParameter(msg, param_hint="'--output'")
    if apply is not None:
        made = corrected(folder, apply, split=own_split)
        told = (
            _split_written(made, name, force=force)
            if format_ is None
            else _exported(made, output, format_, 7 if negatives is None else negatives, seed)
        )
        console.print(
            f"{made.added} labels added, {made.removed} removed, {made.irrelevant} passages now judged irrelevant; "
            f"{made.left_out} queries left out because no positive is left."
        )
        for sentence in told:
            console.print(sentence, soft_wrap=True)
        return
    check_writable(output / "audit.html")
    with working_folder(cache) as kept:
        found = audit(
            folder, model=model, cache=kept, split=own_split, top=top, limit=limit, seed=seed,
            ignore_identical=ignore_identical, show_progress=True,
        )  # fmt: skip
    write_audit(found, output)
    console.print(render(found))
    console.print(f"Decide in a browser: [bold]{escape(str(output / 'audit.html'))}[/]", soft_wrap=True)


def _split_written(made: "Corrected", name: str | None, *, force: bool) -> list[str]:
    """Write corrected labels as a split of their data; what is told of it."""
    from rrra_training.audit.decisions import write_split

    path = write_split(made, name=name, force=force)
    return [f"The labels are in [bold]{escape(str(path))}[/]. Use them as [bold]split: {escape(path.stem)}[/]."]


def _exported(made: "Corrected", output: Path, format_: str, negatives: int, seed: int) -> list[str]:
    """Write corrected labels for another trainer; what is told of it."""
    from rrra_training.audit.exporting import export
    from rrra_training.formats import details_of

    unreachable = export(made, output, format_, negatives=negatives, seed=seed)
    left_out = f"{unreachable} further queries left out because none of their positives is in the corpus."
    details = escape(str(details_of(output, format_)))
    where = f"The labels are in [bold]{escape(str(output))}[/], what was decided in [bold]{details}[/]."
    return [left_out, where] if unreachable else [where]


def _check_options(
    apply: Path | None, name: str | None, format_: str | None, negatives: int | None, *, force: bool
) -> None:
    """Refuse options that would do nothing."""
    decided = "Name the file of decisions with --apply."
    for is_vain, told in (
        (format_ is not None and apply is None, f"--format writes what was decided. {decided}"),
        (name is not None and apply is None, f"--name is the name of a corrected split. {decided}"),
        (force and apply is None, f"--force replaces corrected labels. {decided}"),
        (
            name is not None and format_ is not None,
            "--name is the name of a split, and --format writes none. Omit one.",
        ),
        (negatives is not None and format_ is None, "--negatives are written by --format. Name a format."),
    ):
        if is_vain:
            raise ValueError(told)
