"""
What is known of the relevance of mined candidates, by whom, and how surely.

A candidate without a label is unknown, not irrelevant: most relevance judgments are sparse. Every piece of evidence
has a named source and a confidence; the relevance target of a pair is
``confidence * relevance + (1 - confidence) * prior``, and ``prior`` where nothing is known.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field


class Source(IntEnum):
    """Where the evidence on a pair comes from."""

    NONE = 0
    QRELS = 1
    DUPLICATE = 2
    NEAR_DUPLICATE = 3
    TEACHER = 4
    ANSWER = 5
    NAMED_NEGATIVE = 6


class EvidenceConfig(BaseModel):
    """
    How far each source is believed. A confidence of 0 switches a source off.

    :param prior: Probability that a candidate of which nothing is known is relevant.
    :param qrels: Confidence in relevance judgments, of relevant (grade above 0) and irrelevant passages alike.
    :param duplicates: Confidence that a passage with the words of a positive is relevant too.
    :param near_duplicates: The same where nearly all words agree.
    :param near_duplicate_cosine: Encoder similarity from which a candidate may be a near duplicate.
    :param near_duplicate_overlap: Jaccard overlap of the words from which it is one.
    :param answers: Confidence that a passage with an answer string is relevant (DPR's criterion, arXiv 2004.04906).
    :param named_negatives: Confidence that a hard negative that the data names is irrelevant.
    :param teacher: File with the columns query id, passage id and probability of relevance, separated by tabs, below
        the recipe's `data_root`.
    :param teacher_confidence: Confidence in the teacher.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    prior: float = Field(0.02, ge=0, lt=1)
    qrels: float = Field(1.0, ge=0, le=1)
    duplicates: float = Field(0.95, ge=0, le=1)
    near_duplicates: float = Field(0.8, ge=0, le=1)
    near_duplicate_cosine: float = Field(0.95, ge=0, le=1)
    near_duplicate_overlap: float = Field(0.8, ge=0, le=1)
    answers: float = Field(0.3, ge=0, le=1)
    named_negatives: float = Field(0.0, ge=0, le=1)
    teacher: Path | None = None
    teacher_confidence: float = Field(0.8, ge=0, le=1)

    @property
    def relevant(self) -> float:
        """Target of a passage that the qrels call relevant."""
        return self.qrels + (1 - self.qrels) * self.prior


@dataclass(frozen=True)
class QueryEvidence:
    """
    What the data say of one query.

    :param judged: Passage row -> grade.
    :param answers: Answer strings.
    :param named_negatives: Rows of passages that the data name as hard negatives.
    """

    judged: Mapping[int, int]
    answers: Sequence[str] = ()
    named_negatives: Sequence[int] = ()


@dataclass(frozen=True)
class Labels:
    """
    Relevance targets of mined candidates.

    :param target: Probability of relevance, shape ``[Q, k]``, float32.
    :param source: :class:`Source` of the evidence, shape ``[Q, k]``, uint8; ``NONE`` where the target is the prior.
    :param prior: Target of a candidate of which nothing is known.
    :param relevant: Target of a passage that the qrels call relevant.
    """

    target: np.ndarray
    source: np.ndarray
    prior: float
    relevant: float = 1.0

    def judged(self, queries: np.ndarray | slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """
        Which candidates the qrels call relevant, and which irrelevant, however little they are believed.

        :param queries: Rows of the queries.
        :returns: Two arrays of shape ``[len(queries), k]``, bool.
        """
        is_judged = np.asarray(self.source[queries]) == Source.QRELS
        is_relevant = np.asarray(self.target[queries]) > self.prior
        return is_judged & is_relevant, is_judged & ~is_relevant
