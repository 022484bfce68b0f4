"""The forms of RRRA that are measured, and what they read."""

from collections.abc import Container, Sequence
from dataclasses import dataclass

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_training.corpora.fingerprint import cache_key
from rrra_training.evaluation.rerankers.interface import Form
from rrra_training.evaluation.systems import (
    ENCODER_OF,
    ENCODER_SYSTEM,
    RRRA_SYSTEM,
    code_suffixes,
    named_models,
    needs_model,
)


def forms_of(model: RRRAModel, systems: Sequence[str], codes: Sequence[str] | None) -> list[Form]:
    """
    All forms of RRRA that are measured, those of further models last.

    :param model: The model.
    :param systems: Names of systems.
    :param codes: Kinds of token codes of the model's own systems; its own kind if `None`.
    """
    forms = []
    if needs_model(systems):
        kinds = codes or [model.config.code]
        for kind, suffix in zip(kinds, code_suffixes(kinds), strict=True):
            match = f"match{suffix}" if "match" in systems else None
            forms.append(Form(f"{RRRA_SYSTEM}{suffix}", model, kind, match))
    if "untrained" in systems:
        untrained = RRRAModel.untrained(model.encoder)
        forms.append(Form("untrained", untrained, untrained.config.code))
    further = {name: RRRAModel.load(source) for name, source in named_models(systems).items()}
    return forms + [Form(name, other, other.config.code) for name, other in further.items()]


def codes_of(forms: Sequence[Form], measured: Container[str]) -> dict[str, str]:
    """
    Which kind of token codes systems read.

    :param forms: The forms.
    :param measured: Names of what was measured.
    :returns: System -> kind, of those that read any, or token states.
    """
    kinds = {name: form.kind for form in forms for name in (form.name, form.match) if name and name in measured}
    return kinds | ({"hybrid": kinds[RRRA_SYSTEM]} if "hybrid" in measured else {})


@dataclass(frozen=True)
class OneEncoder:
    """Forms over the same encoder, and what the encoder alone is called."""

    name: str
    encoder: Encoder
    forms: list[Form]


def by_encoder(model: RRRAModel, forms: Sequence[Form]) -> list[OneEncoder]:
    """The forms by the weights of their encoders, the model's own first; others are called by their first form."""
    found = {cache_key(model.encoder): OneEncoder(ENCODER_SYSTEM, model.encoder, [])}
    for form in forms:
        other = OneEncoder(f"{form.name}{ENCODER_OF}", form.model.encoder, [])
        found.setdefault(cache_key(form.model.encoder), other).forms.append(form)
    return list(found.values())
