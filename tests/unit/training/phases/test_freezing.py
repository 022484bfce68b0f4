import pytest
from rrra_training.phases.freezing import freeze_lowest
from torch import nn
from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, Qwen3Config, Qwen3Model

SMALL = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 3, "vocab_size": 9}


@pytest.mark.parametrize(
    ("network", "embeddings", "layer"),
    [
        (BertModel(BertConfig(**SMALL)), ("embeddings.",), "encoder.layer."),
        (MPNetModel(MPNetConfig(**SMALL)), ("embeddings.", "encoder.relative_attention_bias."), "encoder.layer."),
        (Qwen3Model(Qwen3Config(**SMALL, num_key_value_heads=2, head_dim=4)), ("embed_tokens.",), "layers."),
    ],
)
def test_embeddings_and_lowest_layers_stay(network: nn.Module, embeddings: tuple[str, ...], layer: str) -> None:
    module = nn.Sequential(network)
    freeze_lowest(module, 0)
    assert all(parameter.requires_grad for parameter in module.parameters())
    freeze_lowest(module, 2)
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad != name.startswith((*embeddings, f"{layer}0.", f"{layer}1."))
    with pytest.raises(ValueError, match="3 frozen layers leave nothing to learn: the encoder has 3"):
        freeze_lowest(module, 3)
