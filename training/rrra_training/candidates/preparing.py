"""Queries, corpus, mined candidates and their labels: what phases 2 and 3 train on, and what dev is measured on."""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.evidence import EvidenceConfig, Labels, QueryEvidence, Source
from rrra_training.candidates.labelling import label, read_teacher
from rrra_training.candidates.mining import Mined, MiningConfig, mine_cached
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.candidates.splits import SplitConfig
from rrra_training.candidates.styles import restyle
from rrra_training.corpora.building import build_store, encoded_passages
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.corpora.store import StateStore
from rrra_training.data import Query, RetrievalData, open_dataset
from rrra_training.data.checks import digest_of, identical_passages

logger = logging.getLogger(__name__)


def prepare(
    config: SplitConfig,
    encoder: Encoder,
    cache: Path,
    *,
    mining: MiningConfig,
    evidence: EvidenceConfig,
    seed: int = 0,
    show_progress: bool = False,
) -> CandidateSet:
    """
    Encode, mine and label a split; each step is taken from the cache if it was done with the same weights and texts.

    :param config: The split.
    :param encoder: The encoder.
    :param cache: Where stores and candidates are kept.
    :param mining: How candidates are found.
    :param evidence: How far labels are believed.
    :param seed: Seed of the draw of queries.
    :param show_progress: Show progress and the time left.
    :raises ValueError: If the split has no query with a relevant passage in the corpus.
    """
    data = open_dataset(config.data)
    key = cache_key(encoder)
    passages = encoded_passages(data.name, data.passages(), encoder, cache, show_progress=show_progress)
    qrels = data.qrels(config.split)
    chosen = [
        query
        for query in data.queries(config.split, limit=config.limit, seed=seed)
        if any(grade > 0 and passage in passages.row_of for passage, grade in qrels[query.id].items())
    ]
    if not chosen:
        msg = (
            f"No query of the split '{config.split}' of {data.name} has a relevant passage in the corpus. "
            "Check that the qrels name passages by the corpus's ids."
        )
        raise ValueError(msg)
    asked = len(chosen)
    if config.styles is not None:
        restyled = restyle(chosen, qrels, config.styles, seed=seed)
        chosen += [query for query, _ in restyled]
        qrels |= {query.id: dict(judged) for query, judged in restyled}
    queries = build_store(
        cache / f"{data.name}-{config.split}-{_drawn_by(config, seed)}-{key}",
        ((query.id, query.text) for query in chosen),
        encoder,
        task="query",
        total=len(chosen),
        show_progress=show_progress,
    )
    mined = mine_cached(passages, queries, mining, cache, show_progress=show_progress)
    if config.ignore_identical:
        itself = identical_passages(chosen, data.passages(), qrels)
        mined = mined.without([itself.get(query.id, ()) for query in chosen])
    known = list(_evidence(data, config.split, [(query.id, query.answers) for query in chosen], qrels, passages))
    labels = _labels(mined, known, passages, queries, evidence, cache, show_progress=show_progress)
    name = f"{data.name}/{config.split}"
    found = (labels.source != Source.NONE).mean()
    logger.info(
        "%s: %d queries, %d passages, evidence on %.1f%% of the candidates",
        name,
        len(chosen),
        len(passages),
        100 * found,
    )
    every = [*data.queries(config.split), *chosen[asked:]]
    return CandidateSet(
        name, passages, queries, mined, _positives(known), labels, config.weight,
        restyled=len(chosen) - asked,
        asked_again=_asked_again(every, chosen, qrels, passages.row_of),
    )  # fmt: skip


def _drawn_by(config: SplitConfig, seed: int) -> str:
    """Tells apart queries of one name: a store that another set has mapped must never be written to."""
    drawn = f"{config.limit} {config.styles} {seed}" if config.limit or config.styles else ""
    return hashlib.sha256(f"{config.data.model_dump_json()} {drawn}".encode()).hexdigest()[:8]


def _evidence(
    data: RetrievalData,
    split: str,
    queries: Sequence[tuple[str, Sequence[str]]],
    qrels: Mapping[str, Mapping[str, int]],
    passages: StateStore,
) -> Iterator[QueryEvidence]:
    named = data.negatives(split)
    row_of = passages.row_of
    for identifier, answers in queries:
        yield QueryEvidence(
            judged={row_of[passage]: grade for passage, grade in qrels[identifier].items() if passage in row_of},
            answers=answers,
            named_negatives=[row_of[passage] for passage in named.get(identifier, ()) if passage in row_of],
        )


def _positives(evidence: Sequence[QueryEvidence]) -> Positives:
    pairs = [[(row, grade) for row, grade in known.judged.items() if grade > 0] for known in evidence]
    flat = np.asarray([pair for own in pairs for pair in own], dtype=np.int64).reshape(-1, 2)
    return Positives(flat[:, 0], flat[:, 1], np.cumsum([len(own) for own in pairs]))


def _asked_again(
    every: Sequence[Query], chosen: Sequence[Query], qrels: Mapping[str, Mapping[str, int]], row_of: Mapping[str, int]
) -> dict[int, np.ndarray]:
    """What is relevant to queries of the same text, drawn or not, where that is more than is labelled for the query."""
    # Blank texts are no question.
    digests = [digest_of(query.text) if query.text.strip() else None for query in chosen]
    right: dict[int | None, set[int]] = {digest: set() for digest in digests if digest is not None}
    for query in every:
        if (own := right.get(digest_of(query.text))) is not None:
            grades = qrels.get(query.id, {}).items()
            own.update(row_of[passage] for passage, grade in grades if grade > 0 and passage in row_of)
    # One array for all of a text: thousands of queries may have it.
    shared = {digest: np.asarray(sorted(own), dtype=np.int64) for digest, own in right.items()}
    found = {}
    for number, (query, digest) in enumerate(zip(chosen, digests, strict=True)):
        judged = {row_of[passage]: grade for passage, grade in qrels[query.id].items() if passage in row_of}
        if digest is not None and not right[digest] <= judged.keys():
            wrong = [row for row, grade in judged.items() if grade <= 0 and row in right[digest]]
            found[number] = np.setdiff1d(shared[digest], wrong) if wrong else shared[digest]
    return found


def _labels(
    mined: Mined,
    known: Sequence[QueryEvidence],
    passages: StateStore,
    queries: StateStore,
    config: EvidenceConfig,
    cache: Path,
    *,
    show_progress: bool,
) -> Labels:
    teacher = None
    if config.teacher is not None:
        teacher = read_teacher(config.teacher, queries.row_of, passages.row_of)
    parts = [[sorted(one.judged.items()), list(one.answers), list(one.named_negatives)] for one in known]
    path = cache / f"labels-{_digest(mined, passages, [parts, sorted(teacher.items()) if teacher else None], config)}"
    if not path.exists():
        labels = label(mined.rows, known, passages, config, teacher=teacher, show_progress=show_progress)
        with atomic_directory(path) as work:
            np.save(work / "target.npy", labels.target)
            np.save(work / "source.npy", labels.source)
    target, source = (np.load(path / f"{name}.npy", mmap_mode="r") for name in ("target", "source"))
    return Labels(target, source, config.prior, config.relevant)


def _digest(mined: Mined, passages: StateStore, known: list, config: EvidenceConfig) -> str:
    """Changes with whatever the labels depend on: duplicates and answers are told by words and embeddings."""
    digest = hashlib.sha256(np.ascontiguousarray(mined.rows).tobytes())
    digest.update(f"{passages.digest} {passages.fingerprint}".encode())
    digest.update(json.dumps(known).encode())
    digest.update(config.model_dump_json().encode())
    return digest.hexdigest()[:16]
