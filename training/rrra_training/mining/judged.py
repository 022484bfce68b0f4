"""How probably each mined candidate is relevant, judged block by block, each kept when it is done."""

import hashlib
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from rrra_haystack.files import atomic_file
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.candidates.evidence import Source
from rrra_training.candidates.sets import CandidateSet
from rrra_training.candidates.shared_labels import SharedLabels
from rrra_training.judging.examined import false_negatives
from rrra_training.judging.projecting import projected
from rrra_training.judging.surest import beside_surest, with_positives
from rrra_training.judging.verdicts import judge, relevance_probabilities

# To be raised when the same model comes to judge otherwise, so that no run goes on from blocks of both kinds.
_VERSION = 1
# What an interruption costs at most.
_QUERIES_AT_ONCE = 256


def probably_relevant(model: RRRAModel, data: CandidateSet, cache: Path, *, show_progress: bool = False) -> np.ndarray:
    """
    How probably each candidate is relevant: its false-negative probability beside the query's surest labelled positive,
    or what evidence says if that is more; 0 for what is judged irrelevant.

    :param model: The model.
    :param data: The set, encoded by the model's encoder.
    :param cache: Where finished blocks are kept, from which an interrupted run goes on.
    :param show_progress: Show progress and the time left.
    :returns: Shape ``[Q, k]``, float32; 0 where there is no candidate.
    """
    found = _false_negatives(model, data, cache, show_progress=show_progress)
    target, source = np.asarray(data.labels.target), np.asarray(data.labels.source)
    found = np.where(source == Source.NONE, found, np.maximum(found, target))
    _, judged_irrelevant = data.labels.judged()
    return np.where(judged_irrelevant, 0, found).astype(np.float32)


def _false_negatives(model: RRRAModel, data: CandidateSet, cache: Path, *, show_progress: bool) -> np.ndarray:
    kept = cache / f"false-negatives-{_digest(model, data)}"
    begins = range(0, len(data), _QUERIES_AT_ONCE)
    missing = [begin for begin in begins if not _block(kept, begin).exists()]
    if missing:
        _judge(model, data, kept, missing, show_progress=show_progress)
    return np.concatenate([np.load(_block(kept, begin)) for begin in begins])


def _judge(model: RRRAModel, data: CandidateSet, kept: Path, begins: list[int], *, show_progress: bool) -> None:
    lists, shared, width = with_positives(data), SharedLabels(data), data.mined.rows.shape[1]
    kept.mkdir(parents=True, exist_ok=True)
    with (
        projected(lists.passages, model.projection, kept) as passages,
        tqdm(total=len(data), desc="Judging", unit="query", disable=not show_progress) as progress,
    ):
        progress.update(len(data) - sum(min(_QUERIES_AT_ONCE, len(data) - begin) for begin in begins))
        for begin in begins:
            queries = np.arange(begin, min(begin + _QUERIES_AT_ONCE, len(data)))
            verdicts = judge(
                model.adapter, model.projection, lists, passages, "int8", queries=queries, lexical=model.lexical_scores
            )
            relevance = relevance_probabilities(model, verdicts, np.isfinite(verdicts.base))
            beside = beside_surest(data, lists, relevance, queries)
            found = false_negatives(model.config.detection, beside, passages, shared, verdicts.adapter)
            with atomic_file(_block(kept, begin)) as work:
                np.save(work, found[:, :width])
            progress.update(len(queries))


def _block(kept: Path, begin: int) -> Path:
    return kept / f"{begin}.npy"


def _digest(model: RRRAModel, data: CandidateSet) -> str:
    """Changes with whatever the probabilities depend on."""
    digest = hashlib.sha256(f"{_VERSION} {model.config.model_dump_json()}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        if not name.startswith("encoder"):
            digest.update(tensor.float().cpu().numpy().tobytes())
    for store in (data.passages, data.queries):
        digest.update(f"{store.digest} {store.fingerprint}".encode())
    for rows in (data.mined.rows, data.positives.rows, data.positives.ends):
        digest.update(np.ascontiguousarray(rows).tobytes())
    return digest.hexdigest()[:16]
