import numpy as np
import pytest
import torch
from rrra_training.corpora.store import StateStore
from rrra_training.judging import projecting
from rrra_training.judging.projecting import ProjectedStates, project, quantised

from rrra_haystack.model.codes.codec import TokenCodec
from rrra_haystack.model.words import word_codes


@pytest.mark.parametrize("kind", ["int8", "4bit", "2bit", "1bit"])
def test_what_training_sees_is_what_codes_keep(kind: str) -> None:
    states = torch.nn.functional.normalize(torch.randn(12, 16, generator=torch.Generator().manual_seed(0)), dim=-1)
    codec = TokenCodec(kind, 16, 8, 1)
    records = codec.pack(torch.randn(1, 8), states, torch.tensor([12]), [np.zeros(0, np.uint16)])
    kept = codec.unpack(records).token_states()
    seen = quantised(states, kind)
    assert torch.nn.functional.cosine_similarity(kept, seen).min() > 0.999
    assert (seen * states).sum(dim=1).numpy() == pytest.approx(1, abs=0.02)


def test_the_gradient_passes_through_the_quantiser() -> None:
    torch.manual_seed(0)
    layer, states, direction = torch.nn.Linear(6, 8, bias=False), torch.randn(5, 6), torch.randn(5, 8)
    expected = torch.autograd.grad(
        (torch.nn.functional.normalize(layer(states), dim=-1) * direction).sum(), layer.weight
    )[0]
    for kind in (None, "int8", "4bit", "2bit", "1bit"):
        found = torch.autograd.grad((project(states, layer, kind) * direction).sum(), layer.weight)[0]
        assert torch.allclose(found, expected, rtol=0.05, atol=0.05)


def test_words_of_a_bounded_number_of_texts_are_kept(kept: StateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projecting, "_TEXTS_KEPT", 2)
    passages = ProjectedStates(kept, kept.all_states)
    for _ in range(2):
        words, counts = passages.words(np.arange(len(kept)))
        for row, own in enumerate(np.split(words, np.cumsum(counts)[:-1])):
            np.testing.assert_array_equal(own, word_codes(kept.text(row)))
    assert passages._words_of.cache_info().currsize == 2
