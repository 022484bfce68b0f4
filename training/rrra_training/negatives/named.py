"""One of several models, told apart by its name."""

import difflib
from typing import Any

from pydantic import BaseModel, BeforeValidator


def named(kind: str, *models: type[BaseModel]) -> BeforeValidator:
    """
    Let a field of several models, told apart by `name`, also take the bare name of one.

    :param kind: What the models are, for the error of an unknown name.
    :param models: The models.
    """
    known = [str(model.model_fields["name"].default) for model in models]

    def spelt_out(value: Any) -> Any:
        spelt = {"name": value} if isinstance(value, str) else value
        if isinstance(spelt, dict) and "name" in spelt and spelt["name"] not in known:
            near = difflib.get_close_matches(str(spelt["name"]), known, n=1, cutoff=0)[0]
            msg = f"unknown {kind} '{spelt['name']}'; the nearest known one is '{near}' (known: {', '.join(known)})"
            raise ValueError(msg)
        return spelt

    return BeforeValidator(spelt_out)
