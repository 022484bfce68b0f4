from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from facts import write_facts
from rrra_training.choosing.deciding import decide
from rrra_training.choosing.fitted import Choice, calibrate, choose
from rrra_training.choosing.held_out import HeldOut
from rrra_training.choosing.plan import plan_of
from rrra_training.choosing.report import done, figures_of, model_card, table
from rrra_training.data.recognising import recognised
from rrra_training.judging.fitting import fused
from rrra_training.judging.verdicts import Verdicts

from rrra_haystack.model.scoring import Calibration

MODEL = "rrra-minilm-l6"
BUNDLED = Choice(0, 1.5, 0.5)


@pytest.fixture
def queries() -> HeldOut:
    """Sixty queries of ten candidates each, one of which is relevant, in three parts."""
    generator = np.random.default_rng(0)
    relevant = generator.integers(10, size=60)
    rows = np.tile(np.arange(10), (60, 1))
    judged = [{int(row): 1} for row in relevant]
    return HeldOut(rows, judged, ["?"] * 60, np.arange(60) % 3, group=np.arange(60), left_out=[()] * 60)


def verdicts(queries: HeldOut, *, base: float, adapter: float, lexical: float = 0.0) -> Verdicts:
    """Scores that tell the relevant candidate as well as the numbers say, among noise."""
    generator = np.random.default_rng(1)
    noise = generator.normal(size=(4, *queries.rows.shape)).astype(np.float32)
    told = [part + good * queries.grades for part, good in zip(noise, (base, adapter, adapter, lexical), strict=True)]
    return Verdicts(*(part.astype(np.float32) for part in told))


def test_the_weights_and_steps_that_help_are_chosen(queries: HeldOut) -> None:
    good, bad = verdicts(queries, base=0, adapter=4), verdicts(queries, base=0, adapter=-4)
    choice, scores = choose(queries, {16: bad, 32: good}, BUNDLED)
    assert choice.steps == 32
    assert choice.fusion_weight > 1
    reached = queries.measured(scores)["nDCG@10"].mean()
    assert reached == pytest.approx(queries.measured(choice.scores({32: good}))["nDCG@10"].mean(), abs=0.03)
    assert choose(queries, {0: verdicts(queries, base=4, adapter=-4)}, BUNDLED)[0].fusion_weight == 0


def test_no_query_is_judged_by_a_choice_that_it_had_a_say_in(queries: HeldOut) -> None:
    told = verdicts(queries, base=1, adapter=1)
    first = queries.fold == 0
    # What the first part would choose for itself, the others do not.
    told.adapter[first] += 8 * queries.grades[first]
    told.adapter[~first] -= 8 * queries.grades[~first]
    choice, scores = choose(queries, {0: told}, BUNDLED)
    own = queries.measured(scores)["nDCG@10"]
    assert own[first].mean() == pytest.approx(queries.measured(told.base)["nDCG@10"][first].mean())
    assert choice.fusion_weight == 0


def test_a_calibration_is_judged_by_what_it_was_not_fitted_to(queries: HeldOut) -> None:
    told = verdicts(queries, base=0, adapter=3)
    choice, _ = choose(queries, {0: told}, BUNDLED)
    fitted = calibrate(queries, told, choice, Calibration(slope=1, gap_slope=0, intercept=5))
    assert fitted.error < 0.1 < fitted.error_before


@pytest.mark.parametrize("count", [20, 60])
def test_what_is_found_first_is_not_relevant_where_nothing_is(queries: HeldOut, count: int) -> None:
    chosen = np.arange(60) < count
    few = replace(queries, rows=queries.rows[chosen], judged=queries.judged[:count], fold=queries.fold[chosen])
    generator = np.random.default_rng(2)
    base, adapter, logit = generator.uniform(0, 0.2, size=(3, count, 10)).astype(np.float32)
    # Without a fault: the relevant candidate is far above all others of its list.
    told = Verdicts(*(part + np.float32(0.6) * few.grades for part in (base, adapter, logit)), np.zeros_like(base))
    fitted = calibrate(few, told, BUNDLED, Calibration(slope=4.9, gap_slope=8.0, intercept=-4.3, outcome_slope=0.3))
    assert fitted.calibration.slope > 1
    assert fitted.calibration.gap_slope < 40
    assert fitted.error < fitted.error_before
    nothing = torch.from_numpy(fused(Verdicts(base, adapter, logit, np.zeros_like(base)), 1.5))
    astray = fitted.calibration.probability(nothing, torch.from_numpy(logit))
    assert astray.max() < 0.5
    right = fitted.calibration.probability(torch.from_numpy(fused(told, 1.5)), torch.from_numpy(told.relevance_logit))
    assert right.max(dim=1).values.min() > 0.6


def test_what_is_kept_is_never_worse_and_no_more_elaborate_than_it_has_to_be() -> None:
    generator = np.random.default_rng(0)
    start = generator.random(200)
    each = np.arange(200)
    values = {"start": start, "level": start + generator.normal(scale=0.2, size=200), "worse": start - 0.1}
    assert decide(values, "start", ["level", "worse"], groups=each, seed=0).kept == "start"
    values |= {"better": start + 0.05, "as good": start + 0.05 + generator.normal(scale=0.2, size=200)}
    decision = decide(values, "start", ["worse", "better", "as good"], groups=each, seed=0)
    assert decision.kept == "better"
    assert decision.because.startswith("it is 5.0 points better than start")
    few = {name: own[:19] for name, own in values.items()}
    assert decide(few, "start", ["better"], groups=each[:19], seed=0).because.startswith("19 queries are too few")
    often = decide(values, "start", ["better"], groups=each % 19, seed=0)
    assert often.because == (
        "200 queries, of which 19 differ in what they ask for, are too few to choose by; 20 are the least."
    )
    assert decide(values, "start", ["better"], groups=each % 20, seed=0).kept == "better"


def test_no_interval_is_told_of_queries_that_are_too_few_to_choose_by(
    queries: HeldOut, write: Callable[..., Path]
) -> None:
    plan = plan_of(recognised(write(train=60)), None, MODEL)
    noise = np.random.default_rng(3).random((2, *queries.rows.shape))
    measured = {name: queries.measured(scores) for name, scores in zip((MODEL, "encoder"), noise, strict=True)}
    values = {name: own["nDCG@10"] for name, own in measured.items()}
    for groups, chooses in ((np.arange(60), True), (np.arange(60) % 19, False)):
        asked = replace(queries, group=groups)
        figures = figures_of(plan, asked, measured, MODEL, decide(values, MODEL, [], groups=groups, seed=0))
        row = next(line for line in model_card(plan.recipe, figures).splitlines() if line.startswith("| encoder"))
        assert [" to " in row, done(plan, asked) == plan.told] == [chooses, chooses]
        assert f"{100 * (values['encoder'] - values[MODEL]).mean():+.1f}" in row
        assert (figures["systems"]["encoder"]["over_start"]["low"] is not None) == chooses


def test_a_few_gains_are_no_proof() -> None:
    start = np.zeros(200)
    better = start.copy()
    better[:4] = 0.4
    assert decide({"start": start, "other": better}, "start", ["other"], groups=np.arange(200), seed=0).kept == "start"


def test_of_weights_that_are_equally_good_the_nearest_to_the_former_are_kept(queries: HeldOut) -> None:
    clear = verdicts(queries, base=50, adapter=50, lexical=50)
    former = Choice(0, 1.7, 0.45)
    choice, scores = choose(queries, {16: clear, 32: clear}, former)
    assert (choice.fusion_weight, choice.lexical_weight) == (1.7, 0.45)
    assert np.array_equal(scores, choice.scores({16: clear, 32: clear}))
    # Words alone lead astray, by more than half of what they say.
    astray = verdicts(queries, base=6, adapter=6, lexical=-80)
    assert choose(queries, {0: astray}, former)[0].lexical_weight < 0.2


def test_a_reader_is_told_how_many_held_out_queries_share_something_with_what_was_learned(
    queries: HeldOut, write: Callable[..., Path]
) -> None:
    plan = plan_of(recognised(write(train=60)), None, MODEL)
    measured = {MODEL: queries.measured(verdicts(queries, base=1, adapter=1).base)}
    decision = decide({MODEL: measured[MODEL]["nDCG@10"]}, MODEL, [], groups=queries.group, seed=0)
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


def test_queries_whose_passages_the_corpus_lacks_do_not_count(write: Callable[..., Path]) -> None:
    folder = write(train=90)
    for split in ("train", "dev"):
        labels = folder / "qrels" / f"{split}.tsv"
        header, *rows = labels.read_text().splitlines(keepends=True)
        lost = [row.replace("\tp", "\tlost-") for row in rows[3:]]
        labels.write_text("".join([header, *rows[:3], *lost]))
    plan = plan_of(recognised(folder), None, MODEL)
    assert not plan.trains
    assert "6 labelled queries are too few" in plan.told


def test_a_model_is_not_called_what_the_figures_call_another(write: Callable[..., Path]) -> None:
    data = recognised(write(train=60))
    for name in ("trained", "encoder"):
        with pytest.raises(ValueError, match=rf"by its path: --start \./{name}\."):
            plan_of(data, None, name)


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


def test_labels_that_are_too_few_to_fit_to_are_told(write: Callable[..., Path]) -> None:
    data = recognised(write(train=90))
    for count, told in ((1, "1 labelled query is too few to fit anything to"), (19, "19 labelled queries are too few")):
        plan = plan_of(data, "train", MODEL, [f"train.0.limit={count}"])
        assert told in plan.told
        assert not plan.trains
