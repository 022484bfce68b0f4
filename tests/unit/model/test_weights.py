"""The number format of weights, with a network that computes where its tokens stand."""

from pathlib import Path

import pytest
import torch
from encoders import tokenizer, write_encoder
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from transformers import LlamaConfig, LlamaModel

from rrra_haystack.model.encoder import Encoder

LONG = "the danube rises in the black forest and flows to the black sea " * 60


@pytest.fixture(scope="module")
def rotary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with rotary positions, its weights at random and in float32."""
    folder = tmp_path_factory.mktemp("rotary")
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer()), initializer_range=0.2, max_position_embeddings=1024, **shape)
    LlamaModel(config).save_pretrained(folder / "network")
    tokenizer().save_pretrained(folder / "network")
    return write_encoder(folder / "encoder", [Transformer(str(folder / "network"), max_seq_length=1024), Pooling(64)])


def states_of(encoder: Encoder) -> torch.Tensor:
    (batch,) = encoder.encode([LONG], task="document")
    return torch.nn.functional.normalize(batch.states, dim=-1)


def test_positions_are_as_exact_in_bfloat16_as_transformers_has_them(
    rotary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    native = Encoder(rotary, device="cpu")
    assert native.dtype == torch.bfloat16
    given, exact = (
        Encoder(rotary, device="cpu", model_kwargs={"dtype": dtype}) for dtype in (torch.bfloat16, torch.float32)
    )
    assert torch.equal(states_of(native), states_of(given))
    assert (states_of(native) * states_of(exact)).sum(dim=1).min() > 0.99
