"""Values as files of settings can hold them."""

from enum import Enum
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """A value as YAML and JSON can hold it, which know neither enumerations nor numbers of numpy, in a copy."""
    if isinstance(value, dict):
        return {key: plain(own) for key, own in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return value.value if isinstance(value, Enum) else value
