"""Halves of characters, as JSON holds them that was cut between two escapes."""

import numpy as np
import pytest

from rrra_haystack.model.rrra_model import RRRAModel

HALF, WHOLE = "Where does \ud83d the Danu\udc00be begin?", "Where does \ufffd the Danu\ufffdbe begin?"


@pytest.mark.parametrize("prompt", [None, "quest\ud83dion: "])
def test_a_query_of_halves_is_read_with_replacements(model: RRRAModel, prompt: str | None) -> None:
    half = model.encode_query(HALF, prompt=prompt)
    whole = model.encode_query(WHOLE, prompt=prompt and prompt.replace("\ud83d", "\ufffd"))
    assert half.embedding.equal(whole.embedding)
    assert half.states.equal(whole.states)
    assert np.array_equal(half.words, whole.words)


def test_all_that_reads_texts_reads_halves(model: RRRAModel) -> None:
    encoder = model.encoder
    assert np.array_equal(*(model.encode_documents([text])[0] for text in (HALF, WHOLE)))
    pooled, expected = (encoder.encode_with_gradient([text], task="document").pooled for text in (HALF, WHOLE))
    assert pooled.equal(expected)
    assert encoder.token_ids([HALF]) == encoder.token_ids([WHOLE])
    assert np.array_equal(encoder.token_offsets(HALF), encoder.token_offsets(WHOLE))
    assert encoder.token_counts.of([HALF]) == [len(*encoder.token_ids([WHOLE]))]
