"""``rrra compress``: a model whose token codes take a part of the bytes."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli.extras import extra


def command(
    model: Annotated[str, typer.Argument(help="A plain encoder: a directory or a hub id.", show_default=False)],
    data: Annotated[
        str,
        typer.Argument(
            help="Your texts: a file or folder of .txt, .md or .jsonl, or a folder in the BEIR layout as FOLDER or "
            "FOLDER:SPLIT.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(file_okay=False, help="Where the model goes.")] = Path("compressed"),
    dimensions: Annotated[int, typer.Option(min=8, help="Dimensions of a token code; a multiple of 8.")] = 64,
    code: Annotated[str, typer.Option(help="Kind of the codes: 1bit, 2bit, 4bit or int8.")] = "1bit",
    max_loss: Annotated[
        float, typer.Option(help="Write no model that may lose more points of nDCG@10, by the 95 % interval.")
    ] = 2.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is drawn.")] = 0,
) -> None:
    """
    Fit a projection of an encoder's token states to your texts, without labels, and measure what it loses.

    The loss is measured on questions with labels where there are some, else on sentences taken out of their passages.
    """
    from rrra_haystack.model.codes.kinds import kind_named

    kind = kind_named(code)
    with extra("train", "rrra compress"):
        from rrra_training.compression.compressing import compress
        from rrra_training.data.beir import split_of

    folder, split = split_of(data, "")
    found = compress(
        model, folder, output, split=split or None, dimensions=dimensions, code=kind, max_loss=max_loss, seed=seed,
        show_progress=True,
    )  # fmt: skip
    low, high = (100 * bound for bound in found.interval)
    asked = "questions" if found.has_labels else "sentences taken out of their passages"
    console = Console()
    console.print(
        f"{found.bytes_after} bytes a token in place of {found.bytes_before}. Over {found.queries} {asked}, nDCG@10 is "
        f"{100 * found.after:.1f} in place of {100 * found.before:.1f} ({low:+.1f} to {high:+.1f})."
    )
    console.print(f"The model is in [bold]{escape(str(output))}[/].", soft_wrap=True)
