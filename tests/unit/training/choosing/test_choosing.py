from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from facts import write_facts
from rrra_training.choosing.deciding import decide
from rrra_training.choosing.fitted import calibrate, choose
from rrra_training.choosing.held_out import HeldOut
from rrra_training.choosing.plan import plan_of
from rrra_training.choosing.report import figures_of, model_card, table
from rrra_training.data.recognising import recognised
from rrra_training.judging.verdicts import Verdicts

from rrra_haystack.model.scoring import Calibration

MODEL = "rrra-minilm-l6"


@pytest.fixture
def queries() -> HeldOut:
    """Sixty queries of ten candidates each, one of which is relevant, in three parts."""
    generator = np.random.default_rng(0)
    relevant = generator.integers(10, size=60)
    rows = np.tile(np.arange(10), (60, 1))
    return HeldOut(rows, [{int(row): 1} for row in relevant], ["?"] * 60, np.arange(60) % 3)


def verdicts(queries: HeldOut, *, base: float, adapter: float, lexical: float = 0.0) -> Verdicts:
    """Scores that tell the relevant candidate as well as the numbers say, among noise."""
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(4, *queries.rows.shape)).astype(np.float32)
    told = [part + good * queries.grades for part, good in zip(noise, (base, adapter, adapter, lexical), strict=True)]
    return Verdicts(*(part.astype(np.float32) for part in told))


def test_the_weights_and_steps_that_help_are_chosen(queries: HeldOut) -> None:
    good, bad = verdicts(queries, base=0, adapter=4), verdicts(queries, base=0, adapter=-4)
    choice, scores = choose(queries, {16: bad, 32: good})
    assert choice.steps == 32
    assert choice.fusion_weight > 1
    reached = queries.measured(scores)["nDCG@10"].mean()
    assert reached == pytest.approx(queries.measured(choice.scores({32: good}))["nDCG@10"].mean(), abs=0.03)
    assert choose(queries, {0: verdicts(queries, base=4, adapter=-4)})[0].fusion_weight == 0


def test_no_query_is_judged_by_a_choice_that_it_had_a_say_in(queries: HeldOut) -> None:
    told = verdicts(queries, base=1, adapter=1)
    first = queries.fold == 0
    # What the first part would choose for itself, the others do not.
    told.adapter[first] += 8 * queries.grades[first]
    told.adapter[~first] -= 8 * queries.grades[~first]
    choice, scores = choose(queries, {0: told})
    own = queries.measured(scores)["nDCG@10"]
    assert own[first].mean() == pytest.approx(queries.measured(told.base)["nDCG@10"][first].mean())
    assert choice.fusion_weight == 0


def test_a_calibration_is_judged_by_what_it_was_not_fitted_to(queries: HeldOut) -> None:
    told = verdicts(queries, base=0, adapter=3)
    choice, _ = choose(queries, {0: told})
    fitted = calibrate(queries, told, choice, Calibration(slope=1, gap_slope=0, intercept=5))
    assert fitted.error < 0.1 < fitted.error_before


def test_what_is_kept_is_never_worse_and_no_more_elaborate_than_it_has_to_be() -> None:
    generator = np.random.default_rng(0)
    start = generator.random(200)
    values = {"start": start, "level": start + generator.normal(scale=0.2, size=200), "worse": start - 0.1}
    assert decide(values, "start", ["level", "worse"], seed=0).kept == "start"
    values |= {"better": start + 0.05, "as good": start + 0.05 + generator.normal(scale=0.2, size=200)}
    decision = decide(values, "start", ["worse", "better", "as good"], seed=0)
    assert decision.kept == "better"
    assert decision.because.startswith("it is 5.0 points better than start")
    few = {name: own[:19] for name, own in values.items()}
    assert decide(few, "start", ["better"], seed=0).because.startswith("19 queries are too few")


def test_a_reader_is_told_how_many_held_out_queries_share_something_with_what_was_learned(
    queries: HeldOut, write: Callable[..., Path]
) -> None:
    plan = plan_of(recognised(write(train=60)), None, MODEL)
    measured = {MODEL: queries.measured(verdicts(queries, base=1, adapter=1).base)}
    decision = decide({MODEL: measured[MODEL]["nDCG@10"]}, MODEL, [], seed=0)
    for shared in (0, 7):
        figures = figures_of(plan, replace(queries, shared=shared), measured, MODEL, decision)
        told = (model_card(plan.recipe, figures), str(table(figures).caption))
        assert ["7 of the 60 held-out queries share" in one for one in told] == [bool(shared)] * 2


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    return lambda **counts: write_facts(tmp_path / "my facts", **counts)


@pytest.mark.parametrize(
    ("train", "trains", "steps", "reason"),
    [(60, False, 0, "80 labelled queries, which are too few"), (90, True, 64, "110 labelled queries are enough for a")],
)
def test_the_size_of_the_data_decides(
    write: Callable[..., Path], train: int, trains: bool, steps: int, reason: str
) -> None:
    plan = plan_of(recognised(write(train=train)), None, MODEL)
    assert (plan.trains, plan.takes_turns, plan.recipe.start_steps) == (trains, True, steps)
    assert reason in plan.told
    assert {one.split for one in plan.recipe.train} == {"train", "dev"}
    assert plan.recipe.name == "my-facts"


def test_changes_and_splits_are_taken_and_a_test_split_is_left_alone(write: Callable[..., Path]) -> None:
    data = write(train=60)
    plan = plan_of(recognised(data), "dev", MODEL, ["seed=3", "mining.top_k=50"])
    assert [one.split for one in plan.recipe.train] == ["dev"]
    assert (plan.recipe.seed, plan.recipe.mining.top_k) == (3, 50)
    for split in ("train", "dev"):
        (data / "qrels" / f"{split}.tsv").unlink()
    with pytest.raises(ValueError, match="no split to learn from: it has test"):
        plan_of(recognised(data), None, MODEL)


def test_queries_that_are_not_drawn_do_not_count(write: Callable[..., Path]) -> None:
    data = recognised(write(train=90))
    assert "90 labelled queries" in plan_of(data, "train", MODEL, ["train.0.limit=200"]).told
    few = plan_of(data, "train", MODEL, ["train.0.limit=70"])
    assert "fitted to 70 labelled queries" in few.told
    assert "20 labelled queries" in plan_of(data, "train", MODEL, ["train.0.split=dev"]).told
    assert plan_of(data, None, MODEL).trains
    assert not plan_of(data, None, MODEL, ["train.0.limit=15", "train.1.limit=15"]).trains


def test_queries_of_another_collection_are_refused(write: Callable[..., Path], tmp_path: Path) -> None:
    other = write_facts(tmp_path / "others")
    with pytest.raises(ValueError, match=r"train\.1\.data names another collection"):
        plan_of(recognised(write(train=90)), None, MODEL, [f"train.1.data.path={other}"])


FEW, ENOUGH, UNTRAINED = (60, MODEL), (90, MODEL), (90, "all-MiniLM-L6-v2")


@pytest.mark.parametrize(
    ("begun", "change", "reason"),
    [
        (ENOUGH, "encoder=elsewhere", "--start names"),
        (ENOUGH, "start=elsewhere", "--start names"),
        (ENOUGH, "data_root=elsewhere", "that the command names"),
        (ENOUGH, "dev=[{data: {format: beir, path: elsewhere}}]", "held out"),
        (ENOUGH, "dual_encoder.epochs=2", "phase 1"),
        (ENOUGH, "joint.rounds=1", "phase 3"),
        (ENOUGH, "adapter.code=int8", "rrra index --code"),
        (ENOUGH, "adapter={code: 1bit}", "rrra index --code"),
        (UNTRAINED, "adapter.code=int8", "rrra index --code"),
        (ENOUGH, "adapter.lexical_match=false", "lexical weight"),
        (ENOUGH, "adapter.steps=5", "start_steps says"),
        (ENOUGH, "start_steps=0", "nothing to train"),
        (FEW, "start_steps=200", "so few"),
        (FEW, "adapter.batch_size=2", "so few"),
        (FEW, "evidence.qrels=0.5", "so few"),
    ],
)
def test_a_change_that_would_do_nothing_is_refused_by_its_name(
    write: Callable[..., Path], begun: tuple[int, str], change: str, reason: str
) -> None:
    train, model = begun
    with pytest.raises(ValueError, match=reason) as refused:
        plan_of(recognised(write(train=train)), None, model, [change])
    assert change.partition("=")[0].partition(".")[0] in str(refused.value)


@pytest.mark.parametrize(
    ("begun", "change"),
    [
        (ENOUGH, "start_steps=200"),
        (ENOUGH, "adapter.codes=[1bit]"),
        (ENOUGH, "evidence.qrels=0.5"),
        (ENOUGH, "adapter.lexical_match=true"),
        (UNTRAINED, "adapter.steps=5"),
        (UNTRAINED, "adapter.token_dim=64"),
        (FEW, "train.0.ignore_identical=true"),
    ],
)
def test_a_change_that_does_something_is_taken(write: Callable[..., Path], begun: tuple[int, str], change: str) -> None:
    train, model = begun
    key, _, value = change.partition("=")
    made = plan_of(recognised(write(train=train)), None, model, [change]).recipe.model_dump(mode="json")
    for part in key.split("."):
        made = made[int(part)] if isinstance(made, list) else made[part]
    assert made == yaml.safe_load(value)
