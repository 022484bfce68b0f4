"""Examine the labels of a set: unlabelled passages that are probably relevant, and labelled ones that are not."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.audit.decisions import labels_digest
from rrra_training.audit.finding import Found, missing_labels, wrong_labels
from rrra_training.audit.own_labels import right_labels
from rrra_training.audit.suspects import DOUBTFUL, Audit, Suspect, meaning
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet, relevance_of
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.candidates.splits import SplitConfig
from rrra_training.data import BeirData, BeirDataset
from rrra_training.data.checks import Labelled, examine
from rrra_training.judging.examined import Examined, false_negatives
from rrra_training.judging.projecting import projected
from rrra_training.judging.surest import beside_surest, with_positives
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
    ignore_identical: bool = False,
    show_progress: bool = False,
) -> Audit:
    """
    Examine the labels of a split.

    An unlabelled passage among a query's top 100 has the false-negative probability beside the query's surest labelled
    positive. A labelled positive has the probability that its label is right (:func:`right_labels`), by its probability
    of relevance in the list of candidates, which it joins if it is not among the top 100. Passages that are judged
    irrelevant are left alone: somebody looked at them.

    :param data: A folder in the BEIR layout.
    :param model: What :meth:`RRRAModel.load` takes.
    :param cache: Where the encoded corpus is kept.
    :param split: Which labels.
    :param top: So many suspects of each kind at most, and at most three of one query.
    :param limit: Draw this many queries.
    :param seed: Seed of the draw, and of the folds in which the labels are fitted.
    :param ignore_identical: Leave a passage that is the query itself, word for word, out of the query's candidates.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the split is unknown, or no query of it has a relevant passage in the corpus.
    """
    dataset = BeirDataset(data)
    qrels = dataset.qrels(split)
    examine(dataset, [Labelled.read(dataset, split, limit=limit, seed=seed)])
    loaded = RRRAModel.load(model)
    config = SplitConfig(
        data=BeirData(format="beir", path=dataset.folder), split=split, limit=limit, ignore_identical=ignore_identical
    )
    prepared = prepare(
        config, loaded.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig(qrels=0), seed=seed,
        show_progress=show_progress,
    )  # fmt: skip
    judged = judge_labels(loaded, prepared, cache, seed=seed, show_progress=show_progress)
    right = judged.relevance if judged.right is None else judged.right
    found = [
        *missing_labels(judged.beside, judged.missing, prepared, qrels, top),
        *wrong_labels(judged.lists, right, top),
    ]
    own = right[relevance_of(judged.lists)]
    return Audit(
        dataset=dataset.name,
        split=split,
        digest=labels_digest(qrels),
        model=model,
        queries=len(prepared),
        labels=len(own),
        doubtful=int((own < DOUBTFUL).sum()),
        meaning=meaning(len(own), is_fitted=judged.right is not None),
        suspects=_described(found, dataset, prepared),
    )


@dataclass(frozen=True)
class JudgedLabels:
    """
    What a model says of the labels of Q queries and of what they lack; probabilities are of shape ``[Q, k]``.

    :param lists: Lists of k candidates in which all labelled positives follow the mined ones.
    :param relevance: The model's probabilities of relevance in these lists.
    :param right: How probably each label is right, as the split's own labels say; `None` if they say too little.
    :param beside: The mined candidates, each list beside the surest labelled positive.
    :param missing: Their false-negative probabilities.
    """

    lists: CandidateSet
    relevance: np.ndarray
    right: np.ndarray | None
    beside: Examined
    missing: np.ndarray


def judge_labels(
    model: RRRAModel, data: CandidateSet, cache: Path, *, seed: int, show_progress: bool = False
) -> JudgedLabels:
    """
    Judge the labels of a set.

    :param model: The model.
    :param data: The set, encoded by the model's encoder.
    :param cache: Where projected passages are kept meanwhile.
    :param seed: Seed of the folds in which the labels are fitted.
    :param show_progress: Show progress and the time left.
    """
    lists = with_positives(data)
    with projected(lists.passages, model.projection, cache) as passages:
        verdicts = judge(
            model.adapter, model.projection, lists, passages, "int8",
            lexical=model.lexical_scores, show_progress=show_progress,
        )  # fmt: skip
        relevance = relevance_probabilities(model, verdicts, np.isfinite(verdicts.base))
        beside = beside_surest(data, lists, relevance, np.arange(len(lists)))
        missing = false_negatives(model.config.detection, beside, passages, SharedLabels(data), verdicts.adapter)
    return JudgedLabels(lists, relevance, right_labels(relevance, relevance_of(lists), seed), beside, missing)


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
