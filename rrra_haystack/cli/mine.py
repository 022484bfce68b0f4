"""``rrra mine``: hard negatives for other trainers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from rrra_haystack.cli.extras import extra
from rrra_haystack.cli.options import IgnoreIdentical
from rrra_haystack.files import working_folder
from rrra_haystack.pretrained import DEFAULT_MODEL


def command(
    data: Annotated[
        str,
        typer.Argument(
            help="A folder in the BEIR layout, as FOLDER or FOLDER:SPLIT, or a file of queries and positives.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option(help="The .jsonl file to write; a folder for beir.", show_default=False)],
    format_: Annotated[
        str,
        typer.Option("--format", help="sentence-transformers, pylate, tevatron, flagembedding or beir."),
    ] = "sentence-transformers",
    split: Annotated[str, typer.Option(help="Which queries: the name of a file in qrels/.")] = "train",
    negatives: Annotated[int, typer.Option(min=1, help="Negatives of a query.")] = 7,
    sampler: Annotated[
        str,
        typer.Option(help="How they are drawn: top-k (the hardest), rrra, random, ..., {name: simans, a: 50}."),
    ] = "top-k",
    max_false_negative: Annotated[
        float, typer.Option(min=0, max=1, help="What is more probably relevant than this is no negative.")
    ] = 0.1,
    add_positives: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="What is at least so probably relevant becomes a positive; none if not given."),
    ] = None,
    candidates: Annotated[int, typer.Option(min=1, help="Look among so many of the encoder's first passages.")] = 100,
    model: Annotated[str, typer.Option(help="The model, or any encoder.")] = DEFAULT_MODEL,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw this many queries.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every draw.")] = 0,
    ignore_identical: IgnoreIdentical = False,
    cache: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Keep what was encoded and judged here; an interrupted run goes on."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an output that is there.")] = False,
) -> None:
    """
    Mine hard negatives for your own trainer, without those that are probably relevant.

    A file of details beside the output holds the probability of each negative, and suspected positives.
    """
    with extra("train", "rrra mine"):
        from rrra_training.data.beir import split_of
        from rrra_training.formats import EVEN, check_output, details_of
        from rrra_training.mining.mine import mine_negatives, summary, write_negatives
        from rrra_training.mining.settings import NegativesConfig, sampler_of

    folder, own_split = split_of(data, split)
    check_output(output, format_, data=folder, force=force)
    config = NegativesConfig(
        negatives=negatives, sampler=sampler_of(sampler, negatives), max_false_negative=max_false_negative,
        add_positives=add_positives, candidates=candidates, limit=limit, ignore_identical=ignore_identical, seed=seed,
    )  # fmt: skip
    with working_folder(cache) as kept:
        mined = mine_negatives(
            folder, own_split, config, model=model, cache=kept, only_even=format_ in EVEN,
            show_progress=True,
        )  # fmt: skip
        write_negatives(mined, output, format_)
    console = Console()
    console.print(summary(mined, format_))
    console.print(
        f"The negatives are in [bold]{escape(str(output))}[/], what is known of them in "
        f"[bold]{escape(str(details_of(output, format_)))}[/].",
        soft_wrap=True,
    )
