import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from rrra_haystack.errors import first_fault


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
