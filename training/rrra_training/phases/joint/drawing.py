"""Hard negatives resampled, with random ones among them."""

from collections.abc import Sequence

import numpy as np
import torch

from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.detector import Detector
from rrra_training.negatives.drawing import draw
from rrra_training.negatives.sampler import Candidates
from rrra_training.recipe.settings import JointTraining


def draw_negatives(
    data: CandidateSet,
    queries: np.ndarray,
    config: JointTraining,
    generator: np.random.Generator,
    detector: Detector | None,
) -> np.ndarray:
    """
    Draw a labelled positive and the negatives of each query: none that is relevant by label or evidence, or left out.

    :param data: The set.
    :param queries: Rows of the queries, shape ``[B]``.
    :param config: Sampler and shares.
    :param generator: Source of the draw.
    :param detector: Says how probably each candidate is a false negative; only for the sampler that asks.
    :returns: Rows of passages, shape ``[B, 1 + negatives]``; the first is the labelled positive, -1 is none.
    """
    positives = np.asarray([generator.choice(data.positives.of(query)) for query in queries])
    mined = np.asarray(data.mined.rows[queries])
    barred = [data.no_negatives(query) for query in queries]
    eligible = torch.from_numpy((mined >= 0) & ~_among(mined, barred))
    embeddings, own = data.passages.pooled[np.maximum(mined, 0)], data.passages.pooled[positives]
    candidates = Candidates(
        scores=torch.from_numpy(np.array(data.mined.scores[queries])),
        positive_scores=torch.from_numpy(np.einsum("bd,bd->b", data.queries.pooled[queries], own)),
        eligible=eligible,
        positive_similarity=torch.from_numpy(np.einsum("bkd,bd->bk", embeddings, own)),
        false_negative=detector.probability(data, queries, positives) if detector is not None else None,
    )
    torch_generator = torch.Generator().manual_seed(int(generator.integers(2**62)))
    drawn = draw(
        config.sampler.weights(candidates), config.negatives, eligible=eligible, generator=torch_generator
    ).numpy()
    hard = np.where(drawn >= 0, np.take_along_axis(mined, np.maximum(drawn, 0), axis=1), -1)
    others = generator.integers(len(data.passages), size=hard.shape)
    others = np.where(_among(others, barred), -1, others)
    chosen = np.where(generator.random(hard.shape) < config.random_share, others, hard)
    return np.concatenate([positives[:, None], chosen], axis=1)


def _among(rows: np.ndarray, barred: Sequence[np.ndarray]) -> np.ndarray:
    """Which passages of each query are barred for it, shape as `rows`."""
    return np.stack([np.isin(own, out) for own, out in zip(rows, barred, strict=True)])
