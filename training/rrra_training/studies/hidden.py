"""
A set whose false negatives are known: of the questions with several labelled passages one passage stays labelled, and
the others are hidden.

``python -m rrra_training.studies.hidden DATA/medquad --output DATA/medquad-hidden --held 300``
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from rrra_haystack.files import atomic_directory
from rrra_training.data import BeirDataset
from rrra_training.data.qrels import Qrels, relevant_in
from rrra_training.data.writing import write_beir
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import BeirFolder
from rrra_training.studies.windows import TRUTH


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A folder in the BEIR layout.")],
    output: BeirFolder,
    split: Annotated[str, typer.Option(help="The split whose questions are hidden from.")] = "train",
    least: Annotated[int, typer.Option(min=2, help="Take questions with so many labelled passages.")] = 2,
    held: Annotated[int, typer.Option(min=0, help="Keep so many of them back, with all their labels.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is held back and of what is hidden.")] = 0,
) -> None:
    """Hide all labels but one; ``SPLIT-truth`` knows them, and ``SPLIT-held`` has the questions kept back."""
    source = BeirDataset(data)
    passages = list(source.passages())
    relevant = relevant_in({passage.id for passage in passages}, source.qrels(split))
    several = [query for query, own in relevant.items() if len(own) >= least]
    if held >= len(several):
        msg = (
            f"{len(several)} questions of {split} have {least} labelled passages or more, and {held} are held back: "
            "none is left to learn from. Hold fewer back, or name another split."
        )
        raise typer.BadParameter(msg)
    generator = np.random.default_rng(seed)
    kept_back = {several[place] for place in generator.permutation(len(several))[:held]}
    learned = [query for query in several if query not in kept_back]
    splits: dict[str, Qrels] = {
        split: {query: {str(generator.choice(relevant[query])): 1} for query in learned},
        f"{split}{TRUTH}": {query: dict.fromkeys(relevant[query], 1) for query in learned},
    }
    if held:
        splits[f"{split}-held"] = {query: dict.fromkeys(relevant[query], 1) for query in several if query in kept_back}
    splits = {other: source.qrels(other) for other in source.splits() if other not in splits} | splits
    named = {query for own in splits.values() for query in own}
    queries = {query.id: query for other in source.splits() for query in source.queries(other) if query.id in named}
    with atomic_directory(output) as work:
        write_beir(work, passages, queries.values(), splits)
    counts = ", ".join(f"{name} {len(own):,}" for name, own in splits.items())
    typer.echo(f"{len(passages):,} passages; questions: {counts}.")


if __name__ == "__main__":
    run_command(main)
