"""
SQuAD's articles cut into windows that overlap, as a corpus of a RAG application is: of the windows that hold an answer
one is labelled, and its neighbours are false negatives.

``python -m rrra_training.studies.windows DATA/squad --output DATA/squad-windows``
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import typer

from rrra_haystack.files import atomic_directory
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.qrels import Qrels, relevant_in
from rrra_training.data.writing import write_beir
from rrra_training.runs.commands import run_command
from rrra_training.runs.places import BeirFolder

_WORD = re.compile(r"\S+")
TRUTH = "-truth"


@dataclass(frozen=True)
class Article:
    """
    An article in one piece.

    :param title: Its title.
    :param text: Its paragraphs, one after the other.
    :param begins: Where each paragraph begins in it, by the paragraph's identifier.
    :param windows: Begin and end of each window.
    """

    title: str
    text: str
    begins: dict[str, int]
    windows: Sequence[tuple[int, int]]

    @classmethod
    def of(cls, paragraphs: Sequence[Passage], words: int, stride: int) -> "Article":
        """
        Put paragraphs together, and cut them into windows.

        :param paragraphs: The paragraphs.
        :param words: Words of a window.
        :param stride: Words from the begin of one window to that of the next.
        """
        begins, text = {}, ""
        for paragraph in paragraphs:
            begins[paragraph.id] = len(text)
            text += f"{paragraph.text}\n"
        places = [match.span() for match in _WORD.finditer(text)]
        firsts = range(0, max(len(places) - words, 0) + stride, stride)
        cut = [(places[first][0], places[first : first + words][-1][1]) for first in firsts if first < len(places)]
        return cls(paragraphs[0].title, text, begins, cut)

    def holding(self, paragraph: str, query: Query) -> list[int]:
        """
        The windows that hold the answer of a query, the one in whose middle it stands first.

        :param paragraph: Identifier of the paragraph that is labelled.
        :param query: The query; the place of its first answer in the paragraph counts.
        """
        own = self.text.find(query.answers[0], self.begins[paragraph]) if query.answers else -1
        if own < 0:
            return []
        end = own + len(query.answers[0])
        found = [number for number, window in enumerate(self.windows) if window[0] <= own and end <= window[1]]
        return sorted(found, key=lambda number: abs(sum(self.windows[number]) - own - end))


def main(
    data: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="SQuAD in the BEIR layout.")],
    output: BeirFolder,
    words: Annotated[int, typer.Option(min=2, help="Words of a window.")] = 100,
    overlap: Annotated[float, typer.Option(min=0, max=0.9, help="Share of a window that the next one has too.")] = 0.5,
    articles: Annotated[int | None, typer.Option(min=1, help="Draw this many articles of each split.")] = None,
    only: Annotated[Literal["train", "dev"] | None, typer.Option(help="Write the articles of one split.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draw.")] = 0,
) -> None:
    """Cut the articles of train and dev into windows; the splits ``train-truth`` and ``dev-truth`` know all labels."""
    source = BeirDataset(data)
    generator = np.random.default_rng(seed)
    by_title = [list(own) for _, own in groupby(source.passages(), key=lambda passage: passage.title)]
    number_of = {passage.id: number for number, own in enumerate(by_title) for passage in own}
    corpus: list[Passage] = []
    queries: list[Query] = []
    labels: dict[str, Qrels] = {}
    for split in ("train", "dev"):
        relevant = relevant_in(number_of, source.qrels(split))
        paragraph_of = {query: own[0] for query, own in relevant.items() if own}
        there = np.unique([number_of[paragraph] for paragraph in paragraph_of.values()])
        if articles is not None and articles < len(there):
            there = np.sort(generator.choice(there, size=articles, replace=False))
        if only not in {None, split}:
            continue
        cut = {int(number): Article.of(by_title[number], words, round(words * (1 - overlap))) for number in there}
        corpus += [row for number, article in cut.items() for row in _passages(number, article)]
        for query in source.queries(split):
            if query.id not in paragraph_of:
                continue
            number = number_of[paragraph_of[query.id]]
            found = cut[number].holding(paragraph_of[query.id], query) if number in cut else []
            if not found:
                continue
            queries.append(query)
            names = [f"{number}-{window}" for window in found]
            labels.setdefault(split, {})[query.id] = {names[0]: 1}
            labels.setdefault(f"{split}{TRUTH}", {})[query.id] = dict.fromkeys(names, 1)
    with atomic_directory(output) as work:
        write_beir(work, corpus, queries, labels)
    counts = ", ".join(f"{split} {sum(map(len, own.values())):,}" for split, own in labels.items())
    typer.echo(f"{len(corpus):,} windows, {len(queries):,} queries; labels: {counts}.")


def _passages(number: int, article: Article) -> Iterator[Passage]:
    for window, (begin, end) in enumerate(article.windows):
        yield Passage(f"{number}-{window}", article.title, article.text[begin:end])


if __name__ == "__main__":
    run_command(main)
