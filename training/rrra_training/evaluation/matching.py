"""Labels that name a file, a page or a place in a text, so that passages cut in different ways compare."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ir_measures import R

from rrra_training.data import Passage
from rrra_training.data.checks import tell
from rrra_training.measures.ranking import MEASURES, Qrels, Run, per_query

# Where a passage begins in its document, as Haystack's splitters and ours say it.
OFFSET = "split_idx_start"
_PREFIX = "meta."
# Name -> how many passages are read.
_RECALL = {name: measure["cutoff"] for name, measure in MEASURES.items() if measure.NAME == R.NAME}


def fields_of(match: str | None) -> tuple[str, ...]:
    """
    The metadata fields that labels name.

    :param match: As a user names them, ``meta.source,meta.page_number``.
    :raises ValueError: If one is none, or the place in the text does not come last.
    """
    if match is None:
        return ()
    named = [field.strip() for field in match.split(",")]
    wrong = next((field for field in named if not field.removeprefix(_PREFIX) or not field.startswith(_PREFIX)), None)
    if wrong is not None:
        msg = f"--match takes metadata fields, as meta.source or meta.source,meta.page_number, but got {wrong!r}."
        raise ValueError(msg)
    fields = tuple(field.removeprefix(_PREFIX) for field in named)
    if OFFSET in fields[:-1]:
        msg = f"meta.{OFFSET} has to come last in --match, but got {match!r}."
        raise ValueError(msg)
    return fields


class Matching:
    """
    Which passages the labels of a split name, by metadata fields.

    A label holds the values of the fields, joined by commas. If the last field is ``split_idx_start``, its last value
    is a character of the document, and it names the passages that hold this character.

    :param fields: Names of the fields.
    :param passages: The corpus, with these fields.
    :param labels: Query id -> label -> grade.
    :raises ValueError: If no label names a passage, or one does not end with a character.
    """

    def __init__(
        self, fields: Sequence[str], passages: Sequence[Passage], labels: Mapping[str, Mapping[str, int]]
    ) -> None:
        self._labels = labels
        known = {label for judged in labels.values() for label in judged}
        named = _by_place(passages, known) if fields[-1] == OFFSET else _by_value(passages, known)
        self._of_passage = {passage: own for passage, own in named if own}
        found = {label for own in self._of_passage.values() for label in own}
        told = ",".join(f"{_PREFIX}{field}" for field in fields)
        if known and not found:
            first = ",".join(passages[0].fields) if passages else ""
            msg = (
                f"No label names a passage by {told}: the first label is {min(known)!r}, and the first passage has "
                f"{first!r}. With --match, the second column of the qrels holds the values of these fields, joined by "
                "commas."
            )
            raise ValueError(msg)
        if lost := len(known) - len(found):
            tell([f"{lost:,} of {len(known):,} labels name no passage by {told}; they count as not found."])

    def by_passage(self) -> dict[str, dict[str, int]]:
        """The same judgments of passages: query id -> passage id -> grade."""
        passages: dict[str, list[str]] = defaultdict(list)
        for passage, own in self._of_passage.items():
            for label in own:
                passages[label].append(passage)
        judged: dict[str, dict[str, int]] = {}
        for query, labels in self._labels.items():
            grades = judged[query] = {}
            for label, grade in labels.items():
                for passage in passages[label]:
                    grades[passage] = max(grade, grades.get(passage, grade))
        return judged

    def per_query(self, labels: Qrels, run: Run) -> dict[str, np.ndarray]:
        """
        Measure a run of passages by labels, as :func:`~rrra_training.measures.ranking.per_query` does by passages.

        Recall is the share of the labels that the first passages hold, however many of them one passage has. The other
        measures know one label a place: labels that are found together stand one behind the other from their passage's
        place on, and what follows stays at its own place unless that is taken.

        :param labels: Query id -> label -> grade.
        :param run: Query id -> passage id -> score.
        """
        found = {query: self.labels_found(query, scores) for query, scores in run.items()}
        values = per_query(labels, {query: _one_a_place(ranks) for query, ranks in found.items()})
        for name, cutoff in _RECALL.items():
            values[name] = np.asarray(
                [
                    sum(rank <= cutoff for rank in found.get(query, {}).values())
                    / max(sum(grade > 0 for grade in judged.values()), 1)
                    for query, judged in labels.items()
                ]
            )
        return values

    def labels_found(self, query: str, scores: Mapping[str, float]) -> dict[str, int]:
        """
        The rank, from 1, of the first passage of each relevant label that is found.

        :param query: Id of the query.
        :param scores: Passage id -> score.
        :returns: Label -> rank, in the order of the ranks; of one passage, those with the highest grade first.
        """
        judged = self._labels[query]
        ranks: dict[str, int] = {}
        for rank, passage in enumerate(sorted(scores, key=lambda one: -scores[one]), start=1):
            own = self._of_passage.get(passage, ())
            new = [label for label in own if judged.get(label, 0) > 0 and label not in ranks]
            ranks |= dict.fromkeys(sorted(new, key=lambda label: -judged[label]), rank)
        return ranks


def _one_a_place(ranks: Mapping[str, int]) -> dict[str, float]:
    """Labels and their ranks as a list with one at a place, and something else at the places without a label."""
    places: dict[int, str] = {}
    last = 0
    for label, rank in ranks.items():
        last = max(rank, last + 1)
        places[last] = label
    # No label begins with a space.
    return {places.get(place, f" {place}"): -float(place) for place in range(1, last + 1)}


def _by_value(passages: Sequence[Passage], known: set[str]) -> Iterator[tuple[str, list[str]]]:
    for passage in passages:
        label = ",".join(passage.fields)
        yield passage.id, [label] if label in known else []


def _by_place(passages: Sequence[Passage], known: set[str]) -> Iterator[tuple[str, list[str]]]:
    places: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for label in known:
        document, _, place = label.rpartition(",")
        if not place.strip().isdecimal():
            msg = f"The label {label!r} does not end with a character's number, as meta.{OFFSET} in --match wants it."
            raise ValueError(msg)
        places[document].append((int(place), label))
    for own in places.values():
        own.sort()
    for passage in passages:
        *values, begin = passage.fields
        if not begin.isdecimal():
            msg = f"The passage {passage.id} has {begin!r} as meta.{OFFSET}, which is no character's number."
            raise ValueError(msg)
        there = places.get(",".join(values), [])
        first, behind = (bisect_left(there, (place, "")) for place in (int(begin), int(begin) + len(passage.text)))
        yield passage.id, [label for _, label in there[first:behind]]
