"""A model's token states and projection -> a MultiVectorEncoder of sentence-transformers, without the adapter."""

from itertools import takewhile
from pathlib import Path

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Router
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from torch import nn

from rrra_haystack.files import atomic_directory
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.saving import check_place


def multi_vector_encoder(encoder: Encoder, projection: nn.Linear | None) -> MultiVectorEncoder:
    """
    The token match of a model as a late-interaction model: its token vectors are what the codes keep.

    :param encoder: The encoder.
    :param projection: Of its token states; `None` if they are kept as they are.
    :returns: On the CPU, in the precision that the encoder is saved in.
    :raises ValueError: If sentence-transformers has no modules for what the encoder does.
    """
    model = encoder.original()
    modules: list[nn.Module] = list(model)
    if encoder.embeds:
        check_multi_vector(encoder)
        modules = list(takewhile(lambda module: not isinstance(module, Pooling), modules))
    if projection is not None:
        modules.append(_dense(projection))
    if encoder.embeds:
        modules.append(MultiVectorMask(encoder.dropped_tokens, skiplist_tasks=["query", "document"]))
    modules.append(Normalize(module_input_name="token_embeddings"))
    return MultiVectorEncoder(modules=modules, device="cpu", prompts=model.prompts)


def write_multi_vector(path: str | Path, model: MultiVectorEncoder, *, model_card: str | None) -> None:
    """
    Write a late-interaction model to a directory, in one step; a model that is there is replaced.

    :param path: The directory.
    :param model: The model.
    :param model_card: Text of its README; none is written if `None`.
    :raises FileExistsError: If something else than a model stands there.
    """
    check_place(path)
    with atomic_directory(path) as work:
        model.save(str(work), create_model_card=False)
        if model_card is not None:
            (work / "README.md").write_text(model_card, encoding="utf-8")


def check_multi_vector(encoder: Encoder) -> None:
    """
    See that sentence-transformers has modules for what an encoder does.

    :param encoder: The encoder, which embeds texts.
    :raises ValueError: If it has not.
    """
    prompts = [prompt for prompt in encoder.transformer.prompts.values() if prompt]
    if isinstance(encoder.transformer[0], Router):
        reason = "its queries and documents go through different networks"
    elif encoder.layer != -1:
        reason = f"its token states are those of layer {encoder.layer}, not of the last one"
    elif prompts:
        reason = f"the tokens of its prompt '{prompts[0]}' do not count here, and would there"
    else:
        return
    msg = f"{encoder.name} cannot be written as a MultiVectorEncoder: {reason}."
    raise ValueError(msg)


def _dense(projection: nn.Linear) -> Dense:
    weight = projection.weight.detach().to("cpu", torch.float32, copy=True)
    return Dense(
        projection.in_features,
        projection.out_features,
        bias=False,
        activation_function=nn.Identity(),
        init_weight=weight,
        module_input_name="token_embeddings",
    )
