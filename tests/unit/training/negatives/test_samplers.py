import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from rrra_training.negatives.drawing import draw, first_draw_probabilities
from rrra_training.negatives.fne import FNE
from rrra_training.negatives.sampler import Candidates, Sampler
from rrra_training.negatives.samplers import RRRA, AnySampler, MarginPos, PercPos, Random, SimANS, TopK, TriSampler
from torch import Tensor

NAMES = ["random", "top-k", "simans", "trisampler", "margin-pos", "perc-pos", "fne", "rrra"]


def one_query(scores: list[float], positive: float, eligible: list[bool] | None = None, **more: Any) -> Candidates:
    return Candidates(
        scores=torch.tensor([scores]),
        positive_scores=torch.tensor([positive]),
        eligible=torch.tensor([eligible or [True] * len(scores)]),
        **{name: torch.tensor([values]) for name, values in more.items()},
    )


def weights(sampler: Sampler, candidates: Candidates) -> list[float]:
    return sampler.weights(candidates)[0].tolist()


def test_random_weighs_all_that_are_eligible_alike() -> None:
    assert weights(Random(), one_query([0.9, 0.5, 0.1], 0.7, [True, False, True])) == [1, 0, 1]


def test_top_k_counts_eligible_candidates_only() -> None:
    found = weights(TopK(k=2), one_query([0.9, 0.8, 0.7, 0.6], 0.5, [True, False, True, True]))
    assert found == [1, 0, 1, 0]


def test_simans_squared_on_hand_computed_numbers() -> None:
    # exp(-100 (s - 0.7 + 0.05)^2): s - 0.65 is 0.1, 0 and -0.05.
    found = weights(SimANS(), one_query([0.75, 0.65, 0.60], 0.7))
    assert found == pytest.approx([0.36788, 1, 0.77880], abs=1e-4)


def test_simans_absolute_on_hand_computed_numbers() -> None:
    # exp(-3 |s - 12|) of the released code: 1, 2 and 0 away.
    found = weights(SimANS(form="absolute", a=3, b=0), one_query([13.0, 12.0, 10.0], 12))
    assert found == pytest.approx([0.049787, 1, 0.0024788], rel=1e-4)
    # The default: exp(-10 |s - 0.65|).
    assert weights(SimANS(form="absolute"), one_query([0.75], 0.7)) == pytest.approx([0.36788], abs=1e-4)


def test_simans_released_offset_has_the_other_sign() -> None:
    # exp(-0.5 (s - s_pos + 1)^2), released for NQ with b = 1: the peak lies 1 below the positive.
    assert weights(SimANS(a=0.5, b=-1), one_query([8.0, 7.0], 8.0)) == pytest.approx([0.60653, 1], abs=1e-5)


def test_simans_keeps_far_candidates_above_zero() -> None:
    assert 0 < weights(SimANS(b=0), one_query([-1.0], 1.0))[0] < 1e-170


def test_trisampler_on_hand_computed_numbers() -> None:
    candidates = one_query([0.8, 0.6, 0.5], 0.7, positive_similarity=[0.9, 0.5, 0.7])
    # exp(-100 x 0.01) x 0.1; nearer to the query than to the positive; exp(-100 x 0.04) x 0.2.
    assert weights(TriSampler(), candidates) == pytest.approx([0.036788, 0, 0.0036631], rel=1e-4)
    # The published factor: exp(-0.01 / 4) x 0.1, and exp(-0.04 / 4) x 0.2.
    published = weights(TriSampler(sharpness=0.25), candidates)
    assert published == pytest.approx([0.099750, 0, 0.198010], rel=1e-4)


def test_margin_pos_takes_the_hardest_below_the_threshold() -> None:
    candidates = one_query([0.69, 0.66, 0.64, 0.63, 0.62], 0.7, [True, True, True, False, True])
    assert weights(MarginPos(k=2), candidates) == [0, 0, 1, 0, 1]
    assert weights(MarginPos(k=1), candidates) == [0, 0, 1, 0, 0]
    assert weights(MarginPos(margin=0.065, k=1), candidates) == [0, 0, 0, 0, 1]


def test_perc_pos_takes_the_hardest_below_the_threshold() -> None:
    # 0.95 x 0.6 = 0.57
    candidates = one_query([0.61, 0.58, 0.56, 0.50], 0.6)
    assert weights(PercPos(k=1), candidates) == [0, 0, 1, 0]
    assert weights(PercPos(k=5), candidates) == [0, 0, 1, 1]


def test_perc_pos_of_a_negative_score_stays_below_it() -> None:
    # -0.2 - 0.05 x 0.2 = -0.21
    assert weights(PercPos(), one_query([-0.195, -0.205, -0.22], -0.2)) == [0, 0, 1]


def fne_queries() -> Candidates:
    # Positives: mean 0.7, deviation 0.1. Candidates: mean 0.4, deviation 0.1.
    return Candidates(
        scores=torch.tensor([[0.5, 0.3], [0.5, 0.3]]),
        positive_scores=torch.tensor([0.8, 0.6]),
        eligible=torch.ones(2, 2, dtype=torch.bool),
    )


def test_fne_probability_on_hand_computed_numbers() -> None:
    found = FNE(prior=0.2).false_negative(fne_queries())[0].tolist()
    # At 0.5: N+ = exp(-2), N- = exp(-0.5); 0.2 x 0.135335 / (0.2 x 0.135335 + 0.8 x 0.606531) = 0.052835.
    # At 0.3, below the mean of the candidates, as at 0.4: N+ = exp(-4.5), N- = 1; 0.2 / (0.2 + 0.8 x 90.0171).
    assert found == pytest.approx([0.052835, 0.0027696], rel=1e-3)


def test_fne_weights_on_hand_computed_numbers() -> None:
    # 0.3 lies 0.4 below the mean positive: cut. exp(-10 x 0.052835), exp(-10 x 0.0027696).
    found = FNE(prior=0.2).weights(fne_queries())
    assert found.tolist() == [pytest.approx([0.58956, 0], rel=1e-3)] * 2
    kept = FNE(prior=0.2, margin=None).weights(fne_queries())
    assert kept.tolist() == [pytest.approx([0.58956, 0.97268], rel=1e-3)] * 2


def test_fne_densities_of_other_spreads_on_hand_computed_numbers() -> None:
    # Positives: mean 0.6, deviation 0.2. Candidates: mean 0.4, deviation 0.1. At 0.5:
    # N+ = exp(-0.125) / 0.2 = 4.41248, N- = exp(-0.5) / 0.1 = 6.06531; prior 1/2.
    candidates = Candidates(
        scores=torch.tensor([[0.5, 0.3], [0.5, 0.3]]),
        positive_scores=torch.tensor([0.8, 0.4]),
        eligible=torch.ones(2, 2, dtype=torch.bool),
    )
    found = FNE(prior=0.5).false_negative(candidates)[0, 0].item()
    assert found == pytest.approx(4.41248 / (4.41248 + 6.06531), rel=1e-4)


def test_fne_ignores_what_is_not_eligible() -> None:
    plain = fne_queries()
    padded = Candidates(
        scores=torch.cat([plain.scores, torch.full((2, 1), -math.inf)], dim=1),
        positive_scores=plain.positive_scores,
        eligible=torch.tensor([[True, True, False]] * 2),
    )
    assert torch.equal(FNE().weights(padded)[:, :2], FNE().weights(plain))
    assert FNE().weights(padded)[:, 2].tolist() == [0, 0]


def test_fne_needs_more_than_one_query() -> None:
    with pytest.raises(ValueError, match="got 1 queries with 2 eligible candidates: pass more queries"):
        FNE().weights(one_query([0.5, 0.4], 0.6))


def test_rrra_of_scores_on_hand_computed_numbers() -> None:
    candidates = one_query([0.60, 0.55, 0.50], 0.7, [True, True, False], false_negative=[0.5, 0.2, 0.0])
    # The softmax of 12 and 11 is 0.731059 and 0.268941; times 0.5^2 and 0.8^2.
    assert weights(RRRA(gamma=2), candidates) == pytest.approx([0.182765, 0.172122, 0], rel=1e-4)
    assert weights(RRRA(gamma=0), candidates) == pytest.approx([0.731059, 0.268941, 0], rel=1e-4)


def test_rrra_of_other_hardness_on_hand_computed_numbers() -> None:
    candidates = one_query([0.75, 0.65, 0.60], 0.7, false_negative=[0.5, 1.0, 0.1])
    found = weights(RRRA(hardness="simans"), candidates)
    assert found == pytest.approx([0.36788 * 0.5, 0, 0.77880 * 0.9], abs=1e-4)
    found = weights(RRRA(hardness="top-k", top_k=TopK(k=2)), candidates)
    assert found == pytest.approx([0.5, 0, 0])


@pytest.mark.parametrize(("sampler", "field"), [(TriSampler(), "positive_similarity"), (RRRA(), "false_negative")])
def test_a_field_that_is_missing_is_named(sampler: Sampler, field: str) -> None:
    with pytest.raises(ValueError, match=rf"reads Candidates\.{field}, which is not set"):
        sampler.weights(one_query([0.5], 0.6))


@st.composite
def some_candidates(draw_from: st.DrawFn) -> Candidates:
    rows, n = draw_from(st.integers(2, 4)), draw_from(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw_from(st.integers(0, 10_000)))
    eligible = torch.rand(rows, n, generator=generator) < 0.7
    eligible[0, 0] = True
    scores = (torch.rand(rows, n, generator=generator) * 2 - 1).sort(dim=1, descending=True).values
    return Candidates(
        # What is not eligible may be anything.
        scores=scores.where(eligible, draw_from(st.sampled_from([-math.inf, math.nan, 0.5]))),
        positive_scores=torch.rand(rows, generator=generator) * 2 - 1,
        eligible=eligible,
        positive_similarity=torch.rand(rows, n, generator=generator) * 2 - 1,
        false_negative=torch.rand(rows, n, generator=generator),
    )


@pytest.mark.parametrize("name", NAMES)
@given(candidates=some_candidates())
def test_weights_are_never_negative_and_zero_where_not_eligible(name: str, candidates: Candidates) -> None:
    sampler: Sampler = TypeAdapter(AnySampler).validate_python(name)
    found = sampler.weights(candidates)
    assert found.shape == candidates.scores.shape
    assert (found >= 0).all()
    assert found.isfinite().all()
    assert (found[~candidates.eligible] == 0).all()


@given(candidates=some_candidates(), count=st.integers(1, 8), seed=st.integers(0, 100))
def test_a_draw_has_no_duplicates_and_is_eligible(candidates: Candidates, count: int, seed: int) -> None:
    eligible = candidates.eligible
    found = draw(SimANS().weights(candidates), count, eligible=eligible, generator=torch.Generator().manual_seed(seed))
    assert found.shape == (len(eligible), count)
    for row, indices in enumerate(found.tolist()):
        drawn = [index for index in indices if index >= 0]
        assert len(drawn) == len(set(drawn)) == min(count, int(eligible[row].sum()))
        assert all(eligible[row, index] for index in drawn)
        assert indices[len(drawn) :] == [-1] * (count - len(drawn))


def drawn(row: list[float], count: int, eligible: list[bool] | None = None, *, rows: int = 1, seed: int = 0) -> Tensor:
    return draw(
        torch.tensor([row]).repeat(rows, 1),
        count,
        eligible=torch.tensor([eligible or [True] * len(row)]).repeat(rows, 1),
        generator=torch.Generator().manual_seed(seed),
    )


def test_frequencies_follow_the_weights() -> None:
    rows = 40_000
    found = drawn([1.0, 2.0, 0.0, 5.0], 2, rows=rows)
    first = torch.bincount(found[:, 0], minlength=4) / rows
    assert first.tolist() == pytest.approx([1 / 8, 2 / 8, 0, 5 / 8], abs=0.01)
    # 3 first, then 1 or 0 by weight; 5/8 x 2/3 of all draws.
    both = ((found[:, 0] == 3) & (found[:, 1] == 1)).double().mean().item()
    assert both == pytest.approx(5 / 8 * 2 / 3, abs=0.01)
    assert not (found == 2).any()


def test_the_scale_of_weights_does_not_matter() -> None:
    assert torch.equal(drawn([1e-30, 2e-30, 5e-30], 3, rows=50), drawn([0.1, 0.2, 0.5], 3, rows=50))


def test_a_draw_is_repeated_by_its_seed() -> None:
    row = [1.0] * 20
    assert torch.equal(drawn(row, 5, seed=3), drawn(row, 5, seed=3))
    assert not torch.equal(drawn(row, 5, seed=3), drawn(row, 5, seed=4))


def test_a_row_is_filled_up_from_its_easiest_candidates() -> None:
    found = drawn([0.0, 0.0, 1e-30, 0.0, 0.0], 4, [True, True, True, True, False])
    # The one that has a weight, however small; then 3, 1 and 0 from the end; 4 is not eligible.
    assert found.tolist() == [[2, 3, 1, 0]]
    assert drawn([0.0, 0.0, 0.0], 2).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    ("row", "eligible"),
    [
        ([1.0, 3.0, 0.0, 4.0], [True] * 4),
        # Refused as a whole: the easiest that is eligible.
        ([0.0, 0.0, 0.0, 0.0], [True, True, True, False]),
        ([0.0, 0.0, 0.0, 0.0], [False] * 4),
    ],
)
def test_first_draws_are_as_frequent_as_they_are_probable(row: list[float], eligible: list[bool]) -> None:
    rows = 20_000
    found = drawn(row, 1, eligible, rows=rows)
    frequency = [float((found == index).float().mean()) for index in range(4)]
    told = first_draw_probabilities(torch.tensor([row], dtype=torch.float64), torch.tensor([eligible]))[0]
    assert told.tolist() == pytest.approx(frequency, abs=0.02)


def test_a_row_of_too_few_ends_in_minus_one() -> None:
    assert drawn([0.0, 1.0, 1.0], 3, [False, True, False]).tolist() == [[1, -1, -1]]
    assert drawn([1.0], 3).tolist() == [[0, -1, -1]]


@pytest.mark.parametrize("wrong", [-0.1, math.nan, math.inf])
def test_impossible_weights(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"weights must be finite numbers >= 0, but row 0 has .* at 1"):
        drawn([1.0, wrong], 1)


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid")

    sampler: AnySampler = RRRA()


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_takes_the_bare_name(name: str) -> None:
    recipe = Recipe.model_validate({"sampler": name})
    assert recipe.sampler.name == name
    assert recipe == Recipe.model_validate({"sampler": {"name": name}})
    assert recipe == Recipe.model_validate_json(recipe.model_dump_json())
    assert recipe == Recipe(sampler=recipe.sampler)


def test_a_recipe_takes_settings() -> None:
    recipe = Recipe.model_validate({"sampler": {"name": "rrra", "hardness": "simans", "simans": {"a": 50}}})
    assert recipe.sampler == RRRA(hardness="simans", simans=SimANS(a=50))


@pytest.mark.parametrize("spelt", ["simens", {"name": "simens"}])
def test_an_unknown_name_is_told_with_the_nearest(spelt: object) -> None:
    with pytest.raises(ValidationError, match="unknown sampler 'simens'; the nearest known one is 'simans'"):
        Recipe.model_validate({"sampler": spelt})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "simans", "tau": 3},
        {"name": "simans", "a": 0},
        {"name": "top-k", "k": 0},
        {"name": "perc-pos", "share": 1.1},
        {"name": "fne", "prior": 0},
        {"name": "rrra", "gamma": -1},
        {"gamma": 1},
        7,
    ],
)
def test_impossible_settings(wrong: object) -> None:
    with pytest.raises(ValidationError, match="sampler"):
        Recipe.model_validate({"sampler": wrong})
