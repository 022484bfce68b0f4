"""Relevance targets of mined candidates, from all evidence that there is."""

import csv
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.auto import tqdm

from rrra_training.candidates.evidence import EvidenceConfig, Labels, QueryEvidence, Source
from rrra_training.corpora.store import StateStore
from rrra_training.data.files import open_text

_QUERIES_AT_ONCE = 512
_WORD = re.compile(r"\w+")
# No grade.
_UNJUDGED = -(2**31)


class _Said(NamedTuple):
    """What a source says of the candidates at some places of a query's list."""

    places: np.ndarray
    relevance: np.ndarray | float
    confidence: float
    source: Source


def label(
    rows: np.ndarray,
    evidence: Sequence[QueryEvidence],
    passages: StateStore,
    config: EvidenceConfig,
    *,
    teacher: Mapping[tuple[int, int], float] | None = None,
    show_progress: bool = False,
) -> Labels:
    """
    Label mined candidates from all evidence; where several sources speak, the first of :class:`Source` counts.

    :param rows: Passages' rows, shape ``[Q, k]``; -1 for none.
    :param evidence: What is known of each of the Q queries.
    :param passages: The corpus.
    :param config: How far each source is believed.
    :param teacher: Probability of relevance by (query number, passage row).
    :param show_progress: Show progress and the time left.
    """
    target = np.full(rows.shape, config.prior, dtype=np.float32)
    source = np.zeros(rows.shape, dtype=np.uint8)
    words = lru_cache(maxsize=200_000)(lambda row: normalised_words(passages.text(row)))
    progress = tqdm(total=len(rows), desc="Labelling", unit="query", disable=not show_progress)
    for begin in range(0, len(rows), _QUERIES_AT_ONCE):
        numbers = range(begin, min(begin + _QUERIES_AT_ONCE, len(rows)))
        similar = _similarity_to_positives(rows, evidence, passages, numbers) if _uses_duplicates(config) else None
        for number in numbers:
            own, known = rows[number], evidence[number]
            said = [*_by_judgments(own, known, config)]
            if similar is not None:
                said += _by_duplicates(own, known, config, similar[number - begin], words)
            if teacher is not None:
                said += _by_teacher(own, config, teacher, number)
            said += [*_by_answers(own, known, config, words), *_by_names(own, known, config)]
            for places, relevance, confidence, of in said:
                at = number, places
                free = source[at] == Source.NONE
                target[at] = np.where(free, confidence * relevance + (1 - confidence) * config.prior, target[at])
                source[at] = np.where(free, of, source[at])
        progress.update(len(numbers))
    progress.close()
    return Labels(target, source, config.prior, config.relevant)


def _by_judgments(own: np.ndarray, known: QueryEvidence, config: EvidenceConfig) -> Iterator[_Said]:
    if config.qrels and known.judged:
        grades = np.asarray([known.judged.get(int(row), _UNJUDGED) for row in own])
        judged = np.flatnonzero(grades != _UNJUDGED)
        yield _Said(judged, (grades[judged] > 0).astype(np.float32), config.qrels, Source.QRELS)


def _by_duplicates(
    own: np.ndarray, known: QueryEvidence, config: EvidenceConfig, similar: np.ndarray, words: Callable[[int], str]
) -> Iterator[_Said]:
    positives = [row for row, grade in known.judged.items() if grade > 0]
    for place in np.flatnonzero(similar >= config.near_duplicate_cosine):
        overlap = max(_overlap(words(int(own[place])), words(row)) for row in positives)
        if overlap == 1.0 and config.duplicates:
            yield _Said(np.asarray([place]), 1.0, config.duplicates, Source.DUPLICATE)
        elif overlap >= config.near_duplicate_overlap and config.near_duplicates:
            yield _Said(np.asarray([place]), 1.0, config.near_duplicates, Source.NEAR_DUPLICATE)


def _by_teacher(
    own: np.ndarray, config: EvidenceConfig, teacher: Mapping[tuple[int, int], float], number: int
) -> Iterator[_Said]:
    if config.teacher_confidence:
        said = np.asarray([teacher.get((number, int(row)), math.nan) for row in own])
        scored = np.flatnonzero(~np.isnan(said))
        yield _Said(scored, said[scored], config.teacher_confidence, Source.TEACHER)


def _by_answers(
    own: np.ndarray, known: QueryEvidence, config: EvidenceConfig, words: Callable[[int], str]
) -> Iterator[_Said]:
    if config.answers and known.answers:
        wanted = [f" {answer} " for text in known.answers if (answer := normalised_words(text).strip())]
        found = [place for place, row in enumerate(own) if row >= 0 and any(w in words(int(row)) for w in wanted)]
        yield _Said(np.asarray(found, dtype=np.int64), 1.0, config.answers, Source.ANSWER)


def _by_names(own: np.ndarray, known: QueryEvidence, config: EvidenceConfig) -> Iterator[_Said]:
    if config.named_negatives and known.named_negatives:
        named = np.flatnonzero(np.isin(own, known.named_negatives))
        yield _Said(named, 0.0, config.named_negatives, Source.NAMED_NEGATIVE)


def normalised_words(text: str) -> str:
    """Lower-case words without punctuation and accents' variants, each between single spaces, for whole-word search."""
    plain = unicodedata.normalize("NFD", text).casefold()
    return f" {' '.join(_WORD.findall(plain))} "


def read_teacher(
    path: Path, query_numbers: Mapping[str, int], passage_rows: Mapping[str, int]
) -> dict[tuple[int, int], float]:
    """
    Read a teacher's probabilities of relevance.

    :param path: Columns query id, passage id and probability, separated by tabs; a header is allowed, and gzip.
    :param query_numbers: Number of each query id; other queries are skipped.
    :param passage_rows: Row of each passage id; other passages are skipped.
    :raises FileNotFoundError: If it is missing.
    :raises ValueError: If it is damaged or not in its encoding, a row is malformed or a probability is not between 0
        and 1.
    """
    scores: dict[tuple[int, int], float] = {}
    with open_text(path) as lines:
        for number, cells in enumerate(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE), start=1):
            if number == 1 and cells[:1] == ["query-id"]:
                continue
            try:
                query, passage, text = cells
                probability = float(text)
            except ValueError:
                probability = math.nan
            if not 0 <= probability <= 1:
                msg = (
                    f"{path}, line {number}: expected 'query-id<TAB>corpus-id<TAB>probability between 0 and 1', "
                    f"found {' '.join(cells)!r}."
                )
                raise ValueError(msg)
            if query in query_numbers and passage in passage_rows:
                scores[query_numbers[query], passage_rows[passage]] = probability
    return scores


def check_teacher(path: Path) -> None:
    """
    See that the file of a teacher can be read, before hours are spent on what it says something about.

    :param path: As :func:`read_teacher` takes it.
    :raises FileNotFoundError: If it is missing.
    :raises ValueError: As :func:`read_teacher`.
    """
    if not path.is_file():
        msg = f"There is no {path}, which evidence.teacher names. Check the path, and data_root before it."
        raise FileNotFoundError(msg)
    read_teacher(path, {}, {})


def _uses_duplicates(config: EvidenceConfig) -> bool:
    return bool(config.duplicates or config.near_duplicates)


def _similarity_to_positives(
    rows: np.ndarray, evidence: Sequence[QueryEvidence], passages: StateStore, numbers: range
) -> np.ndarray:
    """Highest cosine of each candidate with a positive of its query, shape ``[len(numbers), k]``; -1 without any."""
    highest = np.full((len(numbers), rows.shape[1]), -1.0, dtype=np.float32)
    for i, number in enumerate(numbers):
        positives = [row for row, grade in evidence[number].judged.items() if grade > 0]
        if positives:
            own = rows[number]
            cosines = passages.pooled[np.maximum(own, 0)] @ passages.pooled[positives].T
            highest[i] = np.where(own >= 0, cosines.max(axis=1), -1.0)
    return highest


def _overlap(one: str, other: str) -> float:
    if one == other:
        return 1.0
    first, second = set(one.split()), set(other.split())
    # Equal sets in another order are near, not exact.
    return min(len(first & second) / max(len(first | second), 1), 1 - 1e-6)
