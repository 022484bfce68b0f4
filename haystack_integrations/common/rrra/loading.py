from dataclasses import dataclass, field
from typing import Any

from haystack.utils import ComponentDevice, Secret

from haystack_integrations.common.rrra.serialization import Serializable
from rrra_haystack.model.rrra_model import RRRAModel


# Components are told apart by identity, and Haystack shows them.
@dataclass(eq=False, repr=False, kw_only=True)
class LoadsModel(Serializable):
    """
    A component that loads an RRRA model: the options of loading, and the model while it is in use.

    A component describes the options to its users and calls `LoadsModel.__init__` by name: zero-argument `super()`
    does not work where Haystack makes the class anew.
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
    _model: RRRAModel | None = field(default=None, init=False)

    def warm_up(self) -> None:
        """
        Loads the model, unless another component of this process has loaded it already.
        """
        loaded_model(self)

    def close(self) -> None:
        """
        Releases the model; it is unloaded when no other component uses it.
        """
        self._model = None


def loaded_model(component: LoadsModel) -> RRRAModel:
    """
    The model that a component asks for; loaded once for all components of the process that ask for the same.

    :param component:
        The component.
    """
    if component._model is None:
        component._model = RRRAModel.shared(
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
    return component._model
