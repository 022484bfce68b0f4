from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn
from torch.nn.functional import cosine_similarity, normalize

from rrra_haystack.model.adapter.adapter import RelationAwareAdapter
from rrra_haystack.model.adapter.observation import Judgement, Observation, StateTokens
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.adapter.relations import contrast_weights, relation_product
from rrra_haystack.model.segments import Segments

D, H, N, M = 16, 8, 5, 3


LENGTHS = np.array([20, 3, 35, 1, 16])
EVERYTHING = {"token_relation": True, "probes": 2}


def observe(n: int = N, m: int = M) -> Observation:
    generator = torch.Generator().manual_seed(0)
    query, contexts = torch.randn(D, generator=generator), torch.randn(n, D, generator=generator)
    query_tokens = normalize(torch.randn(m, H, generator=generator), dim=-1)
    lengths = LENGTHS[:n]
    states = normalize(torch.randn(int(lengths.sum()), H, generator=generator), dim=-1)
    return Observation(query, contexts, query_tokens, StateTokens(states, Segments(lengths)))


def match_of(seen: Observation) -> torch.Tensor:
    similarity = seen.query_tokens @ seen.tokens.states.T
    runs = similarity.split(seen.tokens.segments.lengths.tolist(), dim=1)
    return torch.stack([run.amax(dim=1) for run in runs])


def reorder(seen: Observation, order: list[int]) -> Observation:
    runs = seen.tokens.states.split(seen.tokens.segments.lengths.tolist())
    states = torch.cat([runs[number] for number in order])
    tokens = StateTokens(states, Segments(seen.tokens.segments.lengths[order]))
    return replace(seen, contexts=seen.contexts[order], tokens=tokens)


def build(**parts: bool | int) -> RelationAwareAdapter:
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
    assert torch.allclose(judged.adapter, match_of(seen) @ contrast_weights(match_of(seen)), atol=1e-6)
    assert torch.allclose(judged.base, cosine_similarity(seen.contexts, seen.query[None]), atol=1e-6)
    assert torch.allclose(cosine_similarity(judged.corrected, seen.contexts), torch.ones(N), atol=1e-6)
    assert torch.equal(judged.relevance_logit, torch.zeros(N))


def test_without_contrast_it_is_the_mean_match() -> None:
    seen = observe()
    assert torch.allclose(build(contrast_weighting=False)(seen).adapter, match_of(seen).mean(dim=1), atol=1e-6)


def test_the_published_form_sees_the_pooled_embeddings_only() -> None:
    adapter = build(observed_context=False)
    seen = observe()
    judged = adapter(seen)
    assert torch.allclose(judged.adapter, judged.base, atol=1e-6)
    tokens = StateTokens(seen.tokens.states * 0, seen.tokens.segments)
    changed = replace(seen, query_tokens=seen.query_tokens * 0, tokens=tokens)
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
    corrected = adapter(observe()).corrected
    assert torch.allclose(corrected, corrected[0].expand(N, D), atol=1e-6)


def test_without_context_initialisation_it_begins_elsewhere() -> None:
    seen = observe()
    corrected = build(context_initialisation=False)(seen).corrected
    assert not torch.allclose(cosine_similarity(corrected, seen.contexts), torch.ones(N), atol=1e-4)


def test_it_must_read_something() -> None:
    with pytest.raises(ValidationError, match="must read something"):
        build(pooled_relation=False, observed_context=False)


def test_candidates_are_judged_whatever_their_order() -> None:
    adapter, seen = awaken(build(**EVERYTHING)), observe()
    order = [3, 0, 4, 1, 2]
    moved = reorder(seen, order)
    assert torch.allclose(adapter(moved).adapter, adapter(seen).adapter[order], atol=1e-5)
    assert torch.allclose(adapter(moved).outcomes, adapter(seen).outcomes[order], atol=1e-5)


def test_a_query_without_tokens_leaves_the_encoder() -> None:
    judged = build()(observe(m=0))
    assert torch.equal(judged.adapter, torch.zeros(N))


def test_every_parameter_learns() -> None:
    adapter = awaken(build(**EVERYTHING))
    judged = adapter(observe())
    (judged.adapter.square().sum() + judged.corrected.sum() + judged.outcomes.square().sum()).backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.any()]
    # A softmax over the query tokens does not see what is added to all of them.
    assert set(silent) <= {"token_weight.bias", "scan.attention.bias"}


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


PARTS = [
    "pooled_relation",
    "observed_context",
    "contrast_weighting",
    "residual",
    "context_initialisation",
    "score_correction",
]


def test_config_survives_json_and_rejects_what_it_does_not_know() -> None:
    config = AdapterConfig(pooled_dim=D, token_dim=H, residual=False)
    assert AdapterConfig.model_validate_json(config.model_dump_json()) == config
    with pytest.raises(ValidationError, match="colour"):
        AdapterConfig(pooled_dim=D, token_dim=H, colour="red")
    with pytest.raises(ValidationError, match="hidden_dim"):
        AdapterConfig(pooled_dim=D, token_dim=H, hidden_dim=0)


@pytest.mark.parametrize(("query", "context"), [((D,), (N, D)), ((M, D), (N, M, D))])
def test_relation_product_has_the_gradients_of_the_layer(query: tuple, context: tuple) -> None:
    torch.manual_seed(0)
    layer, q, c = nn.Linear(3 * D, 7), torch.randn(query, requires_grad=True), torch.randn(context)
    q_wide = q.expand_as(c)
    direct = layer(torch.cat([q_wide - c, q_wide * c, q_wide + c], dim=-1)).square().sum()
    expected = torch.autograd.grad(direct, [layer.weight, layer.bias, q])
    found = torch.autograd.grad(relation_product(layer, q, c).square().sum(), [layer.weight, layer.bias, q])
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-3)


@given(order=st.permutations(range(N)), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_judgements_move_with_their_candidates(order: list[int], seed: int) -> None:
    adapter, seen = build(**EVERYTHING), observe()
    torch.manual_seed(seed)
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.3)
    moved = reorder(seen, list(order))
    here, there = adapter(seen), adapter(moved)
    for part in ("base", "corrected", "adapter", "outcomes", "relevance_logit"):
        assert torch.allclose(getattr(there, part), getattr(here, part)[order], atol=1e-5)


def test_query_tokens_move_without_effect() -> None:
    adapter, seen, order = awaken(build(**EVERYTHING)), observe(), [2, 0, 1]
    moved = replace(seen, query_tokens=seen.query_tokens[order])
    assert torch.allclose(adapter(moved).adapter, adapter(seen).adapter, atol=1e-5)


def test_lengths_of_pooled_embeddings_do_not_matter() -> None:
    adapter, seen = awaken(build(**EVERYTHING)), observe()
    longer = replace(seen, query=seen.query * 3, contexts=seen.contexts * 0.5)
    assert torch.allclose(adapter(longer).adapter, adapter(seen).adapter, atol=1e-5)
    assert torch.allclose(adapter(longer).base, adapter(seen).base, atol=1e-6)


def test_a_trained_adapter_judges_a_query_without_tokens() -> None:
    judged = awaken(build(**EVERYTHING))(observe(m=0))
    for part in ("base", "corrected", "adapter", "outcomes"):
        assert torch.isfinite(getattr(judged, part)).all()
    assert judged.adapter.unique().numel() == N


def test_no_candidates_no_judgements() -> None:
    judged = awaken(build(**EVERYTHING))(observe(n=0))
    assert judged.adapter.shape == judged.base.shape == (0,)
    assert judged.outcomes.shape == (0, 4)


def test_a_single_candidate_is_its_mean_match() -> None:
    seen = observe(n=1)
    assert torch.allclose(build()(seen).adapter, match_of(seen).mean(dim=1), atol=1e-6)


def test_without_residual_an_untrained_adapter_still_tells_candidates_apart() -> None:
    # The published form has nothing but the QA score to go by.
    adapter = build(residual=False, observed_context=False)
    seen = observe()
    judged = adapter(seen)
    assert cosine_similarity(judged.corrected, seen.query[None]).std() > 1e-3
    judged.adapter.square().sum().backward()
    assert adapter.correction.weight.grad.abs().max() < 1e3


@pytest.mark.parametrize("off", PARTS)
def test_every_parameter_learns_whichever_part_is_off(off: str) -> None:
    reading_tokens = EVERYTHING if off != "observed_context" else {}
    adapter = awaken(build(**reading_tokens | {off: False}))
    judged = adapter(observe())
    (judged.adapter.square().sum() + judged.outcomes.square().sum() + judged.corrected.sum()).backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-7]
    # A softmax over the query tokens does not see what is added to all of them.
    assert set(silent) <= {"token_weight.bias", "scan.attention.bias"}


def test_one_step_wakes_an_untrained_adapter() -> None:
    adapter, seen = build(), observe()
    step = torch.optim.SGD(adapter.parameters(), lr=0.1)
    target = torch.tensor([0, 1, 2, 3, 0])
    losses = []
    for _ in range(20):
        judged = adapter(seen)
        loss = nn.functional.cross_entropy(judged.outcomes, target)
        losses.append(loss.item())
        step.zero_grad()
        loss.backward()
        step.step()
    assert losses[-1] < losses[0]
    assert not adapter.is_silent


def test_relevance_logit_on_hand_computed_numbers() -> None:
    outcomes = torch.tensor([[0.3, 0.2, 0.1, 0.4], [0.05, 0.75, 0.1, 0.1]]).log()
    zeros = torch.zeros(2)
    judged = Judgement(base=zeros, adapter=zeros, outcomes=outcomes + 5)
    assert judged.relevance_logit.sigmoid().tolist() == pytest.approx([0.5, 0.8])


@given(seed=st.integers(0, 1000), n=st.integers(1, 6), m=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_weights_of_query_tokens_are_shares(seed: int, n: int, m: int) -> None:
    torch.manual_seed(seed)
    match = torch.rand(n, m) * 2 - 1
    adapter = awaken(build())
    learned = adapter.learned_weights(torch.randn(m, H))
    for weights in (contrast_weights(match), learned, adapter.query_token_weights(learned, match)):
        assert weights.shape == (m,)
        assert (weights > 0).all()
        assert weights.sum().item() == pytest.approx(1, abs=1e-5)


def test_a_learned_weight_shifts_the_match() -> None:
    adapter, seen = build(contrast_weighting=False), observe()
    with torch.no_grad():
        adapter.token_weight.weight.copy_(seen.query_tokens[1][None] * 50)
    assert adapter.is_silent
    weights = adapter.query_token_weights(adapter.learned_weights(seen.query_tokens), match_of(seen))
    assert weights[1] > 0.99
    assert torch.allclose(adapter(seen).adapter, match_of(seen)[:, 1], atol=0.02)


@pytest.mark.parametrize("name", ["score_head.weight", "score_head.bias", "outcome_head.weight", "outcome_head.bias"])
def test_each_head_can_speak(name: str) -> None:
    adapter = build()
    with torch.no_grad():
        adapter.get_parameter(name).view(-1)[0] = 1e-3
    assert not adapter.is_silent


def test_another_mixture_of_scores_is_not_silent() -> None:
    adapter = build()
    with torch.no_grad():
        adapter.score_mix.copy_(torch.tensor([0.9, 0.1, 0.0]))
    assert not adapter.is_silent


def test_parts_that_are_off_have_no_parameters() -> None:
    published = {name.split(".")[0] for name, _ in build(observed_context=False).named_parameters()}
    heads = {"trunk", "correction", "outcome_head", "score_head", "score_mix"}
    assert published == heads | {"pooled_relation"}
    tokens = {name.split(".")[0] for name, _ in build(pooled_relation=False, **EVERYTHING).named_parameters()}
    assert tokens == heads | {"token_relation", "token_weight", "scan"}
    with pytest.raises(ValidationError, match="probes read the token states"):
        build(observed_context=False, probes=2)


def test_the_scan_finds_one_telling_token_whatever_the_length() -> None:
    adapter = build(probes=1)
    scan = adapter.scan
    with torch.no_grad():
        for parameter in scan.place.parameters():
            parameter.zero_()
        scan.place[0].weight[0, 0], scan.place[2].weight[0, 0] = 1.0, 1.0
    features = torch.zeros(60, 5)
    features[4, 0] = features[59, 0] = 1.0
    short, none, long = scan(features.T, Segments(np.array([10, 20, 30]))).tolist()
    assert short > long > none == pytest.approx(0, abs=1e-6)
    # One loud token of ten, as a mean of exponentials: GELU(4) = 3.99987.
    assert short == pytest.approx(np.log((np.exp(39.9987) + 9) / 10) / 10, abs=1e-4)


def test_coverage_wants_the_query_in_one_place() -> None:
    adapter = build()
    with torch.no_grad():
        adapter.score_mix.copy_(torch.tensor([0.0, 0.0, 1.0]))
    query_tokens = torch.eye(H)[:2]
    together, apart = torch.zeros(64, H), torch.zeros(64, H)
    together[:, 7] = apart[:, 7] = 1.0
    together[3], together[20] = query_tokens
    apart[3], apart[50] = query_tokens
    tokens = StateTokens(torch.cat([together, apart]), Segments(np.array([64, 64])))
    seen = Observation(torch.ones(D), torch.ones(2, D), query_tokens, tokens)
    assert adapter(seen).adapter.tolist() == pytest.approx([1.0, 0.5])
