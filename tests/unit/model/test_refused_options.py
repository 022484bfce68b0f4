"""What an encoder cannot be asked for is told in one sentence at loading."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from encoders import SIZE, byte_level, tokenizer, write_encoder, write_kind
from transformers import AutoTokenizer, BertConfig, BertModel, FNetConfig, FNetModel, GPT2Config, GPT2Model

from rrra_haystack import RRRAModel
from rrra_haystack.model.encoder import Encoder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("options") / "encoder")


@pytest.mark.parametrize("layer", [7, 3, -4, -99])
def test_a_layer_that_is_not_there(path: Path, layer: int) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{path} has no layer {layer}: layer must be from -3 to 2.")):
        Encoder(path, layer=layer)


@pytest.mark.parametrize("layer", [2, 0, -3])
def test_layers_that_are_there(path: Path, layer: int) -> None:
    assert Encoder(path, layer=layer).hidden_size == 32


@pytest.mark.parametrize("wrong", [0, -3, "8", 8.0, True])
def test_dimensions_that_cannot_be_kept(path: Path, wrong: Any) -> None:
    with pytest.raises(ValueError, match=f"truncate_dim must be a whole number > 0, .* but got {wrong!r}"):
        RRRAModel.load(path, truncate_dim=wrong)


def test_dimensions_of_numpy_are_saved(path: Path, tmp_path: Path) -> None:
    RRRAModel.load(path, truncate_dim=np.int64(16)).save(tmp_path / "saved")
    assert RRRAModel.load(tmp_path / "saved").encoder.dimension == 16


def refusal(path: Path, **options: Any) -> str:
    with pytest.raises(ValueError, match=re.escape(str(path))) as refused:
        Encoder(path, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_tokenizer_without_padding_names_the_model(path: Path, tmp_path: Path) -> None:
    reads = AutoTokenizer.from_pretrained(path)
    made = write_kind(tmp_path, tokenizer(), lambda size: BertModel(BertConfig(vocab_size=size, **SIZE)))
    reads.pad_token = None
    reads.save_pretrained(made)
    assert "padding token" in refusal(made)


def test_code_of_its_own_is_named(path: Path, tmp_path: Path) -> None:
    made = write_kind(tmp_path, tokenizer(), lambda size: BertModel(BertConfig(vocab_size=size, **SIZE)))
    settings = json.loads((made / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (made / "config.json").write_text(json.dumps(settings | {"model_type": "own", "auto_map": own}))
    (made / "own.py").write_text("")
    assert refusal(made).endswith(
        "needs code that it brings along: if you trust it, set trust_remote_code: true at each component of the "
        "pipeline that loads it, or trust_remote_code=True in Python."
    )
    # Where it is set, another thing is wrong.
    (made / "own.py").write_text("raise ValueError('trust_remote_code is no help')\n")
    assert "trust_remote_code is no help" in refusal(made, trust_remote_code=True)


def test_a_network_of_another_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}
    made = write_kind(tmp_path, tokenizer(), lambda size: FNetModel(FNetConfig(vocab_size=size, **shape)))
    monkeypatch.setattr("rrra_haystack.model.encoder.native_dtype", lambda _: torch.bfloat16)
    assert refusal(made).endswith('Try model_kwargs={"dtype": "float32"}.')
    assert Encoder(made, model_kwargs={"dtype": "float32"}).hidden_size == 32


def test_a_token_that_ends_texts_is_none_of_theirs(tmp_path: Path) -> None:
    """GPT-2 has one special token, which is all of them."""
    reads = byte_level("right", ends="$A </s>")
    for name in ("unk", "bos", "pad"):
        setattr(reads, f"{name}_token", "</s>")
    network = {"n_embd": 32, "n_layer": 2, "n_head": 2}
    made = write_kind(tmp_path, reads, lambda size: GPT2Model(GPT2Config(vocab_size=size, **network)))
    encoder = Encoder(made)
    assert "</s>" in encoder.dropped_tokens
    (batch,) = encoder.encode(["Tea"], task="query")
    assert batch.lengths.tolist() == [len(encoder.token_ids(["Tea"])[0])]
