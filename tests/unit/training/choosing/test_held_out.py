"""Nothing that is held out is known from what is learned, as far as the labels allow."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rrra_training.candidates.evidence import EvidenceConfig
from rrra_training.candidates.mining import MiningConfig
from rrra_training.candidates.preparing import prepare
from rrra_training.candidates.sets import CandidateSet, Positives
from rrra_training.candidates.splits import SplitConfig
from rrra_training.choosing import held_out as module
from rrra_training.choosing.fitted import Choice, choose
from rrra_training.choosing.held_out import HeldOut, held_out, parts_of
from rrra_training.choosing.report import remark
from rrra_training.choosing.sharing import Shared
from rrra_training.judging.verdicts import Verdicts

from rrra_haystack import RRRAModel


def plan(*, takes_turns: bool, seed: int = 0) -> Any:
    return SimpleNamespace(takes_turns=takes_turns, folds=3 if takes_turns else 5, recipe=SimpleNamespace(seed=seed))


def labelled(data: CandidateSet, rows: Sequence[Sequence[int]]) -> CandidateSet:
    """The same queries with other relevant passages."""
    flat = np.concatenate([np.asarray(own) for own in rows])
    return replace(data, positives=Positives(flat, np.ones_like(flat), np.cumsum([len(own) for own in rows])))


def known(sets: Sequence[CandidateSet], parts: Sequence[np.ndarray], *, takes_turns: bool) -> int:
    """How many held-out queries share a relevant passage or the question with what is learned from meanwhile."""
    queries = [
        (part, {*data.positives.of(query).tolist(), data.queries.text(query)})
        for data, own in zip(sets, parts, strict=True)
        for query, part in enumerate(own.tolist())
    ]
    return sum(
        any(mine & other for part, other in queries if part != held and (takes_turns or part < 0))
        for held, mine in queries
        if held >= 0
    )


def checked(sets: Sequence[CandidateSet], *, takes_turns: bool, seed: int = 0) -> tuple[np.ndarray, HeldOut]:
    """The parts of all queries and those held out, of which none may be known unless that is told."""
    shared = Shared.of(sets)
    parts = parts_of(sets, shared, plan(takes_turns=takes_turns, seed=seed))
    queries = held_out(sets, shared, parts)
    assert queries.shared == known(sets, parts, takes_turns=takes_turns)
    return np.concatenate(parts), queries


@pytest.fixture(scope="session")
def dev(folder: Path, tmp_path_factory: pytest.TempPathFactory, model: RRRAModel) -> CandidateSet:
    config = SplitConfig.model_validate({"data": {"format": "beir", "path": folder}, "split": "dev"})
    cache = tmp_path_factory.mktemp("dev")
    return prepare(config, model.encoder, cache, mining=MiningConfig(), evidence=EvidenceConfig())


@pytest.mark.parametrize("takes_turns", [True, False])
def test_queries_of_one_passage_are_held_out_together(data: CandidateSet, takes_turns: bool) -> None:
    part, queries = checked([data], takes_turns=takes_turns)
    assert queries.shared == 0
    assert set(part.tolist()) == ({0, 1, 2} if takes_turns else {-1, 0, 1, 2, 3, 4})
    assert len(queries) == (len(data) if takes_turns else 0.2 * len(data))
    assert queries.measured(-np.cumsum(np.ones(queries.rows.shape), axis=1))["nDCG@10"].mean() > 0.3


@pytest.mark.parametrize("takes_turns", [True, False])
def test_all_relevant_passages_count_and_not_the_first_alone(data: CandidateSet, takes_turns: bool) -> None:
    pairs = labelled(data, [[query, query ^ 1] for query in range(len(data))])
    for seed in range(5):
        assert checked([pairs], takes_turns=takes_turns, seed=seed)[1].shared == 0


@pytest.mark.parametrize("takes_turns", [True, False])
def test_a_question_that_is_asked_twice_is_held_out_twice_or_not_at_all(data: CandidateSet, takes_turns: bool) -> None:
    once = labelled(data, [[query] for query in range(len(data))])
    again = labelled(data, [[query + len(data)] for query in range(len(data))])
    for seed in range(5):
        assert checked([once, again], takes_turns=takes_turns, seed=seed)[1].shared == 0


@pytest.mark.parametrize("takes_turns", [True, False])
def test_queries_in_other_words_are_held_out_and_judge_nothing(
    folder: Path, model: RRRAModel, tmp_path: Path, takes_turns: bool
) -> None:
    split = {"data": {"format": "beir", "path": folder}, "split": "train", "styles": {"claims": 1, "keywords": 1}}
    config = SplitConfig.model_validate(split)
    data = prepare(config, model.encoder, tmp_path, mining=MiningConfig(), evidence=EvidenceConfig())
    assert data.restyled
    parts = parts_of([data], Shared.of([data]), plan(takes_turns=takes_turns))
    queries = held_out([data], Shared.of([data]), parts)
    assert len(queries) == (parts[0][: data.asked] >= 0).sum() == len(queries.rows) == len(queries.fold)
    asked = {data.queries.text(row) for row in range(data.asked)}
    assert asked.issuperset(queries.texts)
    assert queries.shared == 0
    # Of a question that is held out, what was made of it is not learned from.
    held = {name for name, part in zip(data.queries.ids, parts[0], strict=True) if part >= 0}
    assert {name for name in data.queries.ids if name.partition("#")[0] in held} == held


def test_parts_are_about_as_large_as_what_hangs_together_allows(data: CandidateSet) -> None:
    hub = len(data) * 2 // 5
    part, queries = checked([labelled(data, [[max(query, hub)] for query in range(len(data))])], takes_turns=True)
    assert queries.shared == 0
    assert sorted(np.bincount(part)) == pytest.approx([(len(data) - hub) / 2, (len(data) - hub) / 2, hub], abs=1)


def test_where_all_hangs_together_it_is_parted_where_least_is_shared_and_that_is_told(data: CandidateSet) -> None:
    chain = labelled(data, [[query, query + 1] for query in range(len(data))])
    part, queries = checked([chain], takes_turns=True)
    assert np.bincount(part).max() <= len(data) / 2
    assert 0 < queries.shared <= 4
    part, queries = checked([chain], takes_turns=False)
    assert 0.1 * len(data) <= (part >= 0).sum() <= 0.2 * len(data)
    one = labelled(data, [[0, query] for query in range(len(data))])
    part, queries = checked([one], takes_turns=True)
    assert len(set(part.tolist())) > 1
    assert queries.shared == len(data)
    assert f"{len(data)} of the {len(data)} held-out queries share a relevant passage" in remark(queries.shared, 60)
    assert not remark(0, 60)


def test_a_passage_of_too_many_queries_leaves_the_others_to_be_held_out(data: CandidateSet) -> None:
    hub = len(data) // 4
    often = labelled(data, [[max(query, hub)] for query in range(len(data))])
    for seed in range(10):
        part, queries = checked([often], takes_turns=False, seed=seed)
        assert ((part >= 0).sum(), queries.shared) == (len(data) // 5, 0)


def test_two_halves_that_each_hang_together_fall_into_three_parts(data: CandidateSet) -> None:
    part, queries = checked([labelled(data, [[query % 2] for query in range(len(data))])], takes_turns=True)
    assert np.bincount(part, minlength=3).min() >= len(data) // 6
    assert queries.shared > 0


@pytest.mark.parametrize("between", [0, 1])
def test_a_dev_split_that_hangs_together_is_chosen_by_in_parts(
    data: CandidateSet, dev: CandidateSet, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    monkeypatch.setattr(module, "_ENOUGH", 10)
    train = labelled(data, [[query] for query in range(len(data))])
    dense = labelled(dev, [len(data) + (between * query + np.arange(5)) % len(dev) for query in range(len(dev))])
    part, queries = checked([train, dense], takes_turns=False)
    assert np.bincount(part[part >= 0]).tolist() == [len(dev) / 5] * 5
    assert queries.shared == 0
    scores = -np.cumsum(np.ones(queries.rows.shape, dtype=np.float32), axis=1)
    verdicts = Verdicts(scores, scores, scores, np.zeros_like(scores))
    assert np.isfinite(choose(queries, {1: verdicts}, Choice(0, 1.5, 0.5))[1]).all()


def test_a_group_that_is_held_out_alone_is_chosen_by_in_parts(data: CandidateSet) -> None:
    fifths = labelled(data, [[query % 5] for query in range(len(data))])
    _, queries = checked([fifths], takes_turns=False)
    assert len(queries) == len(data) // 5
    assert len(set(queries.fold.tolist())) > 1
    assert queries.shared == 0


def test_a_large_dev_split_is_held_out_but_for_what_it_shares_with_training(
    data: CandidateSet, dev: CandidateSet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_ENOUGH", 10)
    train = labelled(data, [[query] for query in range(len(data))])
    apart = len(data) + np.arange(len(dev))[:, None]
    part, queries = checked([train, labelled(dev, apart.tolist())], takes_turns=False)
    assert (part >= 0).tolist() == [False] * len(data) + [True] * len(dev)
    assert not caplog.text

    mixed = np.where(apart < len(data) + 5, 0, apart)
    part, queries = checked([train, labelled(dev, mixed.tolist())], takes_turns=False)
    assert (part >= 0).tolist() == [False] * (len(data) + 5) + [True] * (len(dev) - 5)
    assert queries.shared == 0
    assert "5 of 20 dev queries share a relevant passage" in caplog.text
    assert "these are learned from" in caplog.text

    part, queries = checked([train, labelled(dev, (apart - len(data)).tolist())], takes_turns=False)
    assert ((part >= 0).sum(), queries.shared) == (16, 0)
    assert "some of all queries are held out instead" in caplog.text


def test_queries_depend_on_each_other_where_they_ask_for_one_passage(data: CandidateSet) -> None:
    count = len(data)
    shared = Shared.of([labelled(data, [[query % 4] for query in range(count)])])
    parts = [np.zeros(count, dtype=int)]
    few = held_out([data], shared, parts)
    assert len(set(few.group.tolist())) == 4
    assert not few.chooses
    # All hang together by way of others, yet each shares half of what it has with two alone.
    chain = Shared.of([labelled(data, [[query, query + 1] for query in range(count)])])
    assert len(set(chain.groups(count).tolist())) == 1
    many = held_out([data], chain, parts)
    assert len(set(many.group.tolist())) == count
    assert many.chooses


def test_a_passage_that_all_share_makes_no_group_of_queries_with_passages_of_their_own(data: CandidateSet) -> None:
    overview = len(data) - 1
    shared = Shared.of([labelled(data, [[query, overview] for query in range(overview)] + [[0, 1, overview]])])
    queries = held_out([data], shared, [np.zeros(len(data), dtype=int)])
    assert queries.group.tolist() == [*range(overview), 0]
    assert queries.chooses


def test_queries_say_the_same_that_share_the_question_or_half_of_their_passages() -> None:
    owned = [(90, 1, 2, 3), (91, 2, 3, 4), (92, 3, 4, 5), (93, 7), (93, 8, 9), (94, 8, 9), (95, 8)]
    query = np.repeat(np.arange(len(owned)), [len(own) for own in owned])
    shared = Shared(query, np.concatenate(owned), np.asarray([own[0] for own in owned]))
    assert shared.alike(np.arange(7)).tolist() == [0, 0, 2, 3, 3, 5, 5]
    assert shared.alike(np.asarray([1, 2, 6])).tolist() == [1, 1, 6]
