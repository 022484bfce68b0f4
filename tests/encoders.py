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
from texts import TEXTS
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedModel, PreTrainedTokenizerFast

from rrra_haystack.pretrained import resolve_encoder

# Of networks that are made here.
WIDTH = 32
SIZE = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}


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


def byte_level(side: str, *, ends: str = "") -> PreTrainedTokenizerFast:
    """Tokens of bytes that go together, as of GPT-2, ModernBERT and Qwen."""
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    if ends:
        made.post_processor = processors.TemplateProcessing(single=ends, special_tokens=[("<s>", 2), ("</s>", 3)])
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        unk_token="<unk>",
        eos_token="</s>",
        bos_token="<s>",
        padding_side=side,
    )


def pieces() -> PreTrainedTokenizerFast:
    """Pieces that hold the space before them, as of T5 and XLM-R."""
    special = ["<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.train_from_iterator(
        TEXTS, trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="</s>")


def write_kind(
    folder: Path,
    reads: Any,
    network: Callable[[int], Any],
    modules: list[Any] | None = None,
    *,
    length: int = 32,
    **options: Any,
) -> Path:
    """An encoder of any tokenizer, and of a network that is made for the number of its tokens."""
    torch.manual_seed(0)
    reads.save_pretrained(folder / "network")
    network(len(reads)).eval().save_pretrained(folder / "network")
    first = Transformer(str(folder / "network"), max_seq_length=length)
    return write_encoder(folder / "encoder", [first, *(modules or [Pooling(WIDTH)])], **options)


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
