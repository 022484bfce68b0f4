"""Nested tensors under flat names, and the state of an optimiser among them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


def above(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under names that begin with a prefix, to be kept beside others in one file."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def below(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What :func:`above` put under a prefix."""
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def learning_tensors(learner: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What learns and its optimiser, under the prefixes ``model/`` and ``optimiser/``."""
    return above("model/", learner.state_dict()) | above("optimiser/", optimiser_tensors(optimiser))


def load_learning_tensors(learner: nn.Module, optimiser: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """
    Go on from what :func:`learning_tensors` told.

    :param learner: What learns.
    :param optimiser: Its optimiser.
    :param state: The tensors; those under other prefixes are left alone.
    :raises ValueError: As :func:`load_optimiser_tensors`.
    """
    learner.load_state_dict(below("model/", state))
    load_optimiser_tensors(optimiser, below("optimiser/", state))


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """
    An optimiser's state as flat tensors: ``state.<parameter>.<name>`` and ``group.<group>.<name>``.

    Numbers such as the learning rate are kept as float64 and come back exactly. Switches (``amsgrad``, ``foreach``) are
    not kept: they are those of the optimiser that the tensors are loaded into.

    :param optimiser: An optimiser of torch whose state is tensors by parameter, as AdamW's is.
    """
    recorded = optimiser.state_dict()
    tensors = {
        f"state.{index}.{name}": torch.as_tensor(value)
        for index, values in recorded["state"].items()
        for name, value in values.items()
    }
    for number, group in enumerate(recorded["param_groups"]):
        for name, value in group.items():
            if name != "params" and _is_numeric(value):
                kept = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
                tensors[f"group.{number}.{name}"] = kept
    return tensors


def load_optimiser_tensors(optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """
    Put an optimiser into the state that :func:`optimiser_tensors` told.

    :param optimiser: An optimiser of the same kind over the same parameters.
    :param tensors: The tensors.
    :raises ValueError: If they belong to other parameters.
    """
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    recorded = optimiser.state_dict()
    groups = recorded["param_groups"]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        kind, number, name = key.split(".", 2)
        index = int(number)
        if index >= len(parameters if kind == "state" else groups):
            msg = (
                f"The optimiser has {len(parameters)} parameters in {len(groups)} groups, and the checkpoint's more: "
                f"{key}. Resume with the recipe and the version that the run was begun with."
            )
            raise ValueError(msg)
        if kind == "group":
            groups[index][name] = _as_before(tensor, groups[index].get(name))
            continue
        if tensor.ndim and tensor.shape != parameters[index].shape:
            msg = (
                f"The checkpoint's {key} has the shape {tuple(tensor.shape)}, the parameter "
                f"{tuple(parameters[index].shape)}. Resume with the recipe and the version that the run was begun with."
            )
            raise ValueError(msg)
        # A copy: the optimiser would write into the caller's tensor.
        state.setdefault(index, {})[name] = tensor.clone()
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def _is_numeric(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_numeric(one) for one in value)
    return isinstance(value, int | float | Tensor) and not isinstance(value, bool)


def _as_before(tensor: Tensor, before: Any) -> Any:
    """A number of a parameter group in the type that it has there."""
    if isinstance(before, Tensor):
        return tensor.clone()
    if isinstance(before, tuple):
        return tuple(tensor.tolist())
    return type(before)(tensor.item()) if isinstance(before, int) else tensor.item()
