"""Examine the labels of a set: unlabelled passages that are probably relevant, and labelled ones that are not."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.audit.decisions import labels_digest
from rrra_training.audit.finding import Found, beside_surest, missing_labels, wrong_labels
from rrra_training.audit.suspects import Audit, Suspect
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import Mined, MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset
from rrra_training.data.checks import Labelled, examine
from rrra_training.judging.examined import false_negatives
from rrra_training.judging.projecting import projected
from rrra_training.judging.verdicts import judge, relevance_probabilities


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
    examine(dataset, [Labelled.read(dataset, split, limit=limit, seed=seed)])
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
        beside = beside_surest(prepared, lists, relevance)
        shared = SharedLabels(prepared)
        probability = false_negatives(loaded.config.detection, beside, passages, shared, verdicts.adapter)
    found = [*missing_labels(beside, probability, prepared, qrels, top), *wrong_labels(lists, relevance, top)]
    suspects = _described(found, dataset, prepared)
    return Audit(dataset.name, split, labels_digest(qrels), model, len(prepared), suspects)


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


def _described(found: Sequence[Found], dataset: BeirDataset, data: CandidateSet) -> list[Suspect]:
    ids, queries = data.passages.ids, data.queries.ids
    wanted = {ids[row] for one in found for row in (one.row, one.beside) if row >= 0}
    passages = {passage.id: passage for passage in dataset.passages() if passage.id in wanted}

    def described(one: Found) -> Suspect:
        own = passages[ids[one.row]]
        beside = passages[ids[one.beside]] if one.beside >= 0 else None
        return Suspect(
            kind=one.kind,
            query=queries[one.query],
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

    return [described(one) for one in found]
