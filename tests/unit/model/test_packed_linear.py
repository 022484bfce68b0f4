"""Linear layers whose weights are packed in float16 for questions, alone and in the real encoder."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.encoder_kinds import Task
from rrra_haystack.model.packed_linear import PackedLinear, forget_packed, pack_linear_layers, packed_products
from rrra_haystack.model.rrra_model import RRRAModel
from rrra_haystack.pretrained import MINILM

QUESTION = "Where does the Danube rise?"
LONG = "The Danube rises in the Black Forest and flows through ten countries to the Black Sea. " * 8

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="PyTorch packs weights on x86 with AVX2 alone"
)


@pytest.fixture(autouse=True)
def _without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)


@pytest.fixture
def encoder() -> Encoder:
    return Encoder(MINILM, device="cpu")


@pytest.fixture
def layer() -> PackedLinear:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(32, 16))
    pack_linear_layers(network)
    (made,) = network
    assert isinstance(made, PackedLinear)
    return made


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(3, 32, generator=torch.Generator().manual_seed(1))


def plain(layer: nn.Linear, rows: Tensor) -> Tensor:
    return nn.functional.linear(rows, layer.weight, layer.bias).detach()


def packed(layer: PackedLinear, rows: Tensor) -> Tensor:
    with torch.inference_mode(), packed_products(is_question=True):
        return layer(rows)


def states(encoder: Encoder, text: str, task: Task) -> Tensor:
    (batch,) = encoder.encode([text], task=task)
    return batch.states


def test_a_question_has_the_states_that_it_has_without(encoder: Encoder) -> None:
    given, exact = states(encoder, QUESTION, "query"), states(encoder, QUESTION, "document")
    assert not torch.equal(given, exact), "nothing was packed"
    assert nn.functional.cosine_similarity(given, exact).min() > 0.99999


def test_a_document_is_the_same_alone_and_beside_others(encoder: Encoder) -> None:
    alone = states(encoder, QUESTION, "document")
    (batch,) = encoder.encode([LONG, QUESTION], task="document")
    assert batch.indices.tolist() == [0, 1]
    torch.testing.assert_close(batch.states[-len(alone) :], alone, atol=1e-5, rtol=0)


def test_a_long_question_is_read_by_the_weights_as_they_are(encoder: Encoder) -> None:
    assert torch.equal(states(encoder, LONG, "query"), states(encoder, LONG, "document"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_who_names_a_number_format_has_it(dtype: torch.dtype) -> None:
    encoder = Encoder(MINILM, device="cpu", model_kwargs={"dtype": dtype})
    assert torch.equal(states(encoder, QUESTION, "query"), states(encoder, QUESTION, "document"))


def test_parameters_keep_their_names_and_values() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4, bias=False))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pack_linear_layers(network)
    with torch.inference_mode(), packed_products(is_question=True):
        network(torch.randn(2, 4))
    after = network.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_weights_that_learned_are_packed_anew(layer: PackedLinear, rows: Tensor) -> None:
    before = packed(layer, rows)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    layer(rows).square().mean().backward()
    optimizer.step()
    assert not torch.allclose(before, plain(layer, rows), atol=2e-3)
    torch.testing.assert_close(packed(layer, rows), plain(layer, rows), atol=2e-3, rtol=0)


def test_weights_that_were_changed_unseen_are_packed_anew_when_told(layer: PackedLinear, rows: Tensor) -> None:
    packed(layer, rows)
    layer.weight.data.mul_(-2)
    forget_packed(nn.Sequential(layer))
    torch.testing.assert_close(packed(layer, rows), plain(layer, rows), atol=2e-3, rtol=0)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_another_parameter_in_the_place_of_one_is_seen(layer: PackedLinear, rows: Tensor, name: str) -> None:
    # Another one may lie where the former was.
    for _ in range(10):
        packed(layer, rows)
        setattr(layer, name, nn.Parameter(torch.randn(getattr(layer, name).shape)))
        torch.testing.assert_close(packed(layer, rows), plain(layer, rows), atol=2e-2, rtol=0)


def test_a_model_that_is_refreshed_packs_its_encoder_anew() -> None:
    model = RRRAModel.load(device="cpu")
    before = model.encode_query(QUESTION).states
    for layer in model.encoder.transformer.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data.mul_(0.5)
    model.refresh()
    after = model.encode_query(QUESTION).states
    assert nn.functional.cosine_similarity(before, after).min() < 0.99


@pytest.mark.parametrize("wrong", [1e6, float("inf"), float("nan")])
def test_weights_that_float16_cannot_hold_are_not_packed(layer: PackedLinear, rows: Tensor, wrong: float) -> None:
    layer.weight.data[0, 0] = wrong
    torch.testing.assert_close(packed(layer, rows), plain(layer, rows), atol=0, rtol=0, equal_nan=True)


def test_no_rows_give_no_rows(layer: PackedLinear) -> None:
    assert packed(layer, torch.zeros(0, 32)).shape == (0, 16)
    assert packed(layer, torch.zeros(2, 0, 32)).shape == (2, 0, 16)


def test_weights_made_in_inference_mode_are_packed(rows: Tensor) -> None:
    with torch.inference_mode():
        network = nn.Sequential(nn.Linear(32, 16))
    pack_linear_layers(network)
    given = packed(network[0], rows)
    assert not torch.equal(given, plain(network[0], rows))
    torch.testing.assert_close(given, plain(network[0], rows), atol=2e-3, rtol=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_a_layer_that_was_used_can_be_copied(
    layer: PackedLinear, rows: Tensor, copied: Callable[[PackedLinear], PackedLinear]
) -> None:
    given = packed(layer, rows)
    assert torch.equal(packed(copied(layer), rows), given)


def test_nothing_is_packed_for_what_is_no_question(layer: PackedLinear, rows: Tensor) -> None:
    packed(layer, rows)
    assert torch.equal(layer(rows), plain(layer, rows))
    layer(rows).sum().backward()
    assert layer.weight.grad is not None


def test_another_engine_of_products_is_respected(
    layer: PackedLinear, rows: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.quantized, "engine", "onednn")
    assert torch.equal(packed(layer, rows), plain(layer, rows))


def test_a_network_that_is_compiled_is_one_graph(layer: PackedLinear, rows: Tensor) -> None:
    compiled = torch.compile(nn.Sequential(layer), backend="eager", fullgraph=True)
    with torch.inference_mode(), packed_products(is_question=True):
        assert torch.equal(compiled(rows), plain(layer, rows))


def test_what_never_runs_in_float32_on_the_processor_stays() -> None:
    for network in (
        nn.Sequential(nn.Linear(4, 4, dtype=torch.bfloat16)),
        nn.Sequential(nn.Linear(4, 4, device="meta")),
    ):
        pack_linear_layers(network)
        assert type(network[0]) is nn.Linear


def test_what_inherits_from_a_linear_layer_stays() -> None:
    class Own(nn.Linear):
        pass

    network = nn.Sequential(Own(4, 4))
    pack_linear_layers(network)
    assert type(network[0]) is Own
