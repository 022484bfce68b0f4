"""What one forward pass gives, by the kind of encoder: a bi-encoder's embedding and states, or late interaction's."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base import BaseModel
from torch import Tensor

Task = Literal["query", "document"]

# How far from 1 the length of a scaled vector may be.
_UNIT_TOLERANCE = 1e-3


class EncoderKind(ABC):
    """
    How the outputs of one kind of encoder are read.

    :param transformer: The loaded model.
    :param name: What to call it in errors.
    :param layer: The hidden layer taken for token states; -1 is the last.
    """

    # Whether there is a pooled embedding of a text to retrieve by.
    embeds: ClassVar[bool]

    def __init__(self, transformer: BaseModel, name: str, layer: int) -> None:
        self._transformer = transformer
        self._name = name
        self._layer = layer

    @abstractmethod
    def read(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        """
        Run the model over tokens.

        :param batch: The tokens of b texts, as the model takes them, and which are :func:`tokens_of_prompt`.
        :param task: What the texts are.
        :returns: Pooled embeddings, shape ``[b, d]``, float32, of no dimensions where there are none; token states,
            shape ``[b, t, hidden]``; and which of them count, shape ``[b, t]``, bool.
        """

    @abstractmethod
    def check(self, pooled: Tensor, states: Tensor) -> None:
        """
        Refuse what is made for another similarity than the cosine.

        :param pooled: Of one text, shape ``[1, d]``.
        :param states: Those of its tokens that count, shape ``[t, hidden]``.
        """


class BiEncoder(EncoderKind):
    """
    A ``SentenceTransformer``: a pooled embedding, and the token states that it was pooled from.

    :param transformer: The loaded model.
    :param name: What to call it in errors.
    :param layer: The hidden layer taken for token states; -1 is the last.
    :param networks: The module that reads the tokens of each task's texts.
    """

    embeds = True

    def __init__(self, transformer: BaseModel, name: str, layer: int, networks: Mapping[Task, Any]) -> None:
        super().__init__(transformer, name, layer)
        self._special_ids = {
            task: torch.tensor(dropped_ids(network.tokenizer), device=transformer.device)
            for task, network in networks.items()
        }

    def read(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        """Run the model; tokens of the prompt and special ones do not count."""
        counted = batch["attention_mask"].bool() & ~torch.isin(batch["input_ids"], self._special_ids[task])
        if (of_prompt := batch.pop("of_prompt", None)) is not None:
            counted &= ~of_prompt
        batch = self._transformer(batch, task=task)
        if "token_embeddings" not in batch:
            msg = (
                f"{self._name} has no token states to observe: its modules ({_names(self._transformer)}) give an "
                "embedding of a text alone. Use another model."
            )
            raise ValueError(msg)
        if "sentence_embedding" not in batch:
            msg = (
                f"{self._name} has no pooling: its modules ({_names(self._transformer)}) give token states, but no "
                "embedding of a text. Add a Pooling module and save it again."
            )
            raise ValueError(msg)
        return batch["sentence_embedding"].float(), self._states(batch), counted

    def _states(self, batch: dict[str, Any]) -> Tensor:
        if self._layer == -1:
            return batch["token_embeddings"]
        layers = batch["all_layer_embeddings"]
        if not -len(layers) <= self._layer < len(layers):
            msg = f"{self._name} has no layer {self._layer}: layer must be from {-len(layers)} to {len(layers) - 1}."
            raise ValueError(msg)
        return layers[self._layer]

    def check(self, pooled: Tensor, states: Tensor) -> None:  # noqa: ARG002  (compared by cosine, whatever they are)
        """Refuse embeddings whose similarity is another one than their cosine."""
        similarity = str(self._transformer.similarity_fn_name)
        # Of embeddings of length 1, all similarities rank alike.
        if similarity == "cosine" or abs(float(pooled.norm()) - 1) < _UNIT_TOLERANCE:
            return
        msg = (
            f"{self._name} compares embeddings by {similarity} (similarity_fn_name) and does not scale them to length "
            '1, but here they are compared by cosine: use another encoder, or set "similarity_fn_name": "cosine" in '
            "its config_sentence_transformers.json to have it taken by cosine all the same."
        )
        raise ValueError(msg)


class LateInteraction(EncoderKind):
    """
    A ``MultiVectorEncoder``: its own projected token states, of which its mask says which count, and no embedding.

    :param transformer: The loaded model.
    :param name: What to call it in errors.
    :param layer: -1: what is projected is the last layer.
    """

    embeds = False

    def __init__(self, transformer: BaseModel, name: str, layer: int) -> None:
        super().__init__(transformer, name, layer)
        if layer != -1:
            msg = f"{name} is a late-interaction model: its token states are those of the last layer (-1), not {layer}."
            raise ValueError(msg)

    def read(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        """Run the model; what its own MaxSim scores counts, query expansion included and its skip list left out."""
        batch = self._transformer(batch, task=task)
        states = batch["token_embeddings"]
        return states.new_zeros((len(states), 0), dtype=torch.float32), states, batch["attention_mask"].bool()

    def check(self, pooled: Tensor, states: Tensor) -> None:  # noqa: ARG002  (there is none)
        """Refuse token states whose products are not cosines."""
        if ((states.float().norm(dim=-1) - 1).abs() < _UNIT_TOLERANCE).all():
            return
        msg = (
            f"{self._name} does not scale its token states to length 1, but here they are compared by cosine: add a "
            'module Normalize(module_input_name="token_embeddings") and save it again.'
        )
        raise ValueError(msg)


def kind_of_encoder(transformer: BaseModel, name: str, layer: int, networks: Mapping[Task, Any]) -> EncoderKind:
    """
    The kind that a model is of.

    :param transformer: The loaded model.
    :param name: What to call it in errors.
    :param layer: The hidden layer taken for token states; -1 is the last.
    :param networks: The module that reads the tokens of each task's texts.
    """
    if isinstance(transformer, MultiVectorEncoder):
        return LateInteraction(transformer, name, layer)
    return BiEncoder(transformer, name, layer, networks)


def tokens_of_prompt(features: dict[str, Any], alone: Tensor) -> Tensor:
    """
    Which tokens of texts are those of the prompt before them.

    They are those that the prompt begins with if it is read alone. The space that it ends in is often a token then,
    and in a text a part of the first word.

    :param features: The tokens of n texts, as a model takes them.
    :param alone: The tokens of the prompt that is read alone.
    :returns: Shape ``[n, t]``, bool.
    """
    attended = features["attention_mask"].bool()
    places = attended.cumsum(dim=1) - 1
    is_same = (features["input_ids"] == alone[places.clamp(0, len(alone) - 1)]) & (places < len(alone))
    return attended & ((attended & ~is_same).cumsum(dim=1) == 0)


def dropped_ids(tokenizer: Any) -> list[int]:
    """
    The special tokens of a bi-encoder, whose states are left out.

    An unknown word is a word all the same, unless its token is one that the tokenizer puts around texts.
    """
    added = {getattr(tokenizer, f"{name}_token_id", None) for name in ("bos", "eos", "cls", "sep")}
    return sorted(set(tokenizer.all_special_ids) - ({getattr(tokenizer, "unk_token_id", None)} - added))


def _names(modules: Any) -> str:
    return ", ".join(type(module).__name__ for module in modules)
