"""Which parts an adapter has, and its shape."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AdapterParts(BaseModel):
    """
    Which parts of an adapter are on.

    :param hidden_dim: Width of the trunk.
    :param pooled_relation: Read [q-c, q*c, q+c] of the pooled embeddings.
    :param observed_context: Read how well the best-matching context token matches each query token.
    :param token_relation: Read the relation of each query token and its best-matching context token too.
    :param probes: Learned views of the query that scan every token of a candidate; 0 for no scan.
    :param contrast_weighting: Weight each query token by how well its match tells the candidates apart; see
        :func:`contrast_weights`.
    :param score_correction: Let the trunk add to the adapter score, not to the outcomes alone.
    :param residual: a = c + MLP(z) rather than a = MLP(z).
    :param context_initialisation: Begin with a = c, as published. Without the residual there is nothing to begin from.

    The form of arXiv 2508.11670 is ``observed_context=False``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_dim: int = Field(256, gt=0)
    pooled_relation: bool = True
    observed_context: bool = True
    token_relation: bool = False
    probes: int = Field(0, ge=0)
    contrast_weighting: bool = True
    score_correction: bool = True
    residual: bool = True
    context_initialisation: bool = True

    @model_validator(mode="after")
    def _reads_something(self) -> Self:
        if not (self.pooled_relation or self.observed_context):
            msg = "An adapter must read something: switch pooled_relation or observed_context on."
            raise ValueError(msg)
        if not self.observed_context and (self.token_relation or self.probes):
            msg = "token_relation and probes read the token states: switch observed_context on, or these off."
            raise ValueError(msg)
        return self


class AdapterConfig(AdapterParts):
    """
    The shape of an adapter, and which of its parts are on.

    :param pooled_dim: Dimensions d of the pooled embeddings; 0 of a late-interaction model, which has none.
    :param token_dim: Dimensions h of the projected token states.
    :param query_dim: Dimensions of the query's token states before projection, which nothing has to be stored of:
        weights and probes are read from them. `None` to read them from the projected ones.
    """

    pooled_dim: int = Field(ge=0)
    token_dim: int = Field(gt=0)
    query_dim: int | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _reads_what_there_is(self) -> Self:
        if self.pooled_relation and not self.pooled_dim:
            msg = "pooled_relation reads pooled embeddings, and there are none (pooled_dim is 0): switch it off."
            raise ValueError(msg)
        return self

    @property
    def reading_dim(self) -> int:
        """Dimensions of the query's token states that weights and probes are read from."""
        return self.token_dim if self.query_dim is None else self.query_dim
