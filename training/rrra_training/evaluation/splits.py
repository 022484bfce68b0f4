"""Looks at a split before anything is measured on it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rrra_training.data import BeirDataset, Passage, Query
from rrra_training.data.checks import Labelled, examine, tell
from rrra_training.data.rows import known_split, once
from rrra_training.evaluation.matching import Matching, fields_of
from rrra_training.measures.ranking import has_judged_irrelevant


@dataclass(frozen=True)
class Split:
    """
    A split that can be measured.

    :param dataset: The data.
    :param passages: The corpus, the first of each identifier.
    :param queries: The queries, the first of each identifier.
    :param labels: The judgments as the data have them: query id -> label -> grade. A label is a passage's id, or what
        `matching` says.
    :param matching: Which passages the labels name; `None` if they are passages' ids.
    """

    dataset: BeirDataset
    passages: list[Passage]
    queries: list[Query]
    labels: dict[str, dict[str, int]]
    matching: Matching | None


def check_split(data: str | Path, split: str, *, only_judged: bool = False, match: str | None = None) -> Split:
    """
    See that a split can be measured, and tell what is odd in its labels and its corpus.

    :param data: A folder in the BEIR layout.
    :param split: Which queries.
    :param only_judged: Whether condensed lists are to be measured.
    :param match: The metadata fields that labels name, as ``meta.source,meta.page_number``; passages' ids if `None`.
    :raises ValueError: If there is no such folder or split, it has no queries, none of them has a relevant passage in
        the corpus, a passage lacks a field of `match`, or condensed lists are asked for where nothing is judged
        irrelevant, or with `match`.
    """
    fields = fields_of(match)
    if fields and only_judged:
        msg = "Condensed lists are lists of judged passages, and with --match no passage is judged: leave one away."
        raise ValueError(msg)
    dataset = BeirDataset(data, fields=fields)
    known_split(str(dataset.folder), split, dataset.splits())
    labelled = Labelled.read(dataset, split)
    if not labelled.queries:
        msg = f"The split '{split}' of {dataset.folder} has no queries."
        raise ValueError(msg)
    if only_judged:
        check_condensable(dataset, split, {query.id: labelled.qrels[query.id] for query in labelled.queries})
    read = list(dataset.passages())
    # What is measured is known by its identifier.
    passages = list(once(read, lambda passage: passage.id))
    queries = list(once(labelled.queries, lambda query: query.id))
    matching = Matching(fields, passages, labelled.qrels) if fields else None
    named = labelled if matching is None else replace(labelled, qrels=matching.by_passage())
    examine(dataset, [named], read)
    if len(passages) < len(read) or len(queries) < len(labelled.queries):
        tell([f"Of {labelled.name}, the first alone of the queries or passages with the same identifier is measured."])
    return Split(dataset, passages, queries, labelled.qrels, matching)


def check_condensable(dataset: BeirDataset, split: str, judged: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse condensed lists where nothing is judged irrelevant."""
    if not has_judged_irrelevant(judged):
        msg = (
            f"The {len(judged)} queries of the split '{split}' of {dataset.folder} have nothing judged irrelevant (no "
            "grade of 0 or less), so condensed lists would hold relevant passages only. Leave --condensed away, or "
            "leave out this set."
        )
        raise ValueError(msg)
