from pathlib import Path

import numpy as np
import pytest
import torch
from rrra_models import QUESTIONS, fused, trained, with_projection
from sentence_transformers import SentenceTransformer
from texts import TEXTS

from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.config import RRRAConfig
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.rrra_model import RRRAModel


@pytest.fixture(scope="module")
def saved(model: RRRAModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "saved"
    model.save(path)
    return path


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


def test_a_saved_config_is_the_models(model: RRRAModel, saved: Path) -> None:
    loaded = RRRAModel.load(saved)
    assert loaded.config == model.config
    assert loaded.codec() == model.codec()
    assert loaded.encoder.name == "all-MiniLM-L6-v2"


def test_config_survives_json(model: RRRAModel) -> None:
    config = model.config.model_copy(update={"fusion_weight": 1.5, "code": "int8", "layer": -2, "revision": "main"})
    assert RRRAConfig.model_validate_json(config.model_dump_json()) == config
    assert RRRAConfig(encoder="x", adapter=AdapterConfig(pooled_dim=8, token_dim=8)).version == 1


def test_a_saved_encoder_is_the_original_in_float32(saved: Path) -> None:
    original = RRRAModel.shared("all-MiniLM-L6-v2").encoder._source["model_name_or_path"]
    kept, published = (SentenceTransformer(str(path)).state_dict() for path in (saved, original))
    assert kept.keys() == published.keys()
    assert all(torch.equal(kept[name], published[name]) for name in kept)
    assert all(tensor.dtype == torch.float32 for tensor in kept.values() if tensor.is_floating_point())


def test_saving_keeps_the_format_out_of_the_fingerprint(saved: Path, model: RRRAModel) -> None:
    exact = RRRAModel.load(saved, model_kwargs={"dtype": torch.float32})
    assert exact.encoder.dtype == torch.float32
    assert exact.codec() == model.codec()


def test_what_is_saved_of_a_model_in_float16_reads_its_codes(tmp_path: Path) -> None:
    half = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float16})
    half.save(tmp_path / "saved")
    loaded = RRRAModel.load(tmp_path / "saved")
    assert loaded.codec() == half.codec()
    assert loaded.config.encoder_fingerprint == half.config.encoder_fingerprint


def test_an_encoder_of_a_relative_path_is_saved_from_any_working_directory(
    model: RRRAModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.encoder.save(tmp_path / "encoder")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    half = RRRAModel.load("encoder", model_kwargs={"dtype": torch.float16})
    monkeypatch.chdir("other")
    half.save("whole")
    half.save("bare", include_encoder=False)
    assert RRRAModel.load("whole").codec() == RRRAModel.load("bare").codec() == half.codec()
    assert RRRAModel.load("bare").config.encoder == str(tmp_path / "encoder")


@pytest.mark.parametrize("kind", ["int8", "4bit", "2bit", "1bit"])
def test_a_projection_is_saved_and_used(model: RRRAModel, kind: str, tmp_path: Path) -> None:
    projected = with_projection(model)
    _, codes = projected.encode_documents(TEXTS, code=kind)
    projected.save(tmp_path / "projected", include_encoder=False)
    loaded = RRRAModel.load(tmp_path / "projected")
    assert loaded.codec().token_dim == 128
    assert np.array_equal(fused(loaded, codes), fused(projected, codes))


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
    assert "with a trained adapter" in (tmp_path / "trained" / "README.md").read_text()
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


def test_saving_over_its_own_directory(model: RRRAModel, saved: Path, codes: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model"
    RRRAModel.load(saved).save(path)
    (path / "stale").write_text("")
    RRRAModel.load(path).save(path)
    assert not (path / "stale").exists()
    assert [found.name for found in tmp_path.iterdir()] == ["model"]
    assert np.array_equal(fused(RRRAModel.load(path), codes), fused(model, codes))


def test_a_failed_save_leaves_the_old_model(model: RRRAModel, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_path: Path) -> None:
        raise OSError("disk full")

    before = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    monkeypatch.setattr(model.encoder, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save(bare)
    assert {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()} == before
    assert [path.name for path in bare.parent.iterdir()] == ["bare"]


def test_a_save_that_fails_at_the_end_leaves_the_old_model(model: RRRAModel, bare: Path) -> None:
    before = {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()}
    other = with_projection(model)
    # The card is written last, and half a character cannot be.
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        other.save(bare, model_card="\ud83d")
    assert {path: path.read_bytes() for path in bare.rglob("*") if path.is_file()} == before
    assert [path.name for path in bare.parent.iterdir()] == ["bare"]
