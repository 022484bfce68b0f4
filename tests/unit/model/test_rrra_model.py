import gc
import json
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from texts import TEXTS

from rrra_haystack.model.adapter.observation import Observation, StateTokens
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.model.segments import Segments
from rrra_haystack.reader.loading import DEFAULT_READER

QUESTIONS = ["Where does the Danube begin?", "Why does dough rise?", "Which moon is the biggest?", "What is scurvy?"]


@pytest.fixture(scope="module")
def codes(model: RRRAModel) -> list[str]:
    return model.encode_documents(TEXTS)[1]


def fused(model: RRRAModel, codes: list[str], question: str = QUESTIONS[0], **options: float) -> np.ndarray:
    return model.score(model.encode_query(question), codes, **options).fused


def with_projection(model: RRRAModel, dim: int = 128) -> RRRAModel:
    torch.manual_seed(0)
    adapter = model.config.adapter.model_copy(update={"token_dim": dim})
    return RRRAModel(model.encoder, model.config.model_copy(update={"adapter": adapter}))


def with_words(model: RRRAModel, weight: float) -> RRRAModel:
    return RRRAModel(model.encoder, model.config.model_copy(update={"lexical_weight": weight}))


@pytest.fixture(scope="module")
def saved(model: RRRAModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "saved"
    model.save(path)
    return path


@pytest.fixture
def bare(model: RRRAModel, tmp_path: Path) -> Path:
    """A model without its encoder, small enough to be broken."""
    model.save(tmp_path / "bare", include_encoder=False)
    return tmp_path / "bare"


def test_it_ranks_the_answer_first(model: RRRAModel, codes: list[str]) -> None:
    assert [int(fused(model, codes, question).argmax()) for question in QUESTIONS] == [0, 2, 5, 10]


def test_a_saved_model_scores_the_same(model: RRRAModel, codes: list[str], saved: Path) -> None:
    assert np.array_equal(fused(RRRAModel.load(saved), codes), fused(model, codes))


def test_a_saved_model_opens_in_sentence_transformers(saved: Path) -> None:
    original = SentenceTransformer(RRRAModel.shared("all-MiniLM-L6-v2").encoder._source["model_name_or_path"])
    assert SentenceTransformer(str(saved)).encode(TEXTS[:3]) == pytest.approx(original.encode(TEXTS[:3]), abs=1e-6)


def test_only_safetensors_and_json_are_written(saved: Path) -> None:
    suffixes = {path.suffix for path in saved.rglob("*") if path.is_file()}
    assert suffixes <= {".safetensors", ".json", ".md", ".txt"}


def test_a_model_without_encoder_finds_it_by_name(model: RRRAModel, codes: list[str], bare: Path) -> None:
    assert not (bare / "modules.json").exists()
    assert np.array_equal(fused(RRRAModel.load(bare), codes), fused(model, codes))


def test_a_failed_save_leaves_the_old_model(model: RRRAModel, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise OSError("disk full")

    before = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    monkeypatch.setattr(model.encoder, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save(bare)
    assert {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()} == before
    assert [path.name for path in bare.parent.iterdir()] == ["bare"]


def test_shared_is_one_copy_for_the_same_options(model: RRRAModel) -> None:
    assert RRRAModel.shared("all-MiniLM-L6-v2", device=None, trust_remote_code=False) is model
    assert RRRAModel.shared("all-MiniLM-L6-v2", truncate_dim=64) is not model


def test_both_names_of_the_offline_encoder_are_one_model(model: RRRAModel) -> None:
    assert RRRAModel.shared("sentence-transformers/all-MiniLM-L6-v2") is model


def test_many_threads_load_one_copy(bare: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda _: RRRAModel.shared(str(bare)), range(8)))
    assert len({id(copy) for copy in copies}) == 1


def test_threads_get_what_one_alone_gets(model: RRRAModel, codes: list[str]) -> None:
    serial = [fused(model, codes, question) for question in QUESTIONS]
    fresh = RRRAModel.load("all-MiniLM-L6-v2")

    def work(i: int) -> np.ndarray:
        if i % 3 == 0:
            fresh.encode_documents(TEXTS[:4])
        return fused(fresh, codes, QUESTIONS[i % len(QUESTIONS)])

    with ThreadPoolExecutor(8) as pool:
        for i, scores in enumerate(pool.map(work, range(32))):
            assert scores == pytest.approx(serial[i % len(QUESTIONS)], abs=1e-6)


def test_a_query_is_encoded_once(model: RRRAModel) -> None:
    assert model.encode_query("once") is model.encode_query("once")
    assert model.encode_query("once", prompt="query: ") is not model.encode_query("once")


def test_a_query_is_encoded_anew_after_the_weights_changed(model: RRRAModel) -> None:
    projected = with_projection(model)
    before = projected.encode_query("once").states
    with torch.no_grad():
        projected.projection.weight.mul_(2)
    projected.refresh()
    assert torch.allclose(projected.encode_query("once").states, 2 * before)


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


@pytest.mark.parametrize("kind", ["int8", "4bit", "2bit", "1bit"])
def test_a_projection_is_saved_and_used(model: RRRAModel, kind: str, tmp_path: Path) -> None:
    projected = with_projection(model)
    _, codes = projected.encode_documents(TEXTS, code=kind)
    projected.save(tmp_path / "projected", include_encoder=False)
    loaded = RRRAModel.load(tmp_path / "projected")
    assert loaded.codec().token_dim == 128
    assert np.array_equal(fused(loaded, codes), fused(projected, codes))


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


def test_the_fingerprint_is_of_the_weights_not_of_the_format(model: RRRAModel) -> None:
    exact = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float32})
    assert exact.codec().fingerprint == model.codec().fingerprint
    with torch.no_grad():
        next(exact.encoder.transformer.parameters()).mul_(1.1)
    exact.refresh()
    assert exact.codec().fingerprint != model.codec().fingerprint


def test_codes_of_other_weights_are_refused(model: RRRAModel, codes: list[str]) -> None:
    torch.manual_seed(1)
    with pytest.raises(InvalidCodesError, match="made by another model"):
        fused(with_projection(model, 384 - 8), codes)


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def reshape(directory: Path) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    config["adapter"]["hidden_dim"] = 17
    (directory / "rrra" / "config.json").write_text(json.dumps(config))


def rewrite(directory: Path, **changes: object) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    (directory / "rrra" / "config.json").write_text(json.dumps(config | changes))


FLAWS = {
    "another version": (lambda d: rewrite(d, version=9), ValueError, "has version 9"),
    "unknown key": (lambda d: rewrite(d, colour="red"), ValueError, "colour"),
    "impossible value": (lambda d: rewrite(d, fusion_weight=-1), ValueError, "fusion_weight"),
    "impossible weight": (lambda d: rewrite(d, lexical_weight=-1), ValueError, "lexical_weight"),
    "no JSON": (lambda d: damage(d / "rrra" / "config.json"), ValueError, "not valid JSON"),
    "damaged weights": (lambda d: damage(d / "rrra" / "adapter.safetensors"), ValueError, "is damaged"),
    "missing weights": (lambda d: (d / "rrra" / "adapter.safetensors").unlink(), FileNotFoundError, "is missing"),
    "other shapes": (reshape, ValueError, "does not fit its config.json"),
}


@pytest.mark.parametrize(("flaw", "error", "message"), FLAWS.values(), ids=FLAWS)
def test_flawed_directories(bare: Path, flaw, error: type[Exception], message: str) -> None:
    flaw(bare)
    with pytest.raises(error, match=message):
        RRRAModel.load(bare)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", "/no/such/folder"])
def test_a_model_that_is_nowhere(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="There is no model"):
        RRRAModel.load(name)


def test_another_dimension_than_the_adapters(bare: Path) -> None:
    with pytest.raises(ValueError, match="truncate_dim it was made with"):
        RRRAModel.load(bare, truncate_dim=64)


def test_untrained_works_over_any_encoder(codes: list[str]) -> None:
    encoder = Encoder("all-MiniLM-L6-v2", truncate_dim=64, layer=-2)
    small = RRRAModel.untrained(encoder, code="int8")
    _, own = small.encode_documents(TEXTS)
    assert fused(small, own).argmax() == 0
    with pytest.raises(InvalidCodesError):
        fused(small, codes)


def trained(model: RRRAModel, **parts: object) -> RRRAModel:
    """Another model over the same encoder, with an adapter whose every parameter is random and nothing besides."""
    adapter = model.config.adapter.model_copy(update=parts)
    config = model.config.model_copy(update={"adapter": adapter, "lexical_weight": 0.0})
    other = RRRAModel(model.encoder, config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in other.adapter.parameters():
            parameter.normal_(std=0.1)
    other.refresh()
    return other


def test_config_survives_json(model: RRRAModel) -> None:
    config = model.config.model_copy(update={"fusion_weight": 1.5, "code": "int8", "layer": -2, "revision": "main"})
    assert RRRAConfig.model_validate_json(config.model_dump_json()) == config
    assert RRRAConfig(encoder="x", adapter=AdapterConfig(pooled_dim=8, token_dim=8)).version == 1


def test_a_saved_config_is_the_models(model: RRRAModel, saved: Path) -> None:
    loaded = RRRAModel.load(saved)
    assert loaded.config == model.config
    assert loaded.codec() == model.codec()
    assert loaded.encoder.name == "all-MiniLM-L6-v2"


def test_a_saved_encoder_is_the_original_in_float32(saved: Path) -> None:
    original = RRRAModel.shared("all-MiniLM-L6-v2").encoder._source["model_name_or_path"]
    kept, published = (SentenceTransformer(str(path)).state_dict() for path in (saved, original))
    assert kept.keys() == published.keys()
    assert all(torch.equal(kept[name], published[name]) for name in kept)
    assert all(tensor.dtype == torch.float32 for tensor in kept.values() if tensor.is_floating_point())


def test_saving_over_its_own_directory(model: RRRAModel, saved: Path, codes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model"
    RRRAModel.load(saved).save(path)
    (path / "stale").write_text("")
    RRRAModel.load(path).save(path)
    assert not (path / "stale").exists()
    assert [found.name for found in tmp_path.iterdir()] == ["model"]
    assert np.array_equal(fused(RRRAModel.load(path), codes), fused(model, codes))


def test_a_save_that_fails_at_the_end_leaves_the_old_model(model: RRRAModel, bare: Path) -> None:
    before = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    other = with_projection(model)
    # The card is written last, and half a character cannot be.
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        other.save(bare, model_card="\ud83d")
    assert {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()} == before
    assert [path.name for path in bare.parent.iterdir()] == ["bare"]


@pytest.mark.parametrize(
    "parts",
    [{}, {"observed_context": False}, {"pooled_relation": False}, {"residual": False}, {"contrast_weighting": False}],
    ids=str,
)
def test_a_trained_adapter_is_saved(model: RRRAModel, parts: dict, tmp_path: Path) -> None:
    speaking = trained(model, **parts)
    _, codes = speaking.encode_documents(TEXTS, code="int8")
    speaking.save(tmp_path / "trained", include_encoder=False)
    loaded = RRRAModel.load(tmp_path / "trained")
    assert not loaded.adapter.is_silent
    one, other = (m.score(m.encode_query(QUESTIONS[0]), codes) for m in (speaking, loaded))
    for part in ("base", "adapter", "fused", "scaled", "relevance"):
        assert np.array_equal(getattr(one, part), getattr(other, part))
    assert "trained adapter" in (tmp_path / "trained" / "README.md").read_text()
    assert "untrained adapter" not in (tmp_path / "trained" / "README.md").read_text()


def test_the_card_says_that_nothing_was_trained(bare: Path) -> None:
    assert "an untrained adapter" in (bare / "README.md").read_text()


def test_another_layer_is_saved(codes: list[str], tmp_path: Path) -> None:
    deep = RRRAModel.untrained(Encoder("all-MiniLM-L6-v2", layer=-2))
    _, own = deep.encode_documents(TEXTS)
    deep.save(tmp_path / "deep")
    loaded = RRRAModel.load(tmp_path / "deep")
    assert loaded.encoder.layer == -2
    assert np.array_equal(fused(loaded, own), fused(deep, own))
    with pytest.raises(InvalidCodesError, match="with other weights"):
        fused(loaded, codes)
    original = SentenceTransformer(deep.encoder._source["model_name_or_path"])
    reopened = SentenceTransformer(str(tmp_path / "deep"))
    assert reopened.encode(TEXTS[:2]) == pytest.approx(original.encode(TEXTS[:2]), abs=1e-6)


def test_a_truncated_model_is_saved(tmp_path: Path) -> None:
    small = RRRAModel.load("all-MiniLM-L6-v2", truncate_dim=64)
    _, own = small.encode_documents(TEXTS)
    small.save(tmp_path / "small")
    loaded = RRRAModel.load(tmp_path / "small")
    assert loaded.encoder.dimension == 64
    assert np.array_equal(fused(loaded, own), fused(small, own))


def test_saving_keeps_the_format_out_of_the_fingerprint(saved: Path, model: RRRAModel) -> None:
    exact = RRRAModel.load(saved, model_kwargs={"dtype": torch.float32})
    assert exact.encoder.dtype == torch.float32
    assert exact.codec() == model.codec()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_codes_are_read_whatever_format_the_encoder_runs_in(
    model: RRRAModel, codes: list[str], dtype: torch.dtype
) -> None:
    other = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": dtype})
    assert fused(other, codes) == pytest.approx(fused(model, codes), abs=0.02)


def test_codes_of_a_further_trained_encoder_are_refused(codes: list[str]) -> None:
    further = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float32})
    assert fused(further, codes).shape == (len(TEXTS),)
    with torch.no_grad():
        for parameter in further.encoder.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    further.refresh()
    with pytest.raises(InvalidCodesError, match="were made by another model or with other weights") as error:
        further.read_codes(codes, names=[f"doc-{i}" for i in range(len(codes))])
    assert "document doc-0 " in str(error.value)
    assert "Index the document again" in str(error.value)


def test_another_projection_is_another_model(model: RRRAModel) -> None:
    one = with_projection(model)
    _, codes = one.encode_documents(TEXTS)
    torch.manual_seed(9)
    other = RRRAModel(one.encoder, one.config)
    with pytest.raises(InvalidCodesError, match="with other weights"):
        fused(other, codes)


def test_training_the_adapter_leaves_the_codes_valid(model: RRRAModel, codes: list[str]) -> None:
    assert trained(model).codec() == model.codec()
    assert fused(trained(model), codes).shape == (len(TEXTS),)


def test_two_kinds_of_two_models_in_one_list_are_refused(model: RRRAModel, codes: list[str]) -> None:
    _, foreign = with_projection(model).encode_documents(TEXTS[:1], code="int8")
    with pytest.raises(InvalidCodesError, match="document number 3 were made by another model"):
        fused(model, [*codes[:3], *foreign])


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


def test_a_query_without_words_keeps_the_encoders_order(model: RRRAModel, codes: list[str]) -> None:
    scores = model.score(model.encode_query(""), codes)
    assert not scores.adapter.any()
    assert np.array_equal(scores.fused.argsort(), scores.base.argsort())


def test_weight_zero_ranks_as_the_encoder(model: RRRAModel, codes: list[str]) -> None:
    embeddings, _ = model.encode_documents(TEXTS)
    for question in QUESTIONS:
        query = model.encode_query(question)
        cosines = embeddings @ query.embedding.numpy()
        order = model.score(query, codes, fusion_weight=0).fused.argsort()[::-1]
        # Nothing that is clearly behind stands before.
        assert (np.diff(cosines[order]) < 0.005).all()
        assert order[0] == cosines.argmax()


@pytest.mark.parametrize("speaks", [False, True], ids=["untrained", "trained"])
def test_a_list_may_mix_kinds(model: RRRAModel, speaks: bool) -> None:
    judge = trained(model) if speaks else model
    fine, coarse = (judge.encode_documents(TEXTS, code=kind)[1] for kind in ("int8", "4bit"))
    mixed = [one if i % 2 else other for i, (one, other) in enumerate(zip(fine, coarse, strict=True))]
    assert fused(judge, mixed) == pytest.approx(fused(judge, fine), abs=0.02)


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


def test_int8_and_1bit_agree_on_the_best(model: RRRAModel, codes: list[str]) -> None:
    _, precise = model.encode_documents(TEXTS, code="int8")
    assert len(precise[0]) > 4 * len(codes[0])
    for question in QUESTIONS:
        assert fused(model, precise, question).argmax() == fused(model, codes, question).argmax()
        assert fused(model, precise, question) == pytest.approx(fused(model, codes, question), abs=0.15)


def test_embeddings_are_those_of_the_encoder(model: RRRAModel) -> None:
    embeddings, _ = model.encode_documents([*TEXTS[:3], ""])
    assert embeddings.dtype == np.float32
    (batch,) = model.encoder.encode([*TEXTS[:3], ""], task="document")
    assert np.array_equal(embeddings[batch.indices.numpy()], batch.pooled.numpy())
    assert model.encode_documents([])[0].shape == (0, 384)
    assert model.encode_documents([])[1] == []


def test_only_the_last_queries_are_remembered(model: RRRAModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rrra_haystack.model.rrra_model._QUERIES_KEPT", 4)
    fresh = RRRAModel(model.encoder, model.config)
    first = fresh.encode_query("0")
    for number in range(1, 4):
        fresh.encode_query(str(number))
    assert fresh.encode_query("0") is first
    fresh.encode_query("4")
    assert len(fresh._queries) == 4
    assert fresh.encode_query("0") is first
    assert ("1", None) not in fresh._queries


def test_a_prompt_is_part_of_a_remembered_query(model: RRRAModel) -> None:
    plain, prompted = model.encode_query("tea"), model.encode_query("tea", prompt="Represent this query: ")
    assert not torch.allclose(plain.embedding, prompted.embedding, atol=0.01)
    assert plain.states.shape == prompted.states.shape


def test_threads_that_share_a_model_get_what_one_alone_gets(model: RRRAModel) -> None:
    texts = [[f"{text} {number}" for text in TEXTS[:5]] for number in range(16)]
    serial = RRRAModel(model.encoder, model.config)
    expected = [fused(serial, serial.encode_documents(own)[1], f"{QUESTIONS[0]} {i}") for i, own in enumerate(texts)]
    shared = RRRAModel(model.encoder, model.config)

    def work(i: int) -> np.ndarray:
        return fused(shared, shared.encode_documents(texts[i])[1], f"{QUESTIONS[0]} {i}")

    with ThreadPoolExecutor(8) as pool:
        for found, alone in zip(pool.map(work, range(16)), expected, strict=True):
            assert found == pytest.approx(alone, abs=1e-6)


def test_a_shared_model_is_released_with_its_last_user(bare: Path) -> None:
    held = RRRAModel.shared(str(bare), truncate_dim=None)
    assert RRRAModel.shared(bare) is held
    assert RRRAModel.shared(str(bare), model_kwargs={"dtype": torch.float32}) is not held
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def no_object(directory: Path) -> None:
    (directory / "rrra" / "config.json").write_text("[]")


def without_version(directory: Path) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    del config["version"]
    (directory / "rrra" / "config.json").write_text(json.dumps(config))


def swap_weights(directory: Path) -> None:
    other = RRRAModel.shared("all-MiniLM-L6-v2")
    with_projection(other).save(directory.parent / "other", include_encoder=False)
    weights = (directory.parent / "other" / "rrra" / "adapter.safetensors").read_bytes()
    (directory / "rrra" / "adapter.safetensors").write_bytes(weights)


def cut(directory: Path, size: int) -> None:
    path = directory / "rrra" / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:size])


MORE_FLAWS = {
    "no object": (no_object, ValueError, "not a valid model configuration"),
    "no version": (without_version, ValueError, "has version None, but this release of rrra-haystack reads version 1"),
    "unknown part": (lambda d: rewrite(d, adapter={"pooled_dim": 384, "token_dim": 384, "x": 1}), ValueError, "x: "),
    "unknown kind": (lambda d: rewrite(d, code="3bit"), ValueError, "code: "),
    "weights of another model": (swap_weights, ValueError, "come from different models"),
    "empty weights": (lambda d: cut(d, 0), ValueError, "is damaged"),
    "half of the weights": (lambda d: cut(d, 100_000), ValueError, "is damaged"),
    "all weights but one byte": (lambda d: cut(d, -1), ValueError, "is damaged"),
}


@pytest.mark.parametrize(("flaw", "error", "message"), MORE_FLAWS.values(), ids=MORE_FLAWS)
def test_more_flawed_directories(bare: Path, flaw, error: type[Exception], message: str) -> None:
    flaw(bare)
    with pytest.raises(error, match=message) as raised:
        RRRAModel.load(bare)
    assert str(bare / "rrra") in str(raised.value)


def test_damaged_encoder_weights(model: RRRAModel, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match="model"):
        RRRAModel.load(tmp_path / "model")


def test_the_message_for_a_missing_model_lists_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no model 'a/b/c'.*all-MiniLM-L6-v2"):
        RRRAModel.load("a/b/c")


def test_a_bundled_reader_is_no_model() -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=DEFAULT_READER):
        RRRAModel.load(DEFAULT_READER)


def test_a_projection_must_fit_the_codes(model: RRRAModel) -> None:
    with pytest.raises(ValueError, match="token_dim must be a positive multiple of 8, but got 100"):
        with_projection(model, 100).encode_documents(TEXTS)
