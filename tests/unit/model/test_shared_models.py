import gc
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from rrra_models import QUESTIONS, fused
from texts import TEXTS

from rrra_haystack.model.rrra_model import RRRAModel


def test_shared_is_one_copy_for_the_same_options(model: RRRAModel) -> None:
    assert RRRAModel.shared("all-MiniLM-L6-v2", device=None, trust_remote_code=False) is model
    assert RRRAModel.shared("all-MiniLM-L6-v2", truncate_dim=64) is not model


def test_both_names_of_the_offline_encoder_are_one_model(model: RRRAModel) -> None:
    assert RRRAModel.shared("sentence-transformers/all-MiniLM-L6-v2") is model


def test_many_threads_load_one_copy(bare: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = list(pool.map(lambda _: RRRAModel.shared(str(bare)), range(8)))
    assert len({id(copy) for copy in copies}) == 1


def test_a_shared_model_is_released_with_its_last_user(bare: Path) -> None:
    held = RRRAModel.shared(str(bare), truncate_dim=None)
    assert RRRAModel.shared(bare) is held
    assert RRRAModel.shared(str(bare), model_kwargs={"dtype": torch.float32}) is not held
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None


def with_weight(model: RRRAModel, weight: float) -> RRRAModel:
    return RRRAModel(model.encoder, model.config.model_copy(update={"fusion_weight": weight}))


def test_a_model_that_was_saved_again_is_loaded_anew(model: RRRAModel, bare: Path) -> None:
    held = RRRAModel.shared(bare)
    with_weight(model, 4.0).save(bare, include_encoder=False)
    assert RRRAModel.shared(bare).config.fusion_weight == 4.0
    assert held.config.fusion_weight == model.config.fusion_weight


def test_a_model_that_was_copied_over_file_by_file_is_loaded_anew(model: RRRAModel, bare: Path, tmp_path: Path) -> None:
    held = RRRAModel.shared(bare)
    with_weight(model, 4.0).save(tmp_path / "new", include_encoder=False)
    shutil.copytree(tmp_path / "new", bare, dirs_exist_ok=True)
    assert RRRAModel.shared(bare) is not held


def test_an_encoder_that_was_saved_again_is_loaded_anew(model: RRRAModel, tmp_path: Path) -> None:
    model.encoder.save(tmp_path / "encoder")
    RRRAModel.load(tmp_path / "encoder").save(tmp_path / "bare", include_encoder=False)
    held = RRRAModel.shared(tmp_path / "bare")
    assert RRRAModel.shared(tmp_path / "bare") is held
    (tmp_path / "encoder" / "model.safetensors").touch()
    assert RRRAModel.shared(tmp_path / "bare") is not held


def test_a_relative_path_names_what_is_in_the_working_directory(
    model: RRRAModel, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_weight(model, 4.0).save(tmp_path / "other" / "bare", include_encoder=False)
    monkeypatch.chdir(tmp_path)
    held = RRRAModel.shared("bare")
    assert RRRAModel.shared(f"{bare.parent}/./bare") is held
    monkeypatch.chdir("other")
    assert RRRAModel.shared("bare").config.fusion_weight == 4.0


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
