"""How many threads a query is read with, seen from within the pass."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from rrra_haystack import RRRAModel
from rrra_haystack.model.threads import threads_for_list, threads_for_text

QUESTION = "Where does the Danube begin?"
PASSAGE = "The Danube rises in the Black Forest and flows for 2,850 kilometres to the Black Sea. " * 4


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model() -> RRRAModel:
    return RRRAModel.load()


def seen_within(module: torch.nn.Module) -> list[int]:
    seen: list[int] = []
    module.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    return seen


def test_a_question_is_encoded_by_one_thread_and_a_passage_by_all(model: RRRAModel) -> None:
    seen = seen_within(model.encoder.transformer)
    model.encode_query(QUESTION)
    model.encode_query(PASSAGE)
    model.encode_documents([PASSAGE])
    assert seen == [1, 2, 2]
    assert torch.get_num_threads() == 2


def test_a_list_is_judged_by_one_thread_and_a_very_long_one_by_all(model: RRRAModel) -> None:
    seen = seen_within(model.adapter)
    codes, query = model.encode_documents([PASSAGE])[1], model.encode_query(QUESTION)
    tokens = int(model.read_codes(codes).lengths[0])
    model.score(query, codes * 10)
    model.score(query, codes * (50_000 // tokens + 1))
    assert seen == [1, 2]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("tokens", "width", "threads"), [(32, 384, 1), (33, 384, 2), (8, 768, 1), (14, 768, 2)])
def test_the_wider_the_encoder_the_sooner_several_threads_read(tokens: int, width: int, threads: int) -> None:
    with threads_for_text(tokens, width):
        assert torch.get_num_threads() == threads


def test_other_threads_keep_theirs() -> None:
    with threads_for_list(1), ThreadPoolExecutor(1) as pool:
        assert torch.get_num_threads() == 1
        assert pool.submit(torch.get_num_threads).result() == 2


def test_all_threads_are_back_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), threads_for_list(1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == 2
