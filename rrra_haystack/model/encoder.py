"""Text -> pooled embeddings and token states, both from one forward pass of a sentence-transformers model."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from textwrap import shorten
from typing import Any, get_args

import numpy as np
import torch
from sentence_transformers.base.modules import Router
from torch import Tensor, nn
from tqdm.auto import tqdm

from rrra_haystack.model.batching import batches_of
from rrra_haystack.model.encoder_files import load_transformer, told_of
from rrra_haystack.model.encoder_kinds import Task, dropped_ids, kind_of_encoder, tokens_of_prompt
from rrra_haystack.model.packed_linear import pack_linear_layers, packed_products
from rrra_haystack.model.surrogates import whole_characters
from rrra_haystack.model.threads import threads_for_text
from rrra_haystack.model.token_counts import TokenCounts, WholeWords
from rrra_haystack.model.weights import FORMATS, WeightSample, cast_weights, native_dtype, weight_samples
from rrra_haystack.model.whole_texts import ids_of, offsets_of
from rrra_haystack.pretrained import resolve_encoder

_TASKS: tuple[Task, ...] = get_args(Task)

# What is encoded at loading, to see what an encoder gives.
_SPECIMEN = "A short text."

# Who names one of them in model_kwargs chooses the number format.
_FORMAT_NAMES = frozenset({"dtype", "torch_dtype"})

# Texts that are tokenised together. Large enough to sort by length well, small enough to start at once.
_CHUNK = 2048
# What tokenizers call the longest text if they know none is larger than any.
_NO_BOUND = 10**7


@dataclass(frozen=True)
class EncodedBatch:
    """
    What one forward pass gives for b texts with T tokens in all.

    :param indices: Positions of the texts in the caller's list, shape ``[b]``, int64.
    :param pooled: Pooled embeddings, shape ``[b, d]``, float32; ``[b, 0]`` of a late-interaction model.
    :param states: Token states of all texts, one text after the other, special and prompt tokens dropped,
        shape ``[T, hidden]``.
    :param lengths: Tokens of each text, shape ``[b]``, int64; their sum is T.
    """

    indices: Tensor
    pooled: Tensor
    states: Tensor
    lengths: Tensor


class Encoder:
    """
    A bi-encoder whose token states can be observed, or a late-interaction model, which has nothing but token states.

    The pooled embeddings equal those of ``SentenceTransformer.encode_query`` and ``encode_document`` up to float
    tolerance. Where the device computes bfloat16 natively the transformer runs in it, and elsewhere short queries are
    multiplied with weights in float16; pooling and all later modules stay in float32. Pass
    ``model_kwargs={"dtype": torch.float32}`` to run everything in float32. The token states of a late-interaction model
    equal those of ``MultiVectorEncoder.encode_query`` and ``encode_document``.

    :param model: A directory, a hub id, or ``all-MiniLM-L6-v2`` from the extra ``offline``.
    :param device: A torch device; chosen by sentence-transformers if `None`.
    :param layer: The hidden layer taken for token states; -1 is the last.
    :param token: Token for private models of the hub.
    :param revision: Branch, tag or commit of a hub model.
    :param trust_remote_code: Run code that a hub model brings along.
    :param local_files_only: Look for the model in the local cache only.
    :param truncate_dim: Keep this many dimensions of the pooled embedding.
    :param model_kwargs: Passed on to sentence-transformers.
    :param tokenizer_kwargs: Passed on to sentence-transformers.
    :param config_kwargs: Passed on to sentence-transformers.
    :raises FileNotFoundError: If there is no such model.
    :raises ValueError: If it is none of the models that can be observed: one without token states or pooling, with
        routes of different widths, made for another similarity than the cosine, or with numbers that are not finite.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        device: str | None = None,
        layer: int = -1,
        token: str | None = None,
        revision: str | None = None,
        trust_remote_code: bool = False,
        local_files_only: bool = False,
        truncate_dim: int | None = None,
        model_kwargs: dict[str, Any] | None = None,
        tokenizer_kwargs: dict[str, Any] | None = None,
        config_kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.name = str(model)
        self.layer = layer
        self._source: dict[str, Any] = {
            "model_name_or_path": resolve_encoder(model),
            "token": token,
            "revision": revision,
            "trust_remote_code": trust_remote_code,
            "local_files_only": local_files_only,
            "truncate_dim": truncate_dim,
            "model_kwargs": model_kwargs,
            "processor_kwargs": tokenizer_kwargs,
            "config_kwargs": config_kwargs,
        }
        self.transformer = load_transformer(self.name, self._source, device)
        self.transformer.eval()
        self._networks = self._observed_networks()
        loaded_dtype = self.dtype
        for network in self._networks.values():
            language_model: Any = network.model
            if _FORMAT_NAMES.isdisjoint(model_kwargs or {}):
                cast_weights(language_model, native_dtype(self.transformer.device))
                pack_linear_layers(language_model)
            if layer != -1:
                language_model.config.output_hidden_states = True
        # Pooling and later modules would cost precision in another format, and read float32 whatever their files hold.
        cast_weights(self.transformer, torch.float32, beside=self._networks.values())
        for network in set(self._networks.values()):
            network.register_forward_hook(_upcast_token_embeddings)
        formats = {weight.dtype for weight in self.transformer.parameters()}
        self._is_float16 = torch.float16 in formats and formats <= FORMATS
        self._is_rounded = self._is_float16 or self.dtype != loaded_dtype
        self._loaded_samples = weight_samples(self.transformer) if self._is_rounded else {}
        # The tokens of prompts that are read alone.
        self._prompts: dict[tuple[Task, str], Tensor] = {}
        # Fast tokenizers cannot be used by two threads at once.
        self._tokenizer_lock = threading.Lock()
        self._kind = kind_of_encoder(self.transformer, self.name, layer, self._networks)
        with told_of(self.name, self._source):
            self.hidden_size = self._observed_width()
        # Late interaction projects its states: those that are observed are narrower than its layers.
        config = getattr(self._networks["query"].model, "config", None)
        self._width = getattr(config, "hidden_size", None) or self.hidden_size

    @property
    def origin(self) -> tuple[str, str | None]:
        """The directory or hub id that its files came from, whatever it is called, and the revision asked for."""
        return self._source["model_name_or_path"], self._source["revision"]

    @property
    def device(self) -> torch.device:
        """The device that the encoder runs on."""
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format that the transformer runs in."""
        return next(self._networks["document"].parameters()).dtype

    @property
    def embeds(self) -> bool:
        """Whether it gives a pooled embedding of a text to retrieve by; a late-interaction model does not."""
        return self._kind.embeds

    @property
    def tokenizer(self) -> Any:
        """Reads documents."""
        return self._networks["document"].tokenizer

    @cached_property
    def token_counts(self) -> TokenCounts:
        """Counts the tokens of whole texts, as :meth:`token_ids` would find them."""
        return TokenCounts(self.token_offsets, WholeWords(self.tokenizer))

    @property
    def dimension(self) -> int:
        """Dimensions of the pooled embedding; 0 if there is none."""
        return int(self.transformer.get_embedding_dimension() or self.hidden_size) if self.embeds else 0

    @property
    def weight_samples(self) -> dict[str, WeightSample]:
        """What tells the weights apart, by their names; those of its files if float16 rounded them."""
        now = weight_samples(self.transformer)
        return self._original_samples if self._is_float16 and now == self._loaded_samples else now

    @cached_property
    def _original_samples(self) -> dict[str, WeightSample]:
        # float16 rounds to other numbers than bfloat16 does.
        return weight_samples(self._reloaded())

    def save(self, path: str | Path) -> None:
        """
        Write the encoder as a sentence-transformers directory, its weights in the precision they were loaded in, and
        in that of its files if it runs in float16; weights that were changed since as they are.

        :param path: The directory.
        """
        self.original().save(str(path), safe_serialization=True, create_model_card=False)

    def original(self) -> Any:
        """The model of sentence-transformers with its weights as :meth:`save` writes them."""
        # The weights in memory were rounded; those on disk were not. What has learned since is in memory alone.
        is_on_disk = self._is_rounded and weight_samples(self.transformer) == self._loaded_samples
        return self._reloaded() if is_on_disk else self.transformer

    def _reloaded(self) -> Any:
        given = self._source["model_kwargs"] or {}
        exact = {key: value for key, value in given.items() if key not in _FORMAT_NAMES}
        return load_transformer(self.name, {**self._source, "model_kwargs": exact}, "cpu")

    @property
    def dropped_tokens(self) -> list[str]:
        """The special tokens of documents, whose states are left out."""
        return [self.tokenizer.convert_ids_to_tokens(number) for number in dropped_ids(self.tokenizer)]

    def encode(
        self,
        texts: Sequence[str],
        *,
        task: Task,
        prompt: str | None = None,
        tokens_per_batch: int = 8192,
        normalize_embeddings: bool = False,
        show_progress_bar: bool = False,
    ) -> Iterator[EncodedBatch]:
        """
        Encode texts, in batches of like length.

        Batches come in the order that is fastest; ``EncodedBatch.indices`` says which texts they hold.

        :param texts: The texts.
        :param task: Whether they are queries or documents: chooses the model's prompt and route, if it has any.
        :param prompt: Put before each text instead of the model's own prompt.
        :param tokens_per_batch: Upper bound on the tokens of a batch, padding included.
        :param normalize_embeddings: Scale pooled embeddings to length 1.
        :param show_progress_bar: Show progress and the time left.
        :raises ValueError: If a batch holds numbers that are not finite.
        """
        prompt = self.transformer.prompts.get(task) if prompt is None else prompt
        order = np.argsort([-len(text) for text in texts], kind="stable")
        with tqdm(total=len(texts), desc="Encoding", unit="text", disable=not show_progress_bar) as progress:
            for begin in range(0, len(texts), _CHUNK):
                chunk = order[begin : begin + _CHUNK]
                for batch in self._encode_chunk([texts[i] for i in chunk], task, prompt, tokens_per_batch):
                    pooled = batch.pooled
                    if not (torch.isfinite(pooled).all() and torch.isfinite(batch.states).all()):
                        raise ValueError(self._not_finite(texts[chunk[batch.indices[0]]]))
                    if normalize_embeddings:
                        pooled = torch.nn.functional.normalize(pooled, dim=-1)
                    indices = torch.from_numpy(chunk[batch.indices.numpy()])
                    yield EncodedBatch(indices, pooled, batch.states, batch.lengths)
                    progress.update(len(indices))

    def token_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """
        The tokens of whole texts, without special tokens, prompts and truncation.

        :param texts: The texts.
        """
        whole = list(map(whole_characters, texts))
        with self._tokenizer_lock:
            return ids_of(self.tokenizer, whole)

    def token_offsets(self, text: str, prompt: str = "") -> np.ndarray:
        """
        Where the tokens of a whole text begin and end, without special tokens and truncation.

        A tokenizer in Python does not tell: its tokens are spread evenly over each word.

        :param text: The text.
        :param prompt: Read before the text; its own tokens are left out.
        :returns: Characters, shape ``[n, 2]``, int64.
        """
        whole = whole_characters(text)
        with self._tokenizer_lock:
            return offsets_of(self.tokenizer, whole, whole_characters(prompt))

    def room(self, prompt: str | None = None) -> int | None:
        """
        How many tokens of a document are read, beside special tokens and the prompt; `None` if there is no bound.

        One more is read where the space that the prompt ends in is a part of the first word.

        :param prompt: Put before each document instead of the model's own prompt.
        """
        tokenizer, network = self.tokenizer, self._networks["document"]
        longest = getattr(network, "document_length", None) or network.max_seq_length or tokenizer.model_max_length
        if longest > _NO_BOUND:
            return None
        prompt = self.transformer.prompts.get("document") if prompt is None else prompt
        taken = len(self.token_ids([prompt])[0]) if prompt else 0
        return max(int(longest) - tokenizer.num_special_tokens_to_add() - taken, 1)

    def encode_with_gradient(self, texts: Sequence[str], *, task: Task) -> EncodedBatch:
        """
        Encode a few texts in one pass, in their order, such that the encoder can learn from it.

        :param texts: The texts.
        :param task: Whether they are queries or documents.
        """
        pooled, states, lengths = self._pass(self._tokens_of(texts, task), task)
        return EncodedBatch(torch.arange(len(texts)), pooled, states, lengths)

    def _observed_networks(self) -> dict[Task, Any]:
        """The module that reads the tokens of each task's texts; the same one of both but for a router's routes."""
        first = self.transformer[0]
        if isinstance(first, Router):
            routes: dict[str, Any] = dict(first.sub_modules.items())
            if not set(_TASKS) <= routes.keys():
                msg = (
                    f"{self.name} has the routes {', '.join(routes)}, but texts are sent to the routes "
                    f"{' and '.join(_TASKS)}. Make it with Router.for_query_document."
                )
                raise ValueError(msg)
            networks = {task: routes[task][0] for task in _TASKS}
        else:
            networks = dict.fromkeys(_TASKS, first)
        for network in networks.values():
            tokenizer = getattr(network, "tokenizer", None)
            if not isinstance(getattr(network, "model", None), nn.Module) or not hasattr(tokenizer, "all_special_ids"):
                msg = (
                    f"{self.name} has no token states to observe: what reads its texts is a "
                    f"{type(network).__name__}, not a transformer. Use another model."
                )
                raise ValueError(msg)
        return networks

    @torch.inference_mode()
    def _observed_width(self) -> int:
        """The width of the token states, after a look at what the encoder gives for a short text."""
        widths = {}
        for task in _TASKS:
            pooled, states, counted = self._kind.read(self._tokens_of([_SPECIMEN], task), task)
            if not (torch.isfinite(pooled).all() and torch.isfinite(states).all()):
                raise ValueError(self._not_finite(_SPECIMEN))
            self._kind.check(pooled, states[counted])
            widths[task] = states.shape[-1]
        if len(set(widths.values())) > 1:
            told = ", ".join(f"{width} for a {task}" for task, width in widths.items())
            msg = f"The token states of {self.name} are of different widths ({told}) and cannot be matched."
            raise ValueError(msg)
        return widths["document"]

    def _not_finite(self, text: str) -> str:
        return (
            f"{self.name} gives numbers that are not finite (NaN or infinite), first in the batch of the text "
            f"'{shorten(text, 60)}': its weights are damaged, or too large for {self.dtype}. Try "
            'model_kwargs={"dtype": "float32"}, or another encoder.'
        )

    def _tokens_of(self, texts: Sequence[str], task: Task) -> dict[str, Any]:
        """What a few texts are to the encoder, on its device."""
        return self._on_device(self._preprocessed(texts, self.transformer.prompts.get(task), task))

    def _preprocessed(self, texts: Sequence[str], prompt: str | None, task: Task) -> dict[str, Any]:
        whole = list(map(whole_characters, texts))
        prompt = whole_characters(prompt) if prompt else None
        with self._tokenizer_lock:
            features = self.transformer.preprocess(whole, prompt=prompt, task=task)
            if self.embeds and prompt and (length := features.get("prompt_length")):
                if (task, prompt) not in self._prompts:
                    self._prompts[task, prompt] = self.transformer.preprocess([prompt], task=task)["input_ids"][0]
                features["of_prompt"] = tokens_of_prompt(features, self._prompts[task, prompt][:length])
        return features

    # Not a generator under inference_mode: the mode would leak to the caller between two batches.
    def _encode_chunk(
        self, texts: list[str], task: Task, prompt: str | None, tokens_per_batch: int
    ) -> Iterator[EncodedBatch]:
        for rows, batch in batches_of(self._preprocessed(texts, prompt, task), tokens_per_batch):
            # Of an empty text there is nothing to read where a tokenizer adds no token of its own.
            yield EncodedBatch(rows, *(self._forward(self._on_device(batch), task) if batch else self._none_of(rows)))

    def _none_of(self, texts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What texts without a token are encoded to."""
        lengths = torch.zeros_like(texts, device=self.device)
        pooled = torch.zeros((len(texts), self.dimension), device=self.device)
        return pooled, pooled.new_zeros((0, self.hidden_size)), lengths

    def _on_device(self, features: dict[str, Any]) -> dict[str, Any]:
        return {key: value.to(self.device) if isinstance(value, Tensor) else value for key, value in features.items()}

    @torch.inference_mode()
    def _forward(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        with threads_for_text(batch["attention_mask"].numel(), self._width), packed_products(task == "query"):
            return self._pass(batch, task)

    def _pass(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        pooled, states, counted = self._kind.read(batch, task)
        return pooled[:, : self.dimension], states[counted], counted.sum(dim=1)


def _upcast_token_embeddings(_module: torch.nn.Module, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    # A network of texts and images gives an embedding alone; the kind of encoder says so.
    if (states := features.get("token_embeddings")) is not None:
        features["token_embeddings"] = states.float()
    return features
