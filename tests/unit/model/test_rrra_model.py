from dataclasses import dataclass

import numpy as np
import pytest
import torch
from rrra_models import QUESTIONS, fused, trained, with_words
from texts import TEXTS

from rrra_haystack.model.adapter.observation import Observation, StateTokens
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.segments import Segments


def test_it_ranks_the_answer_first(model: RRRAModel, codes: list[str]) -> None:
    assert [int(fused(model, codes, question).argmax()) for question in QUESTIONS] == [0, 2, 5, 10]


def test_weight_zero_keeps_the_encoders_order(model: RRRAModel) -> None:
    embeddings, codes = model.encode_documents(TEXTS, code="int8")
    query = model.encode_query(QUESTIONS[0])
    scores = model.score(query, codes, fusion_weight=0)
    assert np.array_equal(scores.fused, scores.base)
    assert scores.base == pytest.approx(embeddings @ query.embedding.numpy(), abs=0.005)


@pytest.mark.parametrize("wrong", [-1.0, float("nan")])
def test_impossible_fusion_weights(model: RRRAModel, codes: list[str], wrong: float) -> None:
    with pytest.raises(ValueError, match="fusion_weight"):
        fused(model, codes, fusion_weight=wrong)


def test_scores_without_candidates_or_words(model: RRRAModel, codes: list[str]) -> None:
    assert fused(model, []).shape == (0,)
    silent = model.score(model.encode_query(""), codes)
    assert np.isfinite(silent.fused).all()
    _, empty = model.encode_documents([""])
    assert fused(model, [*codes, *empty]).argmin() == len(codes)


def test_relevance_grows_with_the_score(model: RRRAModel, codes: list[str]) -> None:
    scores = model.score(model.encode_query(QUESTIONS[0]), codes)
    order = scores.fused.argsort()
    assert (np.diff(scores.relevance[order]) >= 0).all()
    assert ((scores.relevance >= 0) & (scores.relevance <= 1)).all()


def test_a_trained_adapter_is_asked_from_the_codes(model: RRRAModel) -> None:
    speaking = trained(model)
    _, codes = speaking.encode_documents(TEXTS, code="int8")
    query = speaking.encode_query(QUESTIONS[0])
    batch = speaking.read_codes(codes)
    tokens = torch.nn.functional.normalize(query.states, dim=-1)
    with torch.inference_mode():
        seen = Observation(query.embedding, batch.pooled, tokens, batch)
        judged = speaking.adapter(seen)
    scores = speaking.score(query, codes)
    assert scores.adapter == pytest.approx(judged.adapter.numpy(), abs=1e-5)
    assert not np.allclose(scores.adapter, model.score(query, batch).adapter, atol=1e-3)


@dataclass(frozen=True, kw_only=True)
class StateEncodings(StateTokens):
    pooled: torch.Tensor
    words: np.ndarray
    word_counts: np.ndarray


@pytest.mark.parametrize("is_trained", [False, True])
def test_token_states_score_as_their_codes_do(model: RRRAModel, is_trained: bool) -> None:
    judge = trained(model) if is_trained else model
    query = judge.encode_query(QUESTIONS[0])
    batch = judge.read_codes(judge.encode_documents(TEXTS, code="int8")[1])
    states = torch.nn.functional.normalize(batch.token_states(), dim=-1)
    encodings = StateEncodings(
        states, batch.segments, pooled=batch.pooled, words=batch.words, word_counts=batch.word_counts
    )
    scores, expected = judge.score(query, encodings), judge.score(query, batch)
    assert scores.base == pytest.approx(expected.base, abs=1e-6)
    assert scores.adapter == pytest.approx(expected.adapter, abs=0.01)
    assert scores.fused.argmax() == expected.fused.argmax()


def test_untrained_works_over_any_encoder(codes: list[str]) -> None:
    encoder = Encoder("all-MiniLM-L6-v2", truncate_dim=64, layer=-2)
    small = RRRAModel.untrained(encoder, code="int8")
    _, own = small.encode_documents(TEXTS)
    assert fused(small, own).argmax() == 0
    with pytest.raises(InvalidCodesError):
        fused(small, codes)


def test_scores_are_the_same_from_text_and_from_read_codes(model: RRRAModel, codes: list[str]) -> None:
    query = model.encode_query(QUESTIONS[1])
    assert np.array_equal(model.score(query, model.read_codes(codes)).fused, model.score(query, codes).fused)


@pytest.mark.parametrize("kind", ["int8", "4bit", "2bit", "1bit"])
def test_the_short_way_of_an_untrained_adapter_is_the_adapters_own(model: RRRAModel, kind: str) -> None:
    model = with_words(model, 0)
    _, codes = model.encode_documents([*TEXTS, ""], code=kind)
    query, batch = model.encode_query(QUESTIONS[0]), model.read_codes(codes)
    tokens = torch.nn.functional.normalize(query.states, dim=-1)
    with torch.inference_mode():
        seen = Observation(query.embedding, batch.pooled, tokens, batch)
        judged = model.adapter(seen)
    scores = model.score(query, batch)
    assert scores.base == pytest.approx(judged.base.numpy(), abs=1e-6)
    assert scores.adapter == pytest.approx(judged.adapter.numpy(), abs=1e-6)
    assert not judged.relevance_logit.any()


def test_a_trained_adapter_sees_in_the_codes_what_it_sees_in_floats(model: RRRAModel) -> None:
    speaking = trained(model)
    embeddings, codes = speaking.encode_documents(TEXTS, code="int8")
    query = speaking.encode_query(QUESTIONS[0])
    tokens = torch.nn.functional.normalize(query.states, dim=-1)
    states = [torch.zeros(0)] * len(TEXTS)
    for batch in speaking.encoder.encode(TEXTS, task="document", tokens_per_batch=4096):
        own = torch.nn.functional.normalize(speaking.project(batch.states), dim=-1).split(batch.lengths.tolist())
        for index, part in zip(batch.indices.tolist(), own, strict=True):
            states[index] = part
    whole = StateTokens(torch.cat(states), Segments(np.array([len(own) for own in states])))
    with torch.inference_mode():
        judged = speaking.adapter(Observation(query.embedding, torch.from_numpy(embeddings), tokens, whole))
    scores = speaking.score(query, codes)
    spread = judged.adapter.std().item()
    assert scores.base == pytest.approx(judged.base.numpy(), abs=0.005)
    assert scores.adapter == pytest.approx(judged.adapter.numpy(), abs=0.2 * spread)


@pytest.mark.parametrize("speaks", [False, True], ids=["untrained", "trained"])
@pytest.mark.parametrize("kind", ["int8", "4bit", "2bit", "1bit"])
def test_the_order_of_the_candidates_does_not_matter(model: RRRAModel, kind: str, speaks: bool) -> None:
    judge = trained(model) if speaks else model
    _, codes = judge.encode_documents([*TEXTS[:4], "", *TEXTS[4:]], code=kind)
    order = np.random.default_rng(0).permutation(len(codes))
    scores = fused(judge, codes)
    assert fused(judge, [codes[i] for i in order]) == pytest.approx(scores[order], abs=1e-5)


@pytest.mark.parametrize("speaks", [False, True], ids=["untrained", "trained"])
def test_no_candidates_no_scores(model: RRRAModel, speaks: bool) -> None:
    judge = trained(model) if speaks else model
    scores = judge.score(judge.encode_query(QUESTIONS[0]), [])
    for part in ("base", "adapter", "fused", "scaled", "relevance"):
        assert getattr(scores, part).shape == (0,)


@pytest.mark.parametrize("speaks", [False, True], ids=["untrained", "trained"])
@pytest.mark.parametrize("query", ["", "  ", "\u200b"])
def test_where_nothing_is_asked_all_candidates_are_alike(model: RRRAModel, query: str, speaks: bool) -> None:
    """An empty text is nearest to another one: candidates without text came first."""
    judge = trained(model) if speaks else model
    _, codes = judge.encode_documents([*TEXTS, "", "..."])
    scores = judge.score(judge.encode_query(query), codes)
    for part in (scores.base, scores.adapter, scores.fused):
        assert not part.any()
    assert scores.relevance.max() < 0.05


def test_a_loaded_model_is_neither_moved_nor_cast(model: RRRAModel, codes: list[str]) -> None:
    before = fused(model, codes)
    for change in (model.half, model.bfloat16, model.double, lambda: model.to("meta")):
        with pytest.raises(TypeError, match="neither moved nor cast: load it anew with device= or model_kwargs="):
            change()
    # What holds a model asks for what it is already.
    torch.nn.Sequential(model).float().to("cpu").share_memory()
    assert np.array_equal(fused(model, codes), before)


def test_weight_zero_ranks_as_the_encoder(model: RRRAModel, codes: list[str]) -> None:
    embeddings, _ = model.encode_documents(TEXTS)
    for question in QUESTIONS:
        query = model.encode_query(question)
        cosines = embeddings @ query.embedding.numpy()
        order = model.score(query, codes, fusion_weight=0).fused.argsort()[::-1]
        # Nothing that is clearly behind stands before.
        assert (np.diff(cosines[order]) < 0.005).all()
        assert order[0] == cosines.argmax()


@pytest.mark.parametrize("code", ["int8", "2bit", "1bit"])
def test_the_words_in_common_add_to_the_adapter_score(model: RRRAModel, code: str) -> None:
    texts = ["The part XK-962 is a pump.", "The part XK-926 is a pump.", "The part XK-629 is a pump."]
    silent, speaking = with_words(model, 0), with_words(model, 0.5)
    _, codes = speaking.encode_documents(texts, code=code)
    query = speaking.encode_query("part XK-926")
    without, scores = silent.score(query, codes), speaking.score(query, codes)
    added = scores.adapter - without.adapter
    assert added.argmax() == scores.fused.argmax() == 1
    assert added[0] == pytest.approx(added[2])
    # Its words once each, and both pairs.
    assert 0.5 / 1.9 < added.max() < 0.5
    assert scores.base == pytest.approx(without.base)


def test_words_leave_the_encoders_order_at_weight_zero(model: RRRAModel, codes: list[str]) -> None:
    query = model.encode_query(QUESTIONS[1])
    scores = with_words(model, 5).score(query, codes, fusion_weight=0)
    assert np.array_equal(scores.fused, scores.base)


def test_words_beyond_what_the_encoder_reads_count(model: RRRAModel) -> None:
    long = "Bread is made of flour. " * 200
    _, codes = model.encode_documents([long, f"{long} Zeppelins."])
    query = model.encode_query("zeppelin")
    assert with_words(model, 0).score(query, codes).adapter.argmax() == 0
    assert with_words(model, 0.1).score(query, codes).adapter.argmax() == 1


@pytest.mark.parametrize("weight", [0, 0.5, 3, 20])
def test_scaled_scores_lie_between_0_and_1_in_the_same_order(model: RRRAModel, codes: list[str], weight: float) -> None:
    scores = model.score(model.encode_query(QUESTIONS[2]), codes, fusion_weight=weight)
    assert ((scores.scaled > 0) & (scores.scaled < 1)).all()
    assert np.array_equal(scores.scaled.argsort(), scores.fused.argsort())
    own = model.score(model.encode_query(QUESTIONS[2]), codes)
    assert np.array_equal(scores.relevance, own.relevance)


def test_embeddings_are_those_of_the_encoder(model: RRRAModel) -> None:
    embeddings, _ = model.encode_documents([*TEXTS[:3], ""])
    assert embeddings.dtype == np.float32
    (batch,) = model.encoder.encode([*TEXTS[:3], ""], task="document")
    assert np.array_equal(embeddings[batch.indices.numpy()], batch.pooled.numpy())
    assert model.encode_documents([])[0].shape == (0, 384)
    assert model.encode_documents([])[1] == []
