"""How negatives are mined for other trainers."""

from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rrra_haystack.errors import first_fault
from rrra_training.negatives.samplers import AnySampler

# Those of which the first k of a list are all that is ever drawn.
_OF_THE_FIRST = ("top-k", "margin-pos", "perc-pos")


class NegativesConfig(BaseModel):
    """
    What is mined.

    :param negatives: Negatives of a query.
    :param sampler: How they are drawn from the candidates; the hardest are taken if `None`.
    :param max_false_negative: A candidate that is more probably relevant than this is no negative.
    :param add_positives: A candidate that is at least so probably relevant becomes a positive; none does if `None`.
    :param candidates: Passages that the encoder ranks highest, among which negatives are looked for.
    :param limit: Draw this many queries; all if `None`.
    :param ignore_identical: Leave a passage that is the query itself, word for word, out of the query's candidates.
    :param seed: Seed of every draw.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    negatives: int = Field(7, gt=0)
    sampler: AnySampler | None = None
    max_false_negative: float = Field(0.1, gt=0, le=1)
    add_positives: float | None = Field(None, gt=0, le=1)
    candidates: int = Field(100, gt=0)
    limit: int | None = Field(None, gt=0)
    ignore_identical: bool = False
    seed: int = Field(0, ge=0)


def sampler_of(text: str, negatives: int) -> AnySampler:
    """
    A sampler as a user names it.

    :param text: Its bare name, or ``{name: simans, a: 50}``. Samplers that take the first candidates alone take as many
        as there are negatives, if nothing else is said.
    :param negatives: Negatives of a query.
    :raises ValueError: If it is unknown, or a setting is.
    """
    try:
        told: Any = yaml.safe_load(text)
    except yaml.YAMLError:
        msg = f"The sampler {text!r} is no valid YAML: write its bare name, or its settings as {{name: simans, a: 50}}."
        raise ValueError(msg) from None
    if isinstance(told, str) and told in _OF_THE_FIRST:
        told = {"name": told, "k": negatives}
    try:
        sampler: AnySampler = TypeAdapter(AnySampler).validate_python(told)
    except ValidationError as error:
        msg = f"The sampler {text!r}: {first_fault(error)}"
        raise ValueError(msg) from None
    return sampler
