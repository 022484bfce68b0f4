"""
A small part of a collection, for encoders that take long: whole pages, or what questions need and what BM25 finds.

``python -m rrra_training.studies.small_collections DATA/squad --pages - --draw test:6 --output SMALL/squad``
``python -m rrra_training.studies.small_collections DATA/npl --first 15 --draw test --output SMALL/npl``
"""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from rrra_haystack.files import atomic_directory
from rrra_training.data import BeirDataset, Passage
from rrra_training.data.qrels import Qrels
from rrra_training.data.rows import known_split
from rrra_training.data.writing import write_beir
from rrra_training.evaluation.stages import Bm25Stage
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import BeirFolder

app = typer.Typer(add_completion=False)


@app.command()
def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="A collection in the BEIR layout.")],
    output: BeirFolder,
    draw: Annotated[list[str], typer.Option(help="SPLIT or SPLIT:N; N counts pages, or questions without --pages.")],
    pages: Annotated[
        str | None, typer.Option(help="Draw whole pages: ids are alike up to their last such sign.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Passages that BM25 finds for a question, without --pages.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
) -> None:
    """Draw the part, and tell how large it is."""
    dataset = BeirDataset(data)
    wanted = [_split_and_number(one) for one in draw]
    for split, _ in wanted:
        known_split(str(data), split, dataset.splits())
    passages = list(dataset.passages())
    judged = {split: dataset.qrels(split) for split, _ in wanted}
    if pages is None:
        kept, small = _of_questions(dataset, passages, judged, dict(wanted), first, seed)
    else:
        kept, small = _of_pages(passages, judged, dict(wanted), pages, seed)
    _write(output, dataset, [passage for passage in passages if passage.id in kept], small)
    counts = ", ".join(f"{split} {len(own):,}" for split, own in small.items())
    typer.echo(f"{len(kept):,} of {len(passages):,} passages; questions: {counts}.")


def _split_and_number(text: str) -> tuple[str, int | None]:
    split, _, number = text.partition(":")
    if number and not (number.isdecimal() and int(number)):
        msg = f"--draw takes SPLIT or SPLIT:N with N above 0, as test:75, and not {text!r}."
        raise ValueError(msg)
    return split, int(number) if number else None


def _drawn(names: Iterable[str], number: int | None, seed: int) -> set[str]:
    every = sorted(names)
    random.Random(seed).shuffle(every)
    return set(every[:number])


def _of_pages(
    passages: list[Passage], judged: dict[str, Qrels], numbers: dict[str, int | None], sign: str, seed: int
) -> tuple[set[str], dict[str, Qrels]]:
    """Whole pages that the questions of a split ask for, none of which a split that was named before asks for too."""
    page_of = {passage.id: passage.id.rpartition(sign)[0] or passage.id for passage in passages}
    taken: set[str] = set()
    drawn: set[str] = set()
    small = {}
    for split, qrels in judged.items():
        asked = {page_of[passage] for own in qrels.values() for passage in own if passage in page_of}
        pages = _drawn(asked - taken, numbers[split], seed)
        taken |= asked
        drawn |= pages
        inside = {query: {one: own[one] for one in own if page_of.get(one) in pages} for query, own in qrels.items()}
        # A label on a page that stays for an earlier split would be a passage that counts as irrelevant.
        small[split] = {
            query: own
            for query, own in inside.items()
            if own and not any(page_of.get(passage) in drawn - pages for passage in qrels[query])
        }
    return {passage for passage, page in page_of.items() if page in drawn}, small


def _of_questions(
    dataset: BeirDataset,
    passages: list[Passage],
    judged: dict[str, Qrels],
    numbers: dict[str, int | None],
    first: int,
    seed: int,
) -> tuple[set[str], dict[str, Qrels]]:
    """What the drawn questions have labels for, and the first passages that BM25 finds for each."""
    lexical = Bm25Stage([passage.title_and_text for passage in passages], first)
    kept: set[str] = set()
    small = {}
    for split, qrels in judged.items():
        queries = _drawn(qrels, numbers[split], seed)
        small[split] = {query: own for query, own in qrels.items() if query in queries}
        kept.update(passage for own in small[split].values() for passage in own)
        for query in dataset.queries(split):
            if query.id in queries and first:
                kept.update(passages[row].id for row in lexical.retrieve(query.text)[1].tolist())
    return kept & {passage.id for passage in passages}, small


def _write(output: Path, dataset: BeirDataset, passages: list[Passage], judged: dict[str, Qrels]) -> None:
    queries = {query.id: query for split in judged for query in dataset.queries(split) if query.id in judged[split]}
    with atomic_directory(output) as work:
        write_beir(work, passages, queries.values(), judged)


if __name__ == "__main__":
    run_command(app)
