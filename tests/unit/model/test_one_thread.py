"""How many threads a query is read with, seen from within the pass."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from encoders import write_late_interaction

from rrra_haystack import RRRAModel
from rrra_haystack.model.adapter.observation import Judgement, Observation
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


def test_so_is_a_list_without_a_trained_adapter(monkeypatch: pytest.MonkeyPatch) -> None:
    untrained, seen = RRRAModel.load("all-MiniLM-L6-v2"), []
    judge = untrained.adapter.judge_by_match

    def judge_by_match(observation: Observation) -> Judgement:
        seen.append(torch.get_num_threads())
        return judge(observation)

    monkeypatch.setattr(untrained.adapter, "judge_by_match", judge_by_match)
    untrained.score(untrained.encode_query(QUESTION), untrained.encode_documents([PASSAGE])[1])
    assert seen == [1]


def test_the_width_is_that_of_the_layers_and_not_of_projected_states(tmp_path: Path) -> None:
    late = RRRAModel.load(write_late_interaction(tmp_path / "model"))
    assert late.encoder.hidden_size < late.encoder.transformer[0].model.config.hidden_size
    seen = seen_within(late.encoder.transformer)
    late.encode_documents([PASSAGE])
    assert seen == [2]


def test_a_thread_that_begins_with_a_list_has_one_within_and_all_behind(model: RRRAModel) -> None:
    codes, query = model.encode_documents([PASSAGE])[1], model.encode_query(QUESTION)
    seen = seen_within(model.adapter)

    def judge() -> int:
        model.score(query, codes)
        return torch.get_num_threads()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(judge).result() == 2
    assert seen == [1]


@pytest.mark.parametrize(("tokens", "threads"), [(50_000, 1), (50_001, 2)])
def test_how_long_a_list_is_that_one_thread_judges(tokens: int, threads: int) -> None:
    with threads_for_list(tokens):
        assert torch.get_num_threads() == threads


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
