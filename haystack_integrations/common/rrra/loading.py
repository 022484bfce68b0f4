from typing import Any, Protocol

from haystack.utils import ComponentDevice, Secret

from rrra_haystack.model.rrra_model import RRRAModel


class UsesModel(Protocol):
    """
    A component that was initialized with what it takes to load an RRRA model.
    """

    model: str
    device: ComponentDevice | None
    token: Secret | None
    revision: str | None
    trust_remote_code: bool
    local_files_only: bool
    truncate_dim: int | None
    model_kwargs: dict[str, Any] | None
    tokenizer_kwargs: dict[str, Any] | None
    config_kwargs: dict[str, Any] | None


def shared_model(component: UsesModel) -> RRRAModel:
    """
    The model that a component asks for; loaded once for all components of the process that ask for the same.

    :param component:
        The component.
    """
    return RRRAModel.shared(
        component.model,
        device=component.device.to_torch_str() if component.device is not None else None,
        token=component.token.resolve_value() if component.token is not None else None,
        revision=component.revision,
        trust_remote_code=component.trust_remote_code,
        local_files_only=component.local_files_only,
        truncate_dim=component.truncate_dim,
        model_kwargs=component.model_kwargs,
        tokenizer_kwargs=component.tokenizer_kwargs,
        config_kwargs=component.config_kwargs,
    )
