import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from rrra_training.negatives.losses import CCR, CW, PNE, PUCL, AnyLoss, InfoNCE, Loss

NAMES = ["infonce", "ccr", "pucl", "cw", "pne"]
every_loss = pytest.mark.parametrize("name", NAMES)

LN2, LN3, LN4, LN6 = math.log(2), math.log(3), math.log(4), math.log(6)


def loss_named(name: str) -> Loss:
    return TypeAdapter(AnyLoss).validate_python(name)


def of_one(loss: Loss, scores: list[float], labels: list[int]) -> float:
    return loss(torch.tensor([scores], dtype=torch.float64), torch.tensor([labels])).item()


def test_infonce_on_hand_computed_numbers() -> None:
    # Exponentials 4, 1 and 3: -log(4 / 8).
    assert of_one(InfoNCE(temperature=1), [LN4, 0, LN3], [1, 0, 0]) == pytest.approx(LN2)
    # At half the temperature 16, 1 and 9: -log(16 / 26).
    assert of_one(InfoNCE(temperature=0.5), [LN4, 0, LN3], [1, 0, 0]) == pytest.approx(math.log(26 / 16))


def test_infonce_keeps_positives_apart() -> None:
    # 4 against 3 + 1, and 2 against 3 + 1: the mean of log 2 and log 3.
    found = of_one(InfoNCE(temperature=1), [LN4, LN2, LN3, 0], [1, 1, 0, 0])
    assert found == pytest.approx((LN2 + LN3) / 2)


@given(seed=st.integers(0, 1000), temperature=st.floats(0.01, 2))
def test_infonce_is_cross_entropy(seed: int, temperature: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, 6, generator=generator, dtype=torch.float64) * 2 - 1
    target = torch.randint(6, (4,), generator=generator)
    labels = torch.nn.functional.one_hot(target, 6)
    expected = torch.nn.functional.cross_entropy(scores / temperature, target)
    assert InfoNCE(temperature=temperature)(scores, labels).item() == pytest.approx(expected.item(), abs=1e-9)


def test_ccr_on_hand_computed_numbers() -> None:
    # p = 4/8, 1/8, 3/8; -log p = log 2, log 8, log 8/3. log 2 - 0.5 x their mean.
    found = of_one(CCR(temperature=1), [LN4, 0, LN3], [1, 0, 0])
    assert found == pytest.approx(LN2 - 0.5 * (LN2 + math.log(8) + math.log(8 / 3)) / 3)
    assert of_one(CCR(temperature=1, beta=0), [LN4, 0, LN3], [1, 0, 0]) == pytest.approx(LN2)


def test_ccr_of_two_positives_on_hand_computed_numbers() -> None:
    # 4 against 4: p = 1/2, 1/2. 2 against 4: p = 1/3, 2/3.
    first = LN2 - 0.5 * LN2
    second = LN3 - 0.5 * (LN3 + math.log(3 / 2)) / 2
    assert of_one(CCR(temperature=1), [LN4, LN2, LN4], [1, 1, 0]) == pytest.approx((first + second) / 2)


def test_ccr_pushes_a_high_negative_less() -> None:
    # The gradient of a negative is (1 - beta) p + beta / 3, at temperature 1.
    scores = torch.tensor([[LN4, 0, LN3]], requires_grad=True)
    CCR(temperature=1, beta=0.4)(scores, torch.tensor([[1, 0, 0]])).backward()
    assert scores.grad is not None
    assert scores.grad[0, 1:].tolist() == pytest.approx([0.6 / 8 + 0.4 / 3, 0.6 * 3 / 8 + 0.4 / 3])


def test_pucl_on_hand_computed_numbers() -> None:
    # alpha 0.2, c 0.5: E- = (0.9 x 2 - 0.1 x 4) / 0.8 = 1.75; two of them; log(1 + 3.5 / 4).
    found = of_one(PUCL(temperature=1, prior=0.2, label_frequency=0.5), [LN4, 0, LN3], [1, 0, 0])
    assert found == pytest.approx(math.log(1 + 3.5 / 4))


def test_pucl_of_two_positives_on_hand_computed_numbers() -> None:
    # E+ = (6 + 2) / 2 = 4, so again 3.5; against 6 and against 2.
    found = of_one(PUCL(temperature=1, prior=0.2, label_frequency=0.5), [LN6, LN2, 0, LN3], [1, 1, 0, 0])
    assert found == pytest.approx((math.log(1 + 3.5 / 6) + math.log(1 + 3.5 / 2)) / 2)


def test_pucl_of_all_positives_labelled_is_infonce() -> None:
    assert of_one(PUCL(temperature=1, label_frequency=1), [LN4, 0, LN3], [1, 0, 0]) == pytest.approx(LN2)


@pytest.mark.parametrize("loss", [PUCL(temperature=1, prior=0.8, label_frequency=0.1), CW(temperature=1, prior=0.8)])
def test_a_correction_never_makes_the_negatives_less_than_they_can_be(loss: Loss) -> None:
    # The correction is more than there is to correct: two negatives of exp(-1) remain, against exp(1).
    scores = torch.tensor([[1.0, 0.1, 0.0]], requires_grad=True)
    found = loss(scores, torch.tensor([[1, 0, 0]]))
    assert found.item() == pytest.approx(math.log(1 + 2 * math.exp(-2)))
    found.backward()
    assert scores.grad is not None
    assert scores.grad[0, 0] < 0
    assert scores.grad[0, 1:].tolist() == [0, 0]


def test_cw_on_hand_computed_numbers() -> None:
    # The positive's cosine is log 4. sigmoid(log 4 - s) is 4 / (4 + exp s): 4/5 for 1, 4/7 for 3.
    # E_w = (4/5 x 1 + 4/7 x 3) / (4/5 + 4/7) = 11/6. E- = (11/6 - 0.1 x 4) / 0.9 = 1.592593, twice, against 4.
    found = of_one(CW(temperature=1, prior=0.1, weight_temperature=1), [LN4, 0, LN3], [1, 0, 0])
    assert found == pytest.approx(math.log(1 + 2 * 1.5925926 / 4))


def test_cw_weighs_by_the_difference_of_cosines() -> None:
    # At temperature 0.5 the exponentials are 16, 1 and 9, the weights as before: E_w = (4/5 + 36/7) / (48/35) = 13/3.
    found = of_one(CW(temperature=0.5, prior=0, weight_temperature=1), [LN4, 0, LN3], [1, 0, 0])
    assert found == pytest.approx(math.log(1 + 2 * (13 / 3) / 16))


def test_cw_without_correction_of_equal_negatives_is_infonce() -> None:
    scores, labels = [0.7, 0.4, 0.4, 0.4], [1, 0, 0, 0]
    assert of_one(CW(prior=0), scores, labels) == pytest.approx(of_one(InfoNCE(), scores, labels))


def test_cw_weights_have_no_gradient() -> None:
    # log(1 + 2 E_w / 4) with constant weights 7/12 and 5/12: 2 E_w / 4 = 7/24 x 1 + 5/24 x 3 = 7/24 + 15/24 = 11/12.
    scores = torch.tensor([[LN4, 0, LN3]], requires_grad=True)
    CW(temperature=1, prior=0, weight_temperature=1)(scores, torch.tensor([[1, 0, 0]])).backward()
    assert scores.grad is not None
    assert scores.grad[0].tolist() == pytest.approx(
        [-(11 / 12) / (23 / 12), (7 / 24) / (23 / 12), (15 / 24) / (23 / 12)]
    )


def test_pne_on_hand_computed_numbers() -> None:
    # The means are (4 + 2) / 2 and (1 + 3 + 2) / 3: log(1 + 2 / 3).
    found = of_one(PNE(temperature=1), [LN4, LN2, 0, LN3, LN2], [1, 1, 0, 0, 0])
    assert found == pytest.approx(math.log(5 / 3))


def test_pne_does_not_count() -> None:
    few = of_one(PNE(), [0.7, 0.5], [1, 0])
    assert of_one(PNE(), [0.7, 0.7, 0.5, 0.5, 0.5, 0.5], [1, 1, 0, 0, 0, 0]) == pytest.approx(few)


@every_loss
def test_a_batch_is_the_mean_of_its_queries(name: str) -> None:
    loss = loss_named(name)
    scores, labels = [[0.7, 0.6, 0.5], [0.2, 0.6, 0.3]], [[1, 0, 0], [0, 1, 1]]
    both = loss(torch.tensor(scores, dtype=torch.float64), torch.tensor(labels)).item()
    each = [of_one(loss, *one) for one in zip(scores, labels, strict=True)]
    assert each[0] != each[1]
    assert both == pytest.approx(sum(each) / 2)


@every_loss
@pytest.mark.parametrize("anything", [0.3, math.nan, math.inf])
def test_what_is_left_out_changes_nothing_and_has_no_gradient(name: str, anything: float) -> None:
    loss = loss_named(name)
    scores = torch.tensor([[0.7, anything, 0.6, 0.5, anything]], requires_grad=True)
    found = loss(scores, torch.tensor([[1, -1, 0, 0, -1]]))
    assert found.item() == pytest.approx(of_one(loss, [0.7, 0.6, 0.5], [1, 0, 0]), rel=1e-5)
    found.backward()
    assert scores.grad is not None
    assert scores.grad[0, [1, 4]].tolist() == [0, 0]
    assert (scores.grad[0, [0, 2, 3]] != 0).all()


# Not of cw, whose weights are constants to the gradient and not to finite differences.
@pytest.mark.parametrize("name", ["infonce", "ccr", "pucl", "pne"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    loss = loss_named(name)
    scores = torch.tensor([[0.70, 0.62, 0.66, 0.5], [0.4, 0.3, 0.35, 0.2]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 1, 0, 0], [1, 0, 0, -1]])
    assert torch.autograd.gradcheck(lambda x: loss(x, labels), (scores,))


@every_loss
def test_a_query_without_negatives_teaches_nothing(name: str) -> None:
    scores = torch.tensor([[0.7, 0.2]], requires_grad=True)
    found = loss_named(name)(scores, torch.tensor([[1, -1]]))
    found.backward()
    assert found.item() == pytest.approx(0, abs=1e-6)
    assert scores.grad is not None
    assert scores.grad.tolist() == [pytest.approx([0, 0], abs=1e-6)]


@every_loss
@given(scores=st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=8), positives=st.integers(1, 3))
def test_loss_and_gradient_are_finite_at_low_temperature(name: str, scores: list[float], positives: int) -> None:
    loss = type(loss_named(name))(temperature=0.005)
    leaf = torch.tensor([scores], requires_grad=True)
    labels = torch.tensor([[1 if i < positives else 0 for i in range(len(scores))]])
    found = loss(leaf, labels)
    found.backward()
    assert found.isfinite()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    if not isinstance(loss, CCR):
        assert found >= 0


@every_loss
def test_descent_puts_the_positive_first(name: str) -> None:
    loss = loss_named(name)
    scores = torch.tensor([[0.3, 0.4, 0.35]], requires_grad=True)
    labels = torch.tensor([[1, 0, 0]])
    for _ in range(50):
        (gradient,) = torch.autograd.grad(loss(scores, labels), scores)
        scores = (scores - 0.001 * gradient).detach().requires_grad_()
    assert scores[0, 0] > scores[0, 1:].max()


def test_a_query_without_positive_is_named() -> None:
    with pytest.raises(ValueError, match="query 1 of 2 has no positive"):
        InfoNCE()(torch.zeros(2, 2), torch.tensor([[1, 0], [0, -1]]))


def test_impossible_labels() -> None:
    with pytest.raises(ValueError, match="but one is 2"):
        InfoNCE()(torch.zeros(1, 2), torch.tensor([[1, 2]]))


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError, match=r"are \[1, 2\] and \[1, 3\]"):
        InfoNCE()(torch.zeros(1, 2), torch.zeros(1, 3))


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid")

    loss: AnyLoss = InfoNCE()


@every_loss
def test_a_recipe_takes_the_bare_name(name: str) -> None:
    recipe = Recipe.model_validate({"loss": name})
    assert recipe.loss.name == name
    assert recipe.loss.temperature == 0.05
    assert recipe == Recipe.model_validate({"loss": {"name": name}})
    assert recipe == Recipe.model_validate_json(recipe.model_dump_json())


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match="unknown loss 'info-nce'; the nearest known one is 'infonce'"):
        Recipe.model_validate({"loss": "info-nce"})


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "infonce", "temperature": 0},
        {"name": "infonce", "beta": 1},
        {"name": "ccr", "beta": 1.5},
        {"name": "pucl", "prior": 1},
        {"name": "cw", "prior": -0.1},
    ],
)
def test_impossible_settings(wrong: dict) -> None:
    with pytest.raises(ValidationError, match=list(wrong)[1]):
        Recipe.model_validate({"loss": wrong})
