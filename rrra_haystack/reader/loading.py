"""The bundled extractive reader: a low-rank difference to an encoder and a span head, merged at loading."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rrra_haystack.files import with_home
from rrra_haystack.model.weights import cast_weights, native_dtype
from rrra_haystack.pretrained import bundled, bundled_names, looks_like_path, resolve_encoder

DEFAULT_READER = "rrra-minilm-l6-reader"
# As peft names what it writes.
DIFFERENCE, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def is_difference(directory: Path) -> bool:
    """Whether a directory holds a reader that is kept as a difference to its base model, or a part of one."""
    return any((directory / name).exists() for name in (DIFFERENCE, WEIGHTS))


def find_reader(model: str) -> Path | None:
    """
    Say where a reader lies.

    :param model: A bundled name, a directory or a hub id.
    :returns: Its directory; `None` for one of the hub.
    :raises FileNotFoundError: If it is none of them.
    """
    model = str(model)
    readers = {name: path for name in bundled_names() if (path := bundled(name)) is not None and is_difference(path)}
    directory = readers.get(model, Path(with_home(model)))
    if directory.is_dir():
        return directory
    if looks_like_path(model) or "/" not in model:
        msg = (
            f"There is no reader {model!r}: it is no directory, no hub id (owner/name), and no bundled name "
            f"({', '.join(readers)})."
        )
        raise FileNotFoundError(msg)
    return None


def load_reader(
    directory: str | Path,
    device: str = "cpu",
    token: str | None = None,
    model_kwargs: dict[str, Any] | None = None,
) -> tuple[Any, Any]:
    """
    Load a reader that is kept as a difference to its base model.

    :param directory: Holds ``adapter_config.json`` and ``adapter_model.safetensors`` as peft writes them.
    :param device: The torch device to load it on.
    :param token: Token for a private base model of the hub.
    :param model_kwargs: Passed on to transformers when loading the base model.
    :returns: A question answering model of transformers, and its tokenizer.
    :raises ImportError: If the extra ``reader`` is not installed.
    :raises ValueError: If a file of the directory is damaged.
    """
    try:
        from peft import PeftModel  # noqa: PLC0415
        from transformers import AutoModelForQuestionAnswering, AutoTokenizer  # noqa: PLC0415
    except ImportError as error:
        msg = "The bundled reader needs the extra 'reader'. Install it with: pip install 'rrra-haystack[reader]'"
        raise ImportError(msg) from error
    for name in (DIFFERENCE, WEIGHTS):
        if not (Path(directory) / name).exists():
            msg = f"{Path(directory) / name} is missing. Copy the reader again, or reinstall rrra-haystack."
            raise FileNotFoundError(msg)
    base = resolve_encoder(_base_of(Path(directory) / DIFFERENCE))
    given = dict(model_kwargs or {})
    with _quiet_loading():  # The span head is missing from the base: it comes with the difference.
        model = AutoModelForQuestionAnswering.from_pretrained(base, token=token, **given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # between peft and transformers, nothing to do with a user
            try:
                model = PeftModel.from_pretrained(model, str(directory)).merge_and_unload()
            except (SafetensorError, TypeError, RuntimeError) as error:
                # Tensors of other shapes are told so; memory that is full, or a GPU that fails, is no damage.
                if isinstance(error, RuntimeError) and "loading state_dict" not in str(error):
                    raise
                told = " ".join(str(error).split())
                msg = f"The reader in {directory} is damaged ({told}). Copy it again, or reinstall rrra-haystack."
                raise ValueError(msg) from error
    model = model.eval().to(device)
    if not {"dtype", "torch_dtype"} & given.keys():
        cast_weights(model.base_model, native_dtype(torch.device(device)))
    # Spans are compared by small differences of their logits: the head computes in float32.
    model.qa_outputs.float().register_forward_pre_hook(_to_float32)
    return model, AutoTokenizer.from_pretrained(base, token=token)


def _base_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"])
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{path} is damaged: it names no base model. Copy the reader again, or reinstall rrra-haystack."
        raise ValueError(msg) from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    from transformers.utils import logging  # noqa: PLC0415

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def _to_float32(_module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.float() for tensor in inputs)
