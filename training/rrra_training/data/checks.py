"""What a reader of figures should know of labels and corpus, counted before anything is encoded."""

from array import array
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256

import numpy as np

from rrra_training.data.interface import Passage, Query, RetrievalData
from rrra_training.data.qrels import Qrels
from rrra_training.data.rows import drawn, tell_once


def examine(data: RetrievalData, splits: Sequence["Labelled"], passages: Iterable[Passage] | None = None) -> "Corpus":
    """
    Tell what is odd in data, before hours are spent on them.

    :param data: The data.
    :param splits: Its labels that will be used.
    :param passages: Its corpus, if it was read already.
    :returns: Its corpus, as :func:`leaks` takes it.
    :raises ValueError: If no query of a split has a relevant passage in the corpus.
    """
    named = {passage for labelled in splits for passage in labelled.named}
    corpus = Corpus.read(data.passages() if passages is None else passages, named)
    tell([*corpus.remarks(data.name), *(remark for labelled in splits for remark in remarks_on(corpus, labelled))])
    return corpus


def tell(remarks: Iterable[str]) -> None:
    """Log each remark, once a process."""
    for remark in remarks:
        tell_once(remark)


@dataclass(frozen=True)
class Corpus:
    """
    A corpus that was read through once.

    :param passages: How many passages it has.
    :param repeated_ids: Passages whose identifier an earlier one has.
    :param duplicates: Passages whose title and text an earlier one has.
    :param first_duplicate: Place of the first of these in the corpus, from 1; 0 if there is none.
    :param empty: Passages without text.
    :param digests: Digests of all texts, with title and without, sorted, uint64.
    :param known: Digest of title and text of the passages that labels name, by identifier.
    :param whole: Digest of all passages letter by letter, in their order.
    """

    passages: int
    repeated_ids: int
    duplicates: int
    first_duplicate: int
    empty: int
    digests: np.ndarray
    known: Mapping[str, int]
    whole: str

    @classmethod
    def read(cls, passages: Iterable[Passage], named: Collection[str]) -> "Corpus":
        """
        Read a corpus through; 24 bytes a passage are kept.

        :param passages: The corpus.
        :param named: Identifiers that labels name.
        """
        ids, texts, bodies = array("Q"), array("Q"), array("Q")
        known: dict[str, int] = {}
        empty, whole = 0, sha256()
        for passage in passages:
            text = digest_of(passage.title_and_text)
            whole.update(f"{passage.id}\0{passage.title_and_text}\0".encode())
            ids.append(digest_of(passage.id))
            texts.append(text)
            bodies.append(digest_of(passage.text))
            empty += not passage.text.strip()
            if passage.id in named:
                known[passage.id] = text
        distinct, first = np.unique(np.frombuffer(texts, dtype=np.uint64), return_index=True)
        # The first passage that is no first one: where the places of the first ones leave a gap.
        gap = int(np.searchsorted(np.sort(first) - np.arange(len(first)), 1))
        return cls(
            passages=len(ids),
            repeated_ids=len(ids) - len(set(ids)),
            duplicates=len(texts) - len(distinct),
            first_duplicate=gap + 1 if len(distinct) < len(texts) else 0,
            empty=empty,
            digests=np.union1d(distinct, np.frombuffer(bodies, dtype=np.uint64)),
            known=known,
            whole=whole.hexdigest(),
        )

    def remarks(self, name: str) -> list[str]:
        """
        What is odd in it, one sentence each.

        :param name: What to call it.
        """
        which = f", first the passage number {self.first_duplicate:,}"
        told = [
            (self.repeated_ids, f"{self.repeated_ids:,} passages have an identifier that another one has"),
            (self.duplicates, f"{self.duplicates:,} of {self.passages:,} passages have the text of another one{which}"),
            (self.empty, f"{self.empty:,} passages have no text"),
        ]
        return [f"{name}: {sentence}." for count, sentence in told if count]

    def is_passage(self, queries: Sequence[Query]) -> np.ndarray:
        """Whether each query is, word for word, the text of a passage, shape ``[n]``, bool."""
        return np.isin(np.asarray([digest_of(query.text) for query in queries], dtype=np.uint64), self.digests)


@dataclass(frozen=True)
class Labelled:
    """
    The queries of a split with their judgments.

    :param name: What to call them, as ``squad train``.
    :param queries: The queries.
    :param qrels: Query id -> passage id -> grade, of queries that the data lack too.
    """

    name: str
    queries: Sequence[Query]
    qrels: Qrels

    @classmethod
    def read(cls, data: RetrievalData, split: str, *, limit: int | None = None, seed: int = 0) -> "Labelled":
        """Read a split, or as many of its queries as are drawn with a seed, without the labels of the others."""
        asked, qrels = data.queries(split), data.qrels(split)
        chosen = drawn(asked, limit, seed)
        left = {query.id for query in asked} - {query.id for query in chosen}
        return cls(f"{data.name} {split}", chosen, {query: own for query, own in qrels.items() if query not in left})

    @property
    def named(self) -> set[str]:
        """All passages that labels name."""
        return {passage for judged in self.qrels.values() for passage in judged}

    def relevant(self, query: Query) -> list[str]:
        """What is labelled relevant for a query."""
        return [passage for passage, grade in self.qrels.get(query.id, {}).items() if grade > 0]


def digest_of(text: str) -> int:
    """A number of 64 bits for a text, equal where texts differ in case and white space alone."""
    return int.from_bytes(blake2b(" ".join(text.casefold().split()).encode(), digest_size=8).digest(), "little")


def identical_passages(
    queries: Iterable[Query], passages: Iterable[Passage], qrels: Mapping[str, Mapping[str, int]]
) -> dict[str, list[int]]:
    """
    Places of the passages that are a query word for word, by query id.

    :param queries: The queries.
    :param passages: The corpus.
    :param qrels: Query id -> passage id -> grade: what is labelled relevant is asked for, whatever it says.
    """
    asked: dict[int, list[str]] = {}
    for query in queries:
        asked.setdefault(digest_of(query.text), []).append(query.id)
    found: dict[str, list[int]] = {}
    for place, passage in enumerate(passages):
        for digest in {digest_of(passage.text), digest_of(passage.title_and_text)}:
            for identifier in asked.get(digest, ()):
                if qrels.get(identifier, {}).get(passage.id, 0) > 0:
                    continue
                found.setdefault(identifier, []).append(place)
    return found


def remarks_on(corpus: Corpus, labelled: Labelled) -> list[str]:
    """
    What is odd in labels, one sentence each.

    :param corpus: The corpus, read with :attr:`Labelled.named`.
    :param labelled: The labels.
    :raises ValueError: If there are no queries, or none has a relevant passage in the corpus.
    """
    queries, name = labelled.queries, labelled.name
    if not queries:
        msg = f"{name} has no queries. Check that its files are not empty, and that its labels name its queries' ids."
        raise ValueError(msg)
    relevant = [labelled.relevant(query) for query in queries]
    found = [any(passage in corpus.known for passage in own) for own in relevant]
    if not any(found):
        msg = (
            f"No query of {name} has a relevant passage in the corpus. Check that the qrels name passages by the "
            "corpus's ids, with grades above 0."
        )
        raise ValueError(msg)
    lost = labelled.named - corpus.known.keys()
    asked = {query.id for query in queries}
    repeated = len(queries) - len(asked)
    unasked = sum(1 for query in labelled.qrels if query not in asked)
    none = sum(1 for own in relevant if not own)
    unreachable = sum(1 for own, is_there in zip(relevant, found, strict=True) if own and not is_there)
    itself = int(corpus.is_passage(queries).sum())
    empty = sum(1 for query in queries if not query.text.strip())
    nowhere = f"{unreachable:,} of its {len(queries):,} queries have none of their relevant passages there"
    zero = ", and count as 0 in an evaluation"
    texts = {query.id: digest_of(query.text) for query in queries if query.text.strip()}
    again = len(texts) - len(set(texts.values()))
    told = [
        (len(lost), f"{len(lost):,} passages that its labels name are not in the corpus, as {_first(lost)}"),
        (unreachable, nowhere + zero),
        (none, f"{none:,} queries have no passage with a grade above 0{zero}"),
        (empty, f"{empty:,} queries have no text"),
        (repeated, f"{repeated:,} queries have an identifier that another one has, and are judged by its labels"),
        (again, f"{again:,} queries have the text of another one, under an identifier of their own"),
        (unasked, f"{unasked:,} queries are judged but not among the queries"),
        (itself, f"{itself:,} queries are themselves passages of the corpus, word for word"),
    ]
    return [f"{name}: {sentence}." for count, sentence in told if count]


def leaks(train: Labelled, dev: Labelled, train_corpus: Corpus, dev_corpus: Corpus) -> list[str]:
    """
    What dev queries share with queries that a model learns from, one sentence each.

    :param train: Queries that are learned from.
    :param dev: Queries that choices are made by.
    :param train_corpus: The corpus of the first.
    :param dev_corpus: The corpus of the others.
    """
    learned = {digest_of(query.text) for query in train.queries}
    same = sum(1 for query in dev.queries if digest_of(query.text) in learned)
    positives = {
        train_corpus.known[passage]
        for query in train.queries
        for passage in train.relevant(query)
        if passage in train_corpus.known
    }
    shared = sum(
        1 for query in dev.queries if any(dev_corpus.known.get(passage) in positives for passage in dev.relevant(query))
    )
    told = [
        (same, f"{same:,} of {len(dev.queries):,} queries are asked in {train.name} too"),
        (shared, f"{shared:,} of {len(dev.queries):,} queries have a relevant passage that is one in {train.name} too"),
    ]
    return [
        f"{dev.name}: {sentence}, so figures on them say less of other queries." for count, sentence in told if count
    ]


def _first(names: Collection[str]) -> str:
    return repr(min(names)) if names else ""
