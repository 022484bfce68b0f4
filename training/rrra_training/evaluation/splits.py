"""Looks at a split before anything is measured on it."""

from collections.abc import Mapping
from pathlib import Path

from rrra_training.data import BeirDataset, Passage
from rrra_training.data.checks import Labelled, examine
from rrra_training.data.rows import known_split
from rrra_training.measures.ranking import has_judged_irrelevant


def check_split(data: str | Path, split: str, *, only_judged: bool = False) -> tuple[BeirDataset, list[Passage]]:
    """
    See that a split can be measured, and tell what is odd in its labels and its corpus.

    :param data: A folder in the BEIR layout.
    :param split: Which queries.
    :param only_judged: Whether condensed lists are to be measured.
    :returns: The data, and the corpus, which is read for this once.
    :raises ValueError: If there is no such folder or split, it has no queries, none of them has a relevant passage in
        the corpus, or condensed lists are asked for where nothing is judged irrelevant.
    """
    dataset = BeirDataset(data)
    known_split(str(dataset.folder), split, dataset.splits())
    labelled = Labelled.read(dataset, split)
    if not labelled.queries:
        msg = f"The split '{split}' of {dataset.folder} has no queries."
        raise ValueError(msg)
    if only_judged:
        check_condensable(dataset, split, {query.id: labelled.qrels[query.id] for query in labelled.queries})
    passages = list(dataset.passages())
    examine(dataset, [labelled], passages)
    return dataset, passages


def check_condensable(dataset: BeirDataset, split: str, judged: Mapping[str, Mapping[str, int]]) -> None:
    """Refuse condensed lists where nothing is judged irrelevant."""
    if not has_judged_irrelevant(judged):
        msg = (
            f"The {len(judged)} queries of the split '{split}' of {dataset.folder} have nothing judged irrelevant (no "
            "grade of 0 or less), so condensed lists would hold relevant passages only. Leave --condensed away, or "
            "leave out this set."
        )
        raise ValueError(msg)
