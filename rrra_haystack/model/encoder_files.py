"""The files of an encoder -> a sentence-transformers model, or one sentence on why there is none."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import load_file_path

_BI_ENCODER = "SentenceTransformer"
# What Hugging Face calls a network that reads two texts at once.
_OF_PAIRS = "ForSequenceClassification"


def load_transformer(name: str, source: dict[str, Any], device: str | None) -> SentenceTransformer:
    """
    Load a bi-encoder.

    :param name: What to call it in errors.
    :param source: Parameters of :class:`SentenceTransformer`.
    :param device: A torch device; chosen by sentence-transformers if `None`.
    :raises FileNotFoundError: If it is neither here nor on the hub.
    :raises ValueError: If it is a model of another kind, or its files are damaged.
    """
    path = source["model_name_or_path"]
    try:
        _check_kind(name, path, {key: source[key] for key in ("token", "revision", "local_files_only")})
        # Weights that a checkpoint lacks, such as those of a pooler that nothing reads, are drawn at random: the same
        # ones each time, so that the fingerprint of the model is the same too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            return SentenceTransformer(**source, device=device)
    except SafetensorError as error:
        msg = f"The weights of {name} are damaged ({error}). Copy or download the model again."
        raise ValueError(msg) from None
    except (FileNotFoundError, ImportError, ValueError):
        raise
    except OSError as error:
        if Path(path).is_dir():
            raise
        told = str(error).splitlines()[0]
        msg = f"There is no encoder {name!r}: it is no directory here, and the hub has none for us ({told})"
        raise FileNotFoundError(msg) from error
    except Exception as error:
        msg = f"{name} cannot be read as a sentence-transformers encoder: {type(error).__name__}: {error}"
        raise ValueError(msg) from error


def _check_kind(name: str, path: str, where: dict[str, Any]) -> None:
    """Refuse models that sentence-transformers would turn into a bi-encoder that nobody trained."""
    declared = _read(path, "config_sentence_transformers.json", where).get("model_type", _BI_ENCODER)
    if declared == _BI_ENCODER and load_file_path(path, "modules.json", **where) is None:
        networks = _read(path, "config.json", where).get("architectures") or ()
        declared = "CrossEncoder" if any(one.endswith(_OF_PAIRS) for one in networks) else _BI_ENCODER
    if declared != _BI_ENCODER:
        msg = (
            f"{name} is a {declared}, not a SentenceTransformer: it gives no dense embedding of a text to retrieve by."
        )
        raise ValueError(msg)


def _read(path: str, file: str, where: dict[str, Any]) -> dict[str, Any]:
    found = load_file_path(path, file, **where)
    if found is None:
        return {}
    try:
        data = json.loads(Path(found).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        msg = f"{found} is not valid JSON ({error.msg}, line {error.lineno}). Copy or download the model again."
        raise ValueError(msg) from None
    return data if isinstance(data, dict) else {}
