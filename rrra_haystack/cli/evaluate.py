"""``rrra evaluate``: measure the encoder alone against RRRA."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rrra_haystack.files import atomic_write


def command(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    split: Annotated[str, typer.Option(help="Which queries: the name of a file in qrels/.")] = "test",
    model: Annotated[str | None, typer.Option(help="The model; the default one if not given.")] = None,
    code: Annotated[
        list[str] | None, typer.Option(help="Kinds of token codes: 1bit, int8, float32. May be repeated.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw and of the intervals.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures to this file.")] = None,
) -> None:
    """Measure the encoder alone, the token match alone and RRRA, over the exact top 100 of the whole corpus."""
    try:
        from rrra_training.evaluation import evaluate, render  # noqa: PLC0415
    except ImportError as error:
        msg = f"rrra evaluate needs the extra 'train' ({error}). Install it with: pip install 'rrra-haystack[train]'"
        raise ImportError(msg) from None
    from rrra_haystack.model import DEFAULT_MODEL  # noqa: PLC0415

    result = evaluate(
        data, model=model or DEFAULT_MODEL, split=split, codes=code, limit=limit, seed=seed, show_progress=True
    )
    if json_file is not None:
        atomic_write(json_file, json.dumps(result, indent=2) + "\n")
    Console().print(render(result))
