"""Records of token codes, of documents of several lengths."""

import pybase64
import torch
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.words import word_codes

KINDS = ("int8", "4bit", "2bit", "1bit")
LENGTHS = torch.tensor([0, 7, 1, 0, 30, 12, 0])
NAMES = [f"doc-{i}" for i in range(len(LENGTHS))]
TEXTS = [
    "",
    "Bread needs yeast.",
    "What rises?",
    "",
    "The Danube rises in the Black Forest, says the map of 1842.",
    "X",
    "É",
]
WORDS = [word_codes(text) for text in TEXTS]
assert [len(own) for own in WORDS[-2:]] == [1, 1]


def make(kind: str, dim: int, pooled_dim: int = 48, lengths: torch.Tensor = LENGTHS, seed: int = 0, key: int = 7):
    generator = torch.Generator().manual_seed(seed)
    codec = TokenCodec(kind, dim, pooled_dim, key)
    states = normalize(torch.randn(int(lengths.sum()), dim, generator=generator), dim=-1)
    pooled = torch.randn(len(lengths), pooled_dim, generator=generator)
    words = [WORDS[i % len(WORDS)] for i in range(len(lengths))]
    return codec, states, pooled, codec.pack(pooled, states, lengths, words)


def flip(text: str, at: int) -> str:
    data = bytearray(pybase64.b64decode(text))
    data[at] ^= 0x40
    return pybase64.b64encode_as_string(bytes(data))


lengths_of_documents = st.lists(st.integers(0, 20), min_size=1, max_size=8)
