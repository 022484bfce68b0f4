import inspect
from copy import deepcopy
from typing import Any, Self

from haystack import default_from_dict, default_to_dict
from haystack.utils.hf import deserialize_hf_model_kwargs, serialize_hf_model_kwargs

from rrra_haystack.plain_values import plain


class Serializable:
    """
    A component that is written and read with all parameters of its `__init__`, attributes of the same names.
    """

    def to_dict(self) -> dict[str, Any]:
        """
        Serializes the component to a dictionary.

        :returns:
            Dictionary with serialized data.
        """
        # Not the signature of the class, which in a component is that of Haystack's metaclass.
        _, *names = inspect.signature(type(self).__init__).parameters
        parameters = {name: plain(getattr(self, name)) for name in names}
        if parameters.get("model_kwargs") is not None:
            serialize_hf_model_kwargs(parameters["model_kwargs"])
        return default_to_dict(self, **parameters)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """
        Deserializes the component from a dictionary.

        :param data:
            Dictionary to deserialize from, which is left as it is.
        :returns:
            Deserialized component.
        """
        parameters = dict(data.get("init_parameters", {}))
        if parameters.get("model_kwargs") is not None:
            parameters["model_kwargs"] = deepcopy(parameters["model_kwargs"])
            deserialize_hf_model_kwargs(parameters["model_kwargs"])
        return default_from_dict(cls, {**data, "init_parameters": parameters})
