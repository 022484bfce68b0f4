"""A model's judgement of all mined candidates, from token states that were projected once to disk."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from tqdm.auto import tqdm

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Observation
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.lexical import CHOSEN_FORM, lexical_scores
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.scoring import reranking_score
from rrra_haystack.model.threads import threads_for_list
from rrra_haystack.model.words import query_word_codes
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.projecting import ProjectedStates, project

LexicalScores = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
# As a model counts words that is new.
IN_CHOSEN_FORM: LexicalScores = partial(lexical_scores, form=CHOSEN_FORM)


@dataclass(frozen=True)
class Verdicts:
    """
    What an adapter says of the mined candidates of Q queries, each of shape ``[Q, k]``, float32.

    :param base: Encoder scores.
    :param adapter: Adapter scores.
    :param relevance_logit: The adapter's log-odds of relevance.
    :param lexical: Lexical scores (:func:`~rrra_haystack.model.lexical.lexical_scores`); a model adds them to the
        adapter scores with a weight that is fitted on dev.
    """

    base: np.ndarray
    adapter: np.ndarray
    relevance_logit: np.ndarray
    lexical: np.ndarray

    def with_words(self, lexical_weight: float) -> np.ndarray:
        """Adapter scores to which the words in common have added, shape ``[Q, k]``."""
        return self.adapter + lexical_weight * self.lexical


def judge(
    adapter: RelationAwareAdapter,
    projection: nn.Linear | None,
    data: CandidateSet,
    passages: ProjectedStates,
    kind: CodeKind,
    *,
    queries: np.ndarray | None = None,
    lexical: LexicalScores | None,
    show_progress: bool = False,
) -> Verdicts:
    """
    Judge all mined candidates of a set.

    :param adapter: The adapter.
    :param projection: The projection that goes with it.
    :param data: The set.
    :param passages: Its projected passages.
    :param kind: Kind of codes to judge from.
    :param queries: Rows of the queries to judge; all if `None`.
    :param lexical: Gives the lexical scores of a query's words with the candidates' words and their counts, as
        :func:`~rrra_haystack.model.lexical.lexical_scores`: a model's own ``lexical_scores``, or :data:`IN_CHOSEN_FORM`
        for what becomes a model; `None` where the adapter's scores alone are wanted, and all lexical ones are 0.
    :param show_progress: Show progress and the time left.
    """
    numbers = np.arange(len(data)) if queries is None else queries
    shape = (len(numbers), data.mined.rows.shape[1])
    base, scores, logits = (np.full(shape, -np.inf, dtype=np.float32) for _ in range(3))
    in_common = np.zeros(shape, dtype=np.float32)
    progress = tqdm(numbers, desc=f"Judging {data.name}", unit="query", disable=not show_progress)
    with torch.inference_mode():
        for at, number in enumerate(progress):
            rows = np.asarray(data.mined.rows[number])
            rows = rows[rows >= 0]
            hidden = data.queries.tokens(np.asarray([number])).states
            candidates = passages.tokens(rows, kind)
            observation = Observation(
                query=torch.from_numpy(np.array(data.queries.pooled[number])),
                contexts=torch.from_numpy(data.passages.pooled[rows]),
                query_tokens=project(hidden, projection),
                tokens=candidates,
                query_states=project(hidden, None),
            )
            with threads_for_list(int(candidates.segments.lengths.sum())):
                judgement = adapter(observation)
            here = (at, slice(len(rows)))
            base[here], scores[here] = judgement.base.numpy(), judgement.adapter.numpy()
            logits[here] = judgement.relevance_logit.numpy()
            if lexical is not None and len(rows):
                asked = query_word_codes(data.queries.text(int(number)))
                in_common[here] = lexical(asked, *passages.words(rows))
    return Verdicts(base, scores, logits, in_common)


def relevance_probabilities(model: RRRAModel, verdicts: Verdicts, there: np.ndarray) -> np.ndarray:
    """
    A model's probabilities of relevance, list by list.

    :param model: Fuses and calibrates.
    :param verdicts: What its adapter says.
    :param there: Which candidates make the list of each query, shape ``[Q, k]``, bool.
    :returns: Shape ``[Q, k]``; nan where there is no candidate.
    """
    relevance = np.full(there.shape, np.nan, dtype=np.float32)
    scores = verdicts.with_words(model.config.lexical_weight)
    for place, own in enumerate(there):
        base, adapter, logit = (
            torch.from_numpy(part[place, own]) for part in (verdicts.base, scores, verdicts.relevance_logit)
        )
        fused = reranking_score(base, adapter, model.config.fusion_weight)
        relevance[place, own] = model.config.calibration.probability(fused, logit).numpy()
    return relevance
