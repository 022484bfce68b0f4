"""What is fitted and measured on dev: the encoder, untrained forms and the adapter, side by side."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.encoder import Encoder
from rrra_training.candidates.sets import CandidateSet
from rrra_training.judging.fitting import LEXICAL_WEIGHTS, Fit, fit, fused, measured
from rrra_training.judging.projecting import ProjectedStates, projected
from rrra_training.judging.verdicts import IN_CHOSEN_FORM, Verdicts, judge
from rrra_training.measures.significance import LEAST_QUERIES
from rrra_training.phases.adapter.learner import AdapterLearner
from rrra_training.phases.adapter.taking_over import weights_at_start
from rrra_training.phases.workshop import Workshop

logger = logging.getLogger(__name__)
_FORMS = ("match alone", "equal sum")


def encoder_figures(dev: Sequence[CandidateSet]) -> dict[str, Any]:
    """Figures of what the encoder retrieves for the dev queries."""
    return {
        "sets": {data.name: _about(data) | {"systems": {"encoder": _measures(data, data.mined.scores)}} for data in dev}
    }


def fit_and_measure(
    workshop: Workshop, encoder: Encoder, learner: AdapterLearner, dev: Sequence[CandidateSet]
) -> tuple[dict[str, Any], Fit]:
    """
    Fit both weights and the calibration on the dev sets, and measure there.

    :param workshop: The recipe at work.
    :param encoder: The encoder that the sets were encoded with.
    :param learner: The adapter.
    :param dev: The sets.
    :returns: Figures of each set, and what was fitted.
    """
    config = workshop.recipe.adapter
    verdicts, untrained = _judge(workshop, encoder, learner, dev)
    figures: dict[str, Any] = {}
    floors = {}
    for data in dev:
        match = untrained[data.name]
        scores = {"encoder": match.base, "match alone": match.adapter, "equal sum": fused(match, 1.0)}
        systems = {label: _measures(data, own) for label, own in scores.items()}
        figures[data.name] = _about(data) | {"systems": systems}
        floors[data.name] = max(systems[form]["nDCG@10"] for form in _FORMS)
    weights = LEXICAL_WEIGHTS if config.lexical_match else (0.0,)
    queries = sum(len(data) for data in dev)
    if queries < LEAST_QUERIES:
        logger.warning(
            "%d dev queries are too few to fit weights and calibration to: name %d or more.", queries, LEAST_QUERIES
        )
    former = weights_at_start(workshop.run)
    fitted = fit(dev, verdicts[config.code], floors, lexical_weights=weights, former=former)
    for data in dev:
        own = figures[data.name]
        for kind, judged in verdicts.items():
            both = fused(judged[data.name], fitted.fusion_weight, fitted.lexical_weight)
            own["systems"][f"rrra {kind}"] = _measures(data, both)
        if fitted.lexical_weight:
            wordless = fused(verdicts[config.code][data.name], fitted.fusion_weight)
            own["systems"][f"rrra {config.code} without words"] = _measures(data, wordless)
        own["calibration_error"] = fitted.calibration_error[data.name]
        own["ndcg_by_fusion_weight"] = fitted.table[data.name]
    chosen = {"fusion_weight": fitted.fusion_weight, "lexical_weight": fitted.lexical_weight}
    return {**chosen, "sets": figures}, fitted


def _judge(
    workshop: Workshop, encoder: Encoder, learner: AdapterLearner, dev: Sequence[CandidateSet]
) -> tuple[dict[CodeKind, dict[str, Verdicts]], dict[str, Verdicts]]:
    """Verdicts of the adapter by kind of codes and set, and those of the untrained token match by set."""
    config = workshop.recipe.adapter
    # A model is fitted for the codes that it writes, whether or not it was trained for them.
    verdicts: dict[CodeKind, dict[str, Verdicts]] = {kind: {} for kind in (*config.codes, config.code)}
    untrained: dict[str, Verdicts] = {}
    for group in _by_passages(dev):
        with ExitStack() as stack:
            own = stack.enter_context(projected(group[0].passages, learner.projection, workshop.cache))
            raw = stack.enter_context(projected(group[0].passages, None, workshop.cache))
            for data in group:
                for kind, judged in verdicts.items():
                    judged[data.name] = judge(
                        learner.adapter, learner.projection, data, own, kind,
                        lexical=IN_CHOSEN_FORM, show_progress=workshop.show_progress,
                    )  # fmt: skip
                untrained[data.name] = _token_match(encoder, data, raw)
    return verdicts, untrained


def _token_match(encoder: Encoder, data: CandidateSet, raw: ProjectedStates) -> Verdicts:
    """The plain token match of unprojected states: the mean over the query tokens."""
    plain = AdapterConfig(pooled_dim=encoder.dimension, token_dim=encoder.hidden_size, contrast_weighting=False)
    return judge(RelationAwareAdapter(plain).eval(), None, data, raw, "int8", lexical=None)


def _by_passages(dev: Sequence[CandidateSet]) -> list[list[CandidateSet]]:
    """Sets in groups that share their passages."""
    groups: dict[Path, list[CandidateSet]] = {}
    for data in dev:
        groups.setdefault(data.passages.path, []).append(data)
    return list(groups.values())


def _about(data: CandidateSet) -> dict[str, Any]:
    """How large a set is."""
    return {"queries": len(data), "documents": len(data.passages)}


def _measures(data: CandidateSet, scores: np.ndarray) -> dict[str, float]:
    """Means of all measures over the queries of a set."""
    return {name: round(float(own.mean()), 5) for name, own in measured(data, scores).items()}
