"""Labels of a set hidden, but one of each query, and found again among what is mined."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rrra_training.candidates.sets import CandidateSet
from rrra_training.data import BeirDataset
from rrra_training.data.qrels import relevant_in
from rrra_training.data.writing import write_beir


def hide_all(
    chosen: Mapping[str, tuple[Path, str]], scratch: Path, limit: int | None, seed: int
) -> dict[str, tuple[Path, str, dict[str, set[str]]]]:
    """
    As :func:`hide`, for several sets, before any is mined.

    :param chosen: Folder and split, by the name of the set.
    :param scratch: Where the others go.
    :param limit: As there.
    :param seed: As there.
    :returns: The new folder, the split, and what is hidden, by the name of the set.
    """
    found = {}
    for name, (source, split) in chosen.items():
        # The corpus keeps its name, by which it may be encoded already.
        target = scratch / name / source.resolve().name
        found[name] = target, split, hide(source, split, target, limit, seed)
    return found


def hide(source: Path, split: str, target: Path, limit: int | None, seed: int) -> dict[str, set[str]]:
    """
    Write a set anew with one positive of each query that has several.

    :param source: The set, a folder in the BEIR layout.
    :param split: The split.
    :param target: Where the other goes.
    :param limit: Take so many of these queries; all if `None`.
    :param seed: Seed of what is taken and what is kept.
    :returns: Ids of the hidden passages, by the id of their query.
    :raises ValueError: If no query has several.
    """
    dataset = BeirDataset(source)
    generator = np.random.default_rng(seed)
    qrels, queries = dataset.qrels(split), dataset.queries(split)
    relevant = relevant_in({passage.id for passage in dataset.passages()}, qrels)
    asked = {query.id for query in queries}
    several = [query for query, own in relevant.items() if len(own) > 1 and query in asked]
    if not several:
        msg = (
            f"No query of the split '{split}' of {source} has two relevant passages in the corpus, one of which could "
            "be hidden: name another split."
        )
        raise ValueError(msg)
    if limit is not None and limit < len(several):
        several = [several[place] for place in sorted(generator.choice(len(several), size=limit, replace=False))]
    hidden = {}
    for query in several:
        own = relevant[query]
        kept = own[int(generator.integers(len(own)))]
        hidden[query] = set(own) - {kept}
        qrels[query] = {kept: 1}
    write_beir(target, dataset.passages(), queries, {split: qrels})
    return hidden


def hidden_rows(data: CandidateSet, hidden: Mapping[str, set[str]]) -> tuple[dict[int, set[int]], float]:
    """
    Find what was hidden.

    :param data: The set.
    :param hidden: Ids of hidden passages, by the id of their query.
    :returns: The same by rows, and how many a query are among its candidates.
    """
    asked = [row for row, name in enumerate(data.queries.ids) if name in hidden]
    rows_of: dict[str, set[int]] = {}
    for row in range(len(data.passages)):
        rows_of.setdefault(data.passages.text(row), set()).add(row)
    truth: dict[int, set[int]] = {}
    for row in asked:
        places = [data.passages.row_of[one] for one in hidden[data.queries.ids[row]]]
        # A passage with the same text is as relevant.
        alike = (rows_of[data.passages.text(place)] for place in places)
        truth[row] = set().union(*alike) - set(data.positives.of(row).tolist())
    found = [np.isin(np.asarray(data.mined.rows[row]), list(own)).sum() for row, own in truth.items()]
    return truth, float(np.mean(found))
