import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from texts import TEXTS

from rrra_haystack.adapter import Observation
from rrra_haystack.codes import InvalidCodesError
from rrra_haystack.encoder import Encoder
from rrra_haystack.model import RRRAModel

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


@pytest.mark.parametrize("kind", ["int8", "1bit"])
def test_a_projection_is_saved_and_used(model: RRRAModel, kind: str, tmp_path: Path) -> None:
    projected = with_projection(model)
    _, codes = projected.encode_documents(TEXTS, code=kind)
    projected.save(tmp_path / "projected", include_encoder=False)
    loaded = RRRAModel.load(tmp_path / "projected")
    assert loaded.codec().token_dim == 128
    assert np.array_equal(fused(loaded, codes), fused(projected, codes))


def test_a_trained_adapter_is_asked_from_the_codes(model: RRRAModel) -> None:
    trained = RRRAModel(model.encoder, model.config)
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in trained.adapter.parameters():
            parameter.normal_(std=0.1)
    trained._refresh()
    _, codes = trained.encode_documents(TEXTS, code="int8")
    query = trained.encode_query(QUESTIONS[0])
    batch = trained.read_codes(codes)
    match, place = batch.match_with_places(query.states)
    tokens = torch.nn.functional.normalize(query.states, dim=-1)
    with torch.inference_mode():
        seen = Observation(query.embedding, batch.pooled, tokens, match, batch.observed_context(place))
        judged = trained.adapter(seen)
    scores = trained.score(query, codes)
    assert scores.adapter == pytest.approx(judged.adapter.numpy(), abs=1e-5)
    assert not np.allclose(scores.adapter, model.score(query, batch).adapter, atol=1e-3)


def test_the_fingerprint_is_of_the_weights_not_of_the_format(model: RRRAModel) -> None:
    exact = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float32})
    assert exact.codec().fingerprint == model.codec().fingerprint
    with torch.no_grad():
        next(exact.encoder.transformer.parameters()).mul_(1.1)
    exact._refresh()
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
