import json
import math
from pathlib import Path

import httpx
import pytest
from rrra_models import with_projection

from rrra_haystack.model import loading
from rrra_haystack.model.loading import find_files
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.reader.loading import DEFAULT_READER


def rewrite(directory: Path, **changes: object) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    (directory / "rrra" / "config.json").write_text(json.dumps(config | changes))


def reshape(directory: Path) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    config["adapter"]["hidden_dim"] = 17
    (directory / "rrra" / "config.json").write_text(json.dumps(config))


def no_object(directory: Path) -> None:
    (directory / "rrra" / "config.json").write_text("[]")


def without_version(directory: Path) -> None:
    config = json.loads((directory / "rrra" / "config.json").read_text())
    del config["version"]
    (directory / "rrra" / "config.json").write_text(json.dumps(config))


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def cut(directory: Path, size: int) -> None:
    path = directory / "rrra" / "adapter.safetensors"
    path.write_bytes(path.read_bytes()[:size])


def swap_weights(directory: Path) -> None:
    other = RRRAModel.shared("all-MiniLM-L6-v2")
    with_projection(other).save(directory.parent / "other", include_encoder=False)
    weights = (directory.parent / "other" / "rrra" / "adapter.safetensors").read_bytes()
    (directory / "rrra" / "adapter.safetensors").write_bytes(weights)


FLAWS = {
    "another version": (lambda d: rewrite(d, version=9), ValueError, "has version 9"),
    "unknown key": (lambda d: rewrite(d, colour="red"), ValueError, "colour"),
    "impossible value": (lambda d: rewrite(d, fusion_weight=-1), ValueError, "fusion_weight"),
    "endless weight": (lambda d: rewrite(d, fusion_weight=math.inf), ValueError, "fusion_weight: .*finite"),
    "endless lexical weight": (lambda d: rewrite(d, lexical_weight=math.inf), ValueError, "lexical_weight: .*finite"),
    "huge lexical weight": (lambda d: rewrite(d, lexical_weight=1e39), ValueError, "lexical_weight: .*less than"),
    "impossible weight": (lambda d: rewrite(d, lexical_weight=-1), ValueError, "lexical_weight"),
    "no JSON": (lambda d: damage(d / "rrra" / "config.json"), ValueError, "not valid JSON"),
    "no UTF-8": (lambda d: (d / "rrra" / "config.json").write_bytes(b"\xff"), ValueError, "not valid JSON"),
    "missing configuration": (lambda d: (d / "rrra" / "config.json").unlink(), FileNotFoundError, "is missing"),
    "damaged weights": (lambda d: damage(d / "rrra" / "adapter.safetensors"), ValueError, "is damaged"),
    "missing weights": (lambda d: (d / "rrra" / "adapter.safetensors").unlink(), FileNotFoundError, "is missing"),
    "other shapes": (reshape, ValueError, "does not fit its config.json"),
    "no object": (no_object, ValueError, "not a valid model configuration"),
    "no version": (without_version, ValueError, "has version None, but this release of rrra-haystack reads version 1"),
    "unknown part": (lambda d: rewrite(d, adapter={"pooled_dim": 384, "token_dim": 384, "x": 1}), ValueError, "x: "),
    "unknown kind": (lambda d: rewrite(d, code="3bit"), ValueError, "code: "),
    "weights of another model": (swap_weights, ValueError, "come from different models"),
    "empty weights": (lambda d: cut(d, 0), ValueError, "is damaged"),
    "half of the weights": (lambda d: cut(d, 100_000), ValueError, "is damaged"),
    "all weights but one byte": (lambda d: cut(d, -1), ValueError, "is damaged"),
}


@pytest.mark.parametrize(("flaw", "error", "message"), FLAWS.values(), ids=FLAWS)
def test_flawed_directories(bare: Path, flaw, error: type[Exception], message: str) -> None:
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


@pytest.mark.parametrize("name", ["rrra/config.json", "config_sentence_transformers.json", "tokenizer_config.json"])
def test_a_model_that_lost_a_file_is_not_taken_for_another_one(model: RRRAModel, tmp_path: Path, name: str) -> None:
    model.save(tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"is missing\. Copy or download the whole") as raised:
        RRRAModel.load(tmp_path / "model")
    assert str(raised.value).startswith(str(tmp_path / "model" / name))


def test_another_dimension_than_the_adapters(bare: Path) -> None:
    with pytest.raises(ValueError, match="truncate_dim it was made with"):
        RRRAModel.load(bare, truncate_dim=64)


@pytest.mark.parametrize("name", ["no-such-model", "./no/such/folder", "/no/such/folder"])
def test_a_model_that_is_nowhere(name: str) -> None:
    with pytest.raises(FileNotFoundError, match="There is no model"):
        RRRAModel.load(name)


def test_without_a_network_the_encoder_is_looked_for_in_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def file_exists(*_: object, **__: object) -> bool:
        # No OSError, as those of the libraries that the hub's client speaks through are none.
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr(loading, "file_exists", file_exists)
    assert find_files("owner/encoder", None, None, local_files_only=False).encoder == "owner/encoder"


def test_a_short_name_that_was_not_fetched_is_an_encoder_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    asked: list[str] = []
    monkeypatch.setattr(loading, "file_exists", lambda name, *_, **__: bool(asked.append(name)))
    files = find_files("all-mpnet-base-v2", None, None, local_files_only=False)
    assert asked == ["sentence-transformers/all-mpnet-base-v2"]
    assert files.adapter is None


def test_the_message_for_a_missing_model_lists_what_there_is() -> None:
    with pytest.raises(FileNotFoundError, match=r"There is no model 'a/b/c'.*all-MiniLM-L6-v2"):
        RRRAModel.load("a/b/c")


def test_a_bundled_reader_is_no_model() -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=DEFAULT_READER):
        RRRAModel.load(DEFAULT_READER)
