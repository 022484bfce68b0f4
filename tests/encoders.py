"""Small encoders with random weights, made as people make their own."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerFast

from rrra_haystack.pretrained import resolve_encoder


@cache
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve_encoder("all-MiniLM-L6-v2"))


@cache
def byte_tokenizer() -> Any:
    """A tokenizer to which each byte is a token."""
    letters = ["[PAD]", *sorted(ByteLevel.alphabet())]
    backend = Tokenizer(BPE({letter: number for number, letter in enumerate(letters)}, []))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]")


def write_network(
    folder: Path,
    width: int = 32,
    *,
    seed: int = 0,
    kind: type[PreTrainedModel] = BertModel,
    reads: Callable[[], Any] = tokenizer,
    **config: Any,
) -> Path:
    """A transformer as Hugging Face saves it."""
    torch.manual_seed(seed)
    shape = {"intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    kind(BertConfig(vocab_size=len(reads()), hidden_size=width, **shape, **config)).save_pretrained(folder)
    reads().save_pretrained(folder)
    return folder


def reading(folder: Path, width: int = 32, *, seed: int = 0, reads: Callable[[], Any] = tokenizer) -> list[Any]:
    """Modules that read texts and pool what they read."""
    return [Transformer(str(write_network(folder, width, seed=seed, reads=reads)), max_seq_length=64), Pooling(width)]


def write_encoder(folder: Path, modules: list[Any] | None = None, **options: Any) -> Path:
    """A bi-encoder as sentence-transformers saves it."""
    modules = reading(folder.parent / f"{folder.name}-network") if modules is None else modules
    SentenceTransformer(modules=modules, device="cpu", **options).save(str(folder), create_model_card=False)
    return folder


def write_late_interaction(
    folder: Path, *further: Any, skipped: str = "", normalise: bool = True, **knobs: Any
) -> Path:
    """A late-interaction model made of MiniLM and a small projection that nobody trained."""
    torch.manual_seed(0)
    names = {"module_input_name": "token_embeddings", "activation_function": torch.nn.Identity(), "bias": False}
    network = Transformer(resolve_encoder("all-MiniLM-L6-v2"), **knobs)
    modules = [network, Dense(384, 44, **names), MultiVectorMask(list(skipped)), *further]
    modules += [Normalize("token_embeddings")] if normalise else []
    prompts = {"query": "[Q] ", "document": "[D] "}
    MultiVectorEncoder(modules=modules, device="cpu", prompts=prompts).save(str(folder), create_model_card=False)
    return folder


def declare(folder: Path, **said: Any) -> None:
    """Change what an encoder says of itself."""
    path = folder / "config_sentence_transformers.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | said))
