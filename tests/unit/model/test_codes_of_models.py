import pytest
import torch
from rrra_models import QUESTIONS, fused, trained, with_projection
from texts import TEXTS

from rrra_haystack.model.codes.kinds import KINDS, CodeKind
from rrra_haystack.model.codes.record import InvalidCodesError
from rrra_haystack.model.rrra_model import RRRAModel


def test_int8_and_1bit_agree_on_the_best(model: RRRAModel, codes: list[str]) -> None:
    _, precise = model.encode_documents(TEXTS, code="int8")
    assert len(precise[0]) > 4 * len(codes[0])
    for question in QUESTIONS:
        assert fused(model, precise, question).argmax() == fused(model, codes, question).argmax()
        assert fused(model, precise, question) == pytest.approx(fused(model, codes, question), abs=0.15)


@pytest.mark.parametrize("speaks", [False, True], ids=["untrained", "trained"])
def test_a_list_may_mix_kinds(model: RRRAModel, speaks: bool) -> None:
    judge = trained(model) if speaks else model
    fine, coarse = (judge.encode_documents(TEXTS, code=kind)[1] for kind in ("int8", "4bit"))
    mixed = [one if i % 2 else other for i, (one, other) in enumerate(zip(fine, coarse, strict=True))]
    assert fused(judge, mixed) == pytest.approx(fused(judge, fine), abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_document_is_judged_by_its_own_kind_in_any_list(kind: CodeKind) -> None:
    judge = RRRAModel.shared("rrra-minilm-l6")
    own, others = (
        judge.encode_documents([*TEXTS, ""], code=given)[1] for given in (kind, "4bit" if kind != "4bit" else "int8")
    )
    # What has no tokens says the same in every kind.
    assert fused(judge, [*own[:-1], others[-1]]) == pytest.approx(fused(judge, own), abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_codes_are_read_whatever_format_the_encoder_runs_in(
    model: RRRAModel, codes: list[str], dtype: torch.dtype
) -> None:
    other = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": dtype})
    assert fused(other, codes) == pytest.approx(fused(model, codes), abs=0.02)


def test_training_the_adapter_leaves_the_codes_valid(model: RRRAModel, codes: list[str]) -> None:
    assert trained(model).codec() == model.codec()
    assert fused(trained(model), codes).shape == (len(TEXTS),)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_the_fingerprint_is_of_the_weights_not_of_the_format(model: RRRAModel, dtype: torch.dtype) -> None:
    other = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": dtype})
    assert other.encoder.dtype == dtype
    assert other.codec().fingerprint == model.codec().fingerprint
    assert other.config.encoder_fingerprint == model.config.encoder_fingerprint


def test_the_fingerprint_is_of_the_weights_in_memory(model: RRRAModel) -> None:
    exact = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float32})
    with torch.no_grad():
        next(exact.encoder.transformer.parameters()).mul_(1.1)
    exact.refresh()
    assert exact.codec().fingerprint != model.codec().fingerprint


def test_codes_of_other_weights_are_refused(model: RRRAModel, codes: list[str]) -> None:
    torch.manual_seed(1)
    with pytest.raises(InvalidCodesError, match="made by another model"):
        fused(with_projection(model, 384 - 8), codes)


def test_codes_of_a_further_trained_encoder_are_refused(codes: list[str]) -> None:
    further = RRRAModel.load("all-MiniLM-L6-v2", model_kwargs={"dtype": torch.float32})
    assert fused(further, codes).shape == (len(TEXTS),)
    with torch.no_grad():
        for parameter in further.encoder.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    further.refresh()
    with pytest.raises(InvalidCodesError, match="were made by another model or with other weights") as error:
        further.read_codes(codes, names=[f"doc-{i}" for i in range(len(codes))])
    assert "document doc-0 " in str(error.value)
    assert "Index the document again" in str(error.value)


def test_another_projection_is_another_model(model: RRRAModel) -> None:
    one = with_projection(model)
    _, codes = one.encode_documents(TEXTS)
    torch.manual_seed(9)
    other = RRRAModel(one.encoder, one.config)
    with pytest.raises(InvalidCodesError, match="with other weights"):
        fused(other, codes)


def test_two_kinds_of_two_models_in_one_list_are_refused(model: RRRAModel, codes: list[str]) -> None:
    _, foreign = with_projection(model).encode_documents(TEXTS[:1], code="int8")
    with pytest.raises(InvalidCodesError, match="document number 3 were made by another model"):
        fused(model, [*codes[:3], *foreign])


def test_a_projection_must_fit_the_codes(model: RRRAModel) -> None:
    with pytest.raises(ValueError, match="token_dim must be a positive multiple of 8, but got 100"):
        with_projection(model, 100).encode_documents(TEXTS)
