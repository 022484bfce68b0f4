from dataclasses import dataclass, field
from pathlib import Path
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

    model: str | Path
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

    def __post_init__(self) -> None:
        if isinstance(self.model, Path):
            # Which YAML cannot hold.
            self.model = str(self.model)

    def warm_up(self) -> None:
        """
        Loads the model, unless another component of this process has loaded it already.
        """
        if self._model is None:
            self._model = RRRAModel.shared(
                self.model,
                device=self.device.to_torch_str() if self.device is not None else None,
                token=self.token.resolve_value() if self.token is not None else None,
                revision=self.revision,
                trust_remote_code=self.trust_remote_code,
                local_files_only=self.local_files_only,
                truncate_dim=self.truncate_dim,
                model_kwargs=self.model_kwargs,
                tokenizer_kwargs=self.tokenizer_kwargs,
                config_kwargs=self.config_kwargs,
            )

    def close(self) -> None:
        """
        Releases the model; it is unloaded when no other component uses it.
        """
        self._model = None

    def __getstate__(self) -> dict[str, Any]:
        # A copy loads, or rather finds, the model by itself: the locks of tokenizers cannot be copied.
        return {**vars(self), "_model": None}

    @property
    def loaded_model(self) -> RRRAModel:
        """
        The model, loaded if it is not yet.
        """
        self.warm_up()
        assert self._model is not None
        return self._model
