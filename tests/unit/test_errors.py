import pytest
from haystack.core.errors import ComponentError
from pydantic import BaseModel, Field, ValidationError, field_validator

from haystack_integrations.document_stores.qdrant_edge.explaining import HeldError
from rrra_haystack.errors import cause_of, first_fault, told_in_one_sentence


class Wheel(BaseModel):
    size: int = Field(gt=0)

    @field_validator("size")
    @classmethod
    def _is_even(cls, size: int) -> int:
        if size % 2:
            msg = "take an even number"
            raise ValueError(msg)
        return size


class Cart(BaseModel):
    wheels: list[Wheel]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({}, "wheels: Field required"),
        ({"wheels": [{"size": 2}, {"size": 0}, {"size": -1}]}, "wheels.1.size: Input should be greater than 0"),
        ({"wheels": [{"size": 3}]}, "wheels.0.size: take an even number"),
        ([], "Input should be a valid dictionary or instance of Cart"),
    ],
)
def test_the_first_fault_is_told_with_its_place(data: object, fault: str) -> None:
    with pytest.raises(ValidationError) as error:
        Cart.model_validate(data)
    assert first_fault(error.value) == fault


def test_what_can_be_mended_is_one_line_however_long(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    msg = f"The folder {'long' * 60} is no collection. Name another."
    with pytest.raises(SystemExit) as ended, told_in_one_sentence():
        raise FileNotFoundError(msg)
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"Error: {msg}\n"


@pytest.mark.parametrize(
    "fault", [KeyError("a"), NotImplementedError("a"), RecursionError("a"), TimeoutError()], ids=repr
)
def test_what_nobody_can_mend_or_has_no_words_keeps_its_traceback(fault: Exception) -> None:
    with pytest.raises(type(fault)), told_in_one_sentence():
        raise fault


def test_an_error_of_our_own_store_is_its_own_cause() -> None:
    error = HeldError("The folder is open in another process.")
    error.__cause__ = Exception("WouldBlock")
    assert cause_of(error) is error


def test_errors_that_are_the_cause_of_one_another_have_one_that_is_told() -> None:
    inner, outer = ComponentError("inner"), ComponentError("outer")
    outer.__cause__ = inner
    inner.__cause__ = outer
    assert cause_of(outer) in (inner, outer)
