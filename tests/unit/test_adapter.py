import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import normalize

from rrra_haystack.adapter import (
    AdapterConfig,
    Observation,
    RelationAwareAdapter,
    contrast_weights,
    linear_normalisation_loss,
    relation_product,
)

D, H, N, M = 16, 8, 5, 3


def observe(n: int = N, m: int = M) -> Observation:
    generator = torch.Generator().manual_seed(0)
    return Observation(
        query=torch.randn(D, generator=generator),
        contexts=torch.randn(n, D, generator=generator),
        query_tokens=normalize(torch.randn(m, H, generator=generator), dim=-1),
        match=torch.rand(n, m, generator=generator) * 2 - 1,
        observed=normalize(torch.randn(n, m, H, generator=generator), dim=-1),
    )


def build(**parts: bool) -> RelationAwareAdapter:
    torch.manual_seed(1)
    return RelationAwareAdapter(AdapterConfig(pooled_dim=D, token_dim=H, hidden_dim=12, **parts))


def awaken(adapter: RelationAwareAdapter) -> RelationAwareAdapter:
    torch.manual_seed(2)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    return adapter


@pytest.mark.parametrize(("query", "context"), [((D,), (N, D)), ((M, D), (N, M, D))])
def test_relation_product_is_the_layer_over_the_relation(query: tuple, context: tuple) -> None:
    layer, q, c = nn.Linear(3 * D, 7), torch.randn(query), torch.randn(context)
    q_wide = q.expand_as(c)
    relation = torch.cat([q_wide - c, q_wide * c, q_wide + c], dim=-1)
    assert torch.allclose(relation_product(layer, q, c), layer(relation), atol=1e-5)


def test_untrained_is_the_token_match_by_contrast() -> None:
    seen = observe()
    judged = build()(seen)
    assert torch.allclose(judged.adapter, seen.match @ contrast_weights(seen.match), atol=1e-6)
    assert torch.allclose(judged.base, nn.functional.cosine_similarity(seen.contexts, seen.query[None]), atol=1e-6)
    assert torch.allclose(judged.qa, judged.base, atol=1e-6)
    assert torch.allclose(judged.ca, torch.ones(N), atol=1e-6)
    assert torch.equal(judged.relevance_logit, torch.zeros(N))


def test_without_contrast_it_is_the_mean_match() -> None:
    seen = observe()
    assert torch.allclose(build(contrast_weighting=False)(seen).adapter, seen.match.mean(dim=1), atol=1e-6)


def test_the_published_form_sees_the_pooled_embeddings_only() -> None:
    adapter = build(observed_context=False)
    seen = observe()
    judged = adapter(seen)
    assert torch.allclose(judged.adapter, judged.base, atol=1e-6)
    changed = Observation(seen.query, seen.contexts, seen.query_tokens * 0, seen.match * 0, seen.observed * 0)
    assert torch.equal(awaken(adapter)(seen).outcomes, adapter(changed).outcomes)
    assert not hasattr(adapter, "token_relation")


def test_tokens_only_has_no_pooled_relation() -> None:
    assert not hasattr(build(pooled_relation=False), "pooled_relation")
    assert build(pooled_relation=False)(observe()).outcomes.shape == (N, 4)


def test_without_residual_the_context_is_not_carried_over() -> None:
    adapter = awaken(build(residual=False))
    with torch.no_grad():
        adapter.correction.weight.zero_()
        adapter.correction.bias.copy_(torch.randn(D))
    judged = adapter(observe())
    assert torch.allclose(judged.qa, judged.qa[0].expand(N), atol=1e-6)


def test_without_context_initialisation_it_begins_elsewhere() -> None:
    judged = build(context_initialisation=False)(observe())
    assert not torch.allclose(judged.ca, torch.ones(N), atol=1e-4)


def test_it_must_read_something() -> None:
    with pytest.raises(ValidationError, match="must read something"):
        build(pooled_relation=False, observed_context=False)


def test_candidates_are_judged_whatever_their_order() -> None:
    adapter, seen = awaken(build()), observe()
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = Observation(seen.query, seen.contexts[order], seen.query_tokens, seen.match[order], seen.observed[order])
    assert torch.allclose(adapter(moved).adapter, adapter(seen).adapter[order], atol=1e-5)
    assert torch.allclose(adapter(moved).outcomes, adapter(seen).outcomes[order], atol=1e-5)


def test_a_query_without_tokens_leaves_the_encoder() -> None:
    judged = build()(observe(m=0))
    assert torch.equal(judged.adapter, torch.zeros(N))


def test_every_parameter_learns() -> None:
    adapter = awaken(build())
    judged = adapter(observe())
    (judged.adapter.sum() + judged.qa.sum() + judged.outcomes.square().sum()).backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    # The same for all query tokens, so no token counts more for it.
    assert silent in ([], ["token_weight.bias"])


def test_contrast_prefers_tokens_that_tell_candidates_apart() -> None:
    match = torch.tensor([[0.9, 0.5, 0.9], [0.1, 0.5, 0.7], [0.1, 0.5, 0.8]])
    weights = contrast_weights(match)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > weights[2] > weights[1]
    assert weights[0] / weights[2] == pytest.approx(((0.9 - 1.1 / 3) / 0.1) ** 0.5, rel=1e-4)
    assert torch.allclose(contrast_weights(torch.rand(1, 4)), torch.full((4,), 0.25))


def test_is_silent_until_a_head_speaks() -> None:
    adapter = build()
    assert adapter.is_silent
    with torch.no_grad():
        adapter.score_head.bias.fill_(0.1)
    assert not adapter.is_silent
    assert not build(observed_context=False).is_silent


@pytest.mark.parametrize(
    ("corrected", "loss"),
    [
        ([[1.0, 0.0]], 0.0),  # the query itself
        ([[0.5, 0.5]], 0.0),  # half way
        ([[0.0, 2.0]], 1.0),  # beyond the context: alpha is clipped at 0
        ([[1.0, 1.0]], 0.5),  # beside the segment
    ],
)
def test_linear_normalisation_on_hand_computed_numbers(corrected: list, loss: float) -> None:
    query, context = torch.tensor([1.0, 0.0]), torch.tensor([[0.0, 1.0]])
    assert linear_normalisation_loss(torch.tensor(corrected), query, context) == pytest.approx(loss, abs=1e-6)
