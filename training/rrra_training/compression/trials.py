"""What a loss is measured on: held-out questions with labels, or sentences taken out of their passages."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrra_training.corpora.parts import LEAST_SENTENCES, OwnSentences, sentences_of
from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.rows import known_split
from rrra_training.data.writing import write_beir

SPLIT = "test"
_QUERIES = 300
_PASSAGES = 1500


@dataclass(frozen=True)
class Trial:
    """
    Questions over a small corpus, and texts that have no part in it.

    :param queries: The questions.
    :param passages: The corpus.
    :param judged: Query id -> passage id -> grade.
    :param others: Texts of passages that no question is about.
    """

    queries: list[Query]
    passages: list[Passage]
    judged: dict[str, dict[str, int]]
    others: list[str]

    def write(self, folder: Path) -> Path:
        """Write it in the BEIR layout."""
        write_beir(folder, self.passages, self.queries, {SPLIT: self.judged})
        return folder


def labelled_trial(data: BeirDataset, split: str, generator: np.random.Generator) -> Trial:
    """
    Questions of a split that the corpus answers, over the passages that are judged for them and others.

    :param data: The data.
    :param split: Which questions.
    :param generator: Draws them.
    :raises ValueError: If there is no such split.
    """
    known_split(str(data.folder), split, data.splits())
    passages = {passage.id: passage for passage in data.passages()}
    qrels = data.qrels(split)
    held = {query: {one: grade for one, grade in own.items() if one in passages} for query, own in qrels.items()}
    queries = [query for query in data.queries(split) if any(grade > 0 for grade in held[query.id].values())]
    queries = [queries[number] for number in _drawn(generator, len(queries), _QUERIES)]
    judged = {query.id: held[query.id] for query in queries}
    asked = {passage for own in judged.values() for passage, grade in own.items() if grade > 0}
    further = [name for name in passages if name not in asked]
    further = [further[number] for number in _drawn(generator, len(further), max(_PASSAGES - len(asked), 0))]
    corpus = [passages[name] for name in sorted(asked) + further]
    drawn = {passage.id for passage in corpus}
    judged = {query: {one: grade for one, grade in own.items() if one in drawn} for query, own in judged.items()}
    return Trial(queries, corpus, judged, [one.title_and_text for name, one in passages.items() if name not in asked])


def pseudo_trial(texts: Sequence[str], generator: np.random.Generator) -> Trial:
    """
    Sentences that were taken out of their passages, each asking for the passage that it was taken from.

    :param texts: The passages.
    :param generator: Draws passages and sentences.
    :raises ValueError: If no passage has a sentence to spare.
    """
    order, own = _drawn(generator, len(texts), len(texts)), OwnSentences(texts)
    queries: list[Query] = []
    passages: list[Passage] = []
    others: list[str] = []
    for number in order:
        name = str(number)
        is_wanted = len(queries) < min(_QUERIES, len(texts) // 2)
        taken = _without_a_sentence(texts[number], generator, own) if is_wanted else None
        if taken is not None:
            sentence, rest = taken
            queries.append(Query(name, sentence))
            passages.append(Passage(name, "", rest))
        else:
            others.append(texts[number])
            if len(passages) < _PASSAGES:
                passages.append(Passage(name, "", texts[number]))
    if not queries:
        msg = (
            "No passage has two sentences, one of which could ask for the other and stands nowhere else. Give a folder "
            "with questions."
        )
        raise ValueError(msg)
    return Trial(queries, passages, {query.id: {query.id: 1} for query in queries}, others)


def _without_a_sentence(text: str, generator: np.random.Generator, own: OwnSentences) -> tuple[str, str] | None:
    """A sentence of a text, and the text without it; `None` if it has no two or none that can ask for it."""
    spans = sentences_of(text)
    able = [span for span in spans if own.ask(text[slice(*span)])]
    if len(spans) < LEAST_SENTENCES or not able:
        return None
    begin, end = able[int(generator.integers(len(able)))]
    return text[begin:end].strip(), f"{text[:begin]}{text[end:]}".strip()


def _drawn(generator: np.random.Generator, count: int, most: int) -> list[int]:
    return generator.permutation(count)[:most].tolist()
