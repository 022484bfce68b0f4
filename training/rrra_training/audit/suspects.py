"""Examine the labels of a set: unlabelled passages that are probably relevant, and labelled ones that are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.audit.decisions import Kind, labels_digest
from rrra_training.candidates.evidence import EvidenceConfig, Source
from rrra_training.candidates.mining import Mined, MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset
from rrra_training.judging.detection import false_negatives
from rrra_training.judging.projecting import ProjectedStates, projected
from rrra_training.judging.verdicts import judge, relevance_probabilities

# One query with a hundred unlabelled duplicates would otherwise fill the page.
_PER_QUERY = 3
_REMARKS = {
    Source.DUPLICATE: "the same words as a labelled passage",
    Source.NEAR_DUPLICATE: "nearly the same words as a labelled passage",
    Source.ANSWER: "contains an answer",
}


@dataclass(frozen=True)
class Suspect:
    """
    A label that is probably missing or wrong.

    :param kind: ``missing``: not labelled, probably relevant; ``wrong``: labelled relevant, probably not.
    :param query: The query's id.
    :param question: Its text.
    :param passage: The passage's id.
    :param title: Its title.
    :param text: Its body.
    :param probability: The model's probability that it is relevant.
    :param remark: What else is known of the pair; empty if nothing.
    :param labelled: Id of a labelled positive to compare with; `None` if the suspect is the only one.
    :param labelled_title: Its title.
    :param labelled_text: Its body.
    """

    kind: Kind
    query: str
    question: str
    passage: str
    title: str
    text: str
    probability: float
    remark: str
    labelled: str | None
    labelled_title: str
    labelled_text: str


@dataclass(frozen=True)
class Audit:
    """
    What an audit found.

    :param dataset: Name of the data.
    :param split: The split whose labels were examined.
    :param digest: Digest of its labels, by which decisions know what they were made for.
    :param model: The model.
    :param queries: How many queries were looked at.
    :param suspects: Missing labels, the most probable first; then wrong ones, the least probable first.
    """

    dataset: str
    split: str
    digest: str
    model: str
    queries: int
    suspects: list[Suspect]


def audit(
    data: str | Path,
    *,
    model: str,
    cache: Path,
    split: str = "train",
    top: int = 50,
    limit: int | None = None,
    seed: int = 0,
    show_progress: bool = False,
) -> Audit:
    """
    Examine the labels of a split.

    An unlabelled passage among a query's top 100 has the false-negative probability beside the query's surest labelled
    positive. A labelled positive has its probability of relevance in the list of candidates; it joins the list if it
    is not among the top 100. Passages that are judged irrelevant are left alone: somebody looked at them.

    :param data: A folder in the BEIR layout.
    :param model: What :meth:`RRRAModel.load` takes.
    :param cache: Where the encoded corpus is kept.
    :param split: Which labels.
    :param top: So many suspects of each kind at most, and at most three of one query.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the split is unknown, or no query of it has a relevant passage in the corpus.
    """
    dataset = BeirDataset(data)
    qrels = dataset.qrels(split)
    loaded = RRRAModel.load(model)
    config = SplitConfig(data=BeirData(format="beir", path=dataset.folder), split=split, limit=limit)
    prepared = prepare(
        config, loaded.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig(qrels=0), seed=seed,
        show_progress=show_progress,
    )  # fmt: skip
    lists = _with_positives(prepared)
    with projected(lists.passages, loaded.projection, cache) as passages:
        verdicts = judge(loaded.adapter, loaded.projection, lists, passages, "int8", show_progress=show_progress)
        relevance = relevance_probabilities(loaded, verdicts, np.isfinite(verdicts.base))
        found = _wrong(lists, relevance, top)
        found += _missing(loaded, prepared, lists, passages, qrels, verdicts.adapter, relevance, top)
    suspects = _described(found, dataset, prepared)
    return Audit(dataset.name, split, labels_digest(qrels), model, len(prepared), suspects)


@dataclass(frozen=True)
class _Found:
    """Number of the query, rows of the passage and of the positive beside it (-1 for none), and what is said of it."""

    kind: Kind
    query: int
    row: int
    beside: int
    probability: float
    remark: str = ""


def _with_positives(data: CandidateSet) -> CandidateSet:
    """The same candidates, followed by the labelled positives that are not among them."""
    mined = np.asarray(data.mined.rows)
    rows = []
    for query in range(len(data)):
        own = mined[query][mined[query] >= 0]
        rows.append(np.concatenate([own, np.setdiff1d(data.positives.of(query), own)]))
    padded = np.full((len(rows), max(map(len, rows))), -1, dtype=np.int64)
    for place, own in enumerate(rows):
        padded[place, : len(own)] = own
    return replace(data, mined=Mined(padded, np.zeros(padded.shape, dtype=np.float32)))


def _wrong(lists: CandidateSet, relevance: np.ndarray, top: int) -> list[_Found]:
    found = []
    for query in range(len(lists)):
        rows, positives = np.asarray(lists.mined.rows[query]), lists.positives.of(query)
        places = np.flatnonzero(np.isin(rows, positives))
        places = places[np.argsort(relevance[query, places], kind="stable")]
        surest = int(rows[places[-1]])
        for place in places[:_PER_QUERY]:
            row = int(rows[place])
            beside = surest if row != surest else -1
            found.append(_Found("wrong", query, row, beside, float(relevance[query, place])))
    return sorted(found, key=lambda one: one.probability)[:top]


def _missing(
    model: RRRAModel,
    data: CandidateSet,
    lists: CandidateSet,
    passages: ProjectedStates,
    qrels: Mapping[str, Mapping[str, int]],
    adapter: np.ndarray,
    relevance: np.ndarray,
    top: int,
) -> list[_Found]:
    rows = np.asarray(lists.mined.rows)
    labelled = np.stack([np.isin(rows[query], lists.positives.of(query)) for query in range(len(lists))])
    surest = np.where(labelled, relevance, -np.inf).argmax(axis=1)
    kept = rows[np.arange(len(rows)), surest]
    mined = np.zeros(rows.shape, dtype=bool)
    mined[:, : data.mined.rows.shape[1]] = np.asarray(data.mined.rows)[:, : rows.shape[1]] >= 0
    candidate = mined & (rows != kept[:, None])
    shared = SharedLabels(data)
    probability = false_negatives(
        model.config.detection, lists, passages, shared, np.arange(len(lists)), kept, candidate, adapter
    )
    ids, queries = data.passages.ids, data.queries.ids
    found = []
    for query, judged in enumerate(qrels[identifier] for identifier in queries):
        places = np.flatnonzero(candidate[query] & ~labelled[query])
        places = places[np.argsort(-probability[query, places], kind="stable")]
        unjudged = [int(place) for place in places if ids[rows[query, place]] not in judged]
        for place in unjudged[:_PER_QUERY]:
            # Evidence stands at the place among the mined candidates, which come first.
            remark = _REMARKS.get(Source(int(data.labels.source[query, place])), "")
            own = float(probability[query, place])
            found.append(_Found("missing", query, int(rows[query, place]), int(kept[query]), own, remark))
    return sorted(found, key=lambda one: -one.probability)[:top]


def _described(found: Sequence[_Found], dataset: BeirDataset, data: CandidateSet) -> list[Suspect]:
    ids = data.passages.ids
    wanted = {ids[row] for one in found for row in (one.row, one.beside) if row >= 0}
    passages = {passage.id: passage for passage in dataset.passages() if passage.id in wanted}

    def described(one: _Found) -> Suspect:
        own = passages[ids[one.row]]
        beside = passages[ids[one.beside]] if one.beside >= 0 else None
        return Suspect(
            kind=one.kind,
            query=data.queries.ids[one.query],
            question=data.queries.text(one.query),
            passage=own.id,
            title=own.title,
            text=own.text,
            probability=one.probability,
            remark=one.remark,
            labelled=beside.id if beside else None,
            labelled_title=beside.title if beside else "",
            labelled_text=beside.text if beside else "",
        )

    missing = [described(one) for one in found if one.kind == "missing"]
    return missing + [described(one) for one in found if one.kind == "wrong"]
