"""Text -> pooled embeddings and token states, both from one forward pass of a sentence-transformers model."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from tqdm.auto import tqdm

from rrra_haystack.pretrained import resolve_encoder

Task = Literal["query", "document"]

# Texts that are tokenised together. Large enough to sort by length well, small enough to start at once.
_CHUNK = 2048
# What tokenizers call the longest text if they know none is larger than any.
_NO_BOUND = 10**7


@dataclass(frozen=True)
class EncodedBatch:
    """
    What one forward pass gives for b texts with T tokens in all.

    :param indices: Positions of the texts in the caller's list, shape ``[b]``, int64.
    :param pooled: Pooled embeddings, shape ``[b, d]``, float32.
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
    A bi-encoder whose token states can be observed.

    The pooled embeddings equal those of ``SentenceTransformer.encode_query`` and ``encode_document`` up to float
    tolerance. Where the device computes bfloat16 natively the transformer runs in it; pooling and all later modules
    stay in float32. Pass ``model_kwargs={"dtype": torch.float32}`` to run everything in float32.

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
    :raises ValueError: If the model has no token states, as static embeddings have none.
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
        self.transformer = SentenceTransformer(**self._source, device=device)
        self.transformer.eval()
        language_model = getattr(self.transformer[0], "model", None)
        hidden_size = getattr(getattr(language_model, "config", None), "hidden_size", None)
        tokenizer: Any = getattr(self.transformer, "tokenizer", None)
        if language_model is None or hidden_size is None or not hasattr(tokenizer, "all_special_ids"):
            msg = (
                f"{self.name} has no token states to observe: its first module is not a transformer. Use another model."
            )
            raise ValueError(msg)
        loaded_dtype = self.dtype
        if not {"dtype", "torch_dtype"} & set(model_kwargs or {}):
            language_model.to(native_dtype(self.transformer.device))
        self._is_rounded = self.dtype != loaded_dtype
        if layer != -1:
            language_model.config.output_hidden_states = True
        # Pooling in bfloat16 would cost precision that the pooled embedding is stored with.
        self.transformer[0].register_forward_hook(_upcast_token_embeddings)
        self.hidden_size: int = hidden_size
        # Fast tokenizers cannot be used by two threads at once.
        self._tokenizer_lock = threading.Lock()
        # An unknown word is a word all the same.
        dropped = sorted(set(tokenizer.all_special_ids) - {getattr(tokenizer, "unk_token_id", None)})
        self._special_ids = torch.tensor(dropped, device=self.transformer.device)

    @property
    def device(self) -> torch.device:
        """The device that the encoder runs on."""
        return self.transformer.device

    @property
    def dtype(self) -> torch.dtype:
        """The number format that the transformer runs in."""
        return next(self.transformer[0].parameters()).dtype

    @property
    def dimension(self) -> int:
        """Dimensions of the pooled embedding."""
        return int(self.transformer.get_embedding_dimension() or self.hidden_size)

    def save(self, path: str | Path) -> None:
        """
        Write the encoder as a sentence-transformers directory, its weights in the precision they were loaded in.

        :param path: The directory.
        """
        # The weights in memory may have been rounded to bfloat16; those on disk were not.
        original = SentenceTransformer(**self._source, device="cpu") if self._is_rounded else self.transformer
        original.save(str(path), safe_serialization=True, create_model_card=False)

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
        """
        prompt = self.transformer.prompts.get(task) if prompt is None else prompt
        order = np.argsort([-len(text) for text in texts], kind="stable")
        with tqdm(total=len(texts), desc="Encoding", unit="text", disable=not show_progress_bar) as progress:
            for begin in range(0, len(texts), _CHUNK):
                chunk = order[begin : begin + _CHUNK]
                for batch in self._encode_chunk([texts[i] for i in chunk], task, prompt, tokens_per_batch):
                    pooled = batch.pooled
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
        tokenizer: Any = self.transformer.tokenizer
        with self._tokenizer_lock:
            read = tokenizer(list(texts), add_special_tokens=False, truncation=False, padding=False, verbose=False)
        return read["input_ids"]

    def token_offsets(self, text: str) -> np.ndarray:
        """
        Where the tokens of a whole text begin and end, without special tokens, prompt and truncation.

        :param text: The text.
        :returns: Characters, shape ``[n, 2]``, int64; tokens that stand for no character are left out.
        """
        tokenizer: Any = self.transformer.tokenizer
        with self._tokenizer_lock:
            read = tokenizer(
                text, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
            )
        offsets = np.array(read["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        return offsets[offsets[:, 1] > offsets[:, 0]]

    def room(self, prompt: str | None = None) -> int | None:
        """
        How many tokens of a document are read, beside special tokens and the prompt; `None` if there is no bound.

        :param prompt: Put before each document instead of the model's own prompt.
        """
        tokenizer: Any = self.transformer.tokenizer
        longest = self.transformer.max_seq_length or tokenizer.model_max_length
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
        prompt = self.transformer.prompts.get(task)
        with self._tokenizer_lock:
            features = self.transformer.preprocess(list(texts), prompt=prompt or None, task=task)
        batch = {key: value.to(self.device) if isinstance(value, Tensor) else value for key, value in features.items()}
        pooled, states, lengths = self._pass(batch, task)
        return EncodedBatch(torch.arange(len(texts)), pooled, states, lengths)

    # Not a generator under inference_mode: the mode would leak to the caller between two batches.
    def _encode_chunk(
        self, texts: list[str], task: Task, prompt: str | None, tokens_per_batch: int
    ) -> Iterator[EncodedBatch]:
        with self._tokenizer_lock:
            features = self.transformer.preprocess(texts, prompt=prompt or None, task=task)
        mask = features["attention_mask"]
        width = mask.shape[1]
        padded_left = bool(width and (mask[:, 0] == 0).any())
        lengths = mask.sum(dim=1)
        order = torch.argsort(lengths, descending=True, stable=True)
        begin = 0
        while begin < len(texts):
            longest = max(int(lengths[order[begin]]), 1)
            rows = order[begin : begin + max(tokens_per_batch // longest, 1)]
            columns = slice(width - longest, width) if padded_left else slice(0, longest)
            batch = {
                key: value[rows, columns].to(self.device)
                if isinstance(value, Tensor) and value.shape[:2] == mask.shape
                else value
                for key, value in features.items()
            }
            pooled, states, kept = self._forward(batch, task)
            yield EncodedBatch(rows, pooled, states, kept)
            begin += len(rows)

    @torch.inference_mode()
    def _forward(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        return self._pass(batch, task)

    def _pass(self, batch: dict[str, Any], task: Task) -> tuple[Tensor, Tensor, Tensor]:
        token_mask = batch["attention_mask"].bool() & ~torch.isin(batch["input_ids"], self._special_ids)
        if prompt_length := batch.get("prompt_length"):
            position = batch["attention_mask"].cumsum(dim=1)
            token_mask &= position > prompt_length
        batch = self.transformer(batch, task=task)
        states = batch["token_embeddings"] if self.layer == -1 else batch["all_layer_embeddings"][self.layer]
        pooled = batch["sentence_embedding"].float()
        if self.transformer.truncate_dim is not None:
            pooled = pooled[:, : self.transformer.truncate_dim]
        return pooled, states[token_mask], token_mask.sum(dim=1)


def _upcast_token_embeddings(_module: torch.nn.Module, _inputs: Any, features: dict[str, Any]) -> dict[str, Any]:
    features["token_embeddings"] = features["token_embeddings"].float()
    return features


def native_dtype(device: torch.device) -> torch.dtype:
    """The fastest number format that the device computes natively without loss that matters: bfloat16 or float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        native = torch.cpu.get_capabilities().get("avx512_bf16", False)
    else:
        native = False
    return torch.bfloat16 if native else torch.float32
