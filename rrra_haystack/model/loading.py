"""What a model is loaded from: its files, its encoder, or a copy that this process holds already."""

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast
from weakref import WeakValueDictionary

from huggingface_hub import file_exists, snapshot_download, try_to_load_from_cache

from rrra_haystack.files import with_home
from rrra_haystack.model.adapter.parts import AdapterConfig
from rrra_haystack.model.codes.kinds import CodeKind
from rrra_haystack.model.codes.record import full_bytes
from rrra_haystack.model.config import CONFIG, WEIGHTS, RRRAConfig, read_config
from rrra_haystack.model.encoder import Encoder
from rrra_haystack.model.fingerprint import encoder_fingerprint
from rrra_haystack.model.lexical import CHOSEN_FORM
from rrra_haystack.model.saving import MODULES, missing
from rrra_haystack.pretrained import ENCODERS, bundled, bundled_names, looks_like_path, resolve_encoder

logger = logging.getLogger(__name__)


Model = TypeVar("Model")
_HELD: WeakValueDictionary[tuple[str, tuple[Any, ...], str], Any] = WeakValueDictionary()
_LOCK = threading.Lock()
# Chosen on the dev splits of ten sets; docs/untrained.md says how.
UNTRAINED_LEXICAL_WEIGHT = 0.5
_TOKENIZER = "tokenizer.json"
# What sentence-transformers writes, and does without: prompts, and the length at which texts are cut.
_PROMPTS, _LENGTH = "config_sentence_transformers.json", "tokenizer_config.json"


@dataclass(frozen=True)
class ModelFiles:
    """
    What a model is loaded from.

    :param encoder: What sentence-transformers loads the encoder from.
    :param revision: The encoder's revision on the hub.
    :param name: What the encoder is called.
    :param adapter: Configuration and weights of the adapter; `None` for a plain encoder.
    """

    encoder: str
    revision: str | None
    name: str
    adapter: tuple[RRRAConfig, Path] | None


def find_files(model: str, token: str | None, revision: str | None, *, local_files_only: bool) -> ModelFiles:
    """
    Find what a model is loaded from, on disk or on the hub.

    :param model: What :meth:`RRRAModel.load` takes.
    :param token: Token for private models of the hub.
    :param revision: Branch, tag or commit of a hub model.
    :param local_files_only: Look for hub models in the local cache only.
    :raises FileNotFoundError: If `model` is a path and nothing is there, or a file of the model is missing.
    :raises ValueError: If its configuration is damaged or of another version, or it is a reader.
    """
    model = with_home(model)
    directory = _find_directory(model, token, revision, local_files_only=local_files_only)
    if directory is None:
        return ModelFiles(model, revision, model, None)
    config = read_config(directory)
    if config is None:
        if bundled(model) is not None:
            msg = f"{model} is a reader, not a retriever's model. Give it to RRRAReader."
            raise ValueError(msg)
        if (directory / CONFIG).parent.is_dir():
            raise FileNotFoundError(missing(directory / CONFIG))
        return ModelFiles(str(directory), None, model, None)
    adapter = config, directory / WEIGHTS
    if (directory / MODULES).exists():
        _check_whole(directory)
        return ModelFiles(str(directory), None, config.encoder, adapter)
    return ModelFiles(config.encoder, config.revision, config.encoder, adapter)


def _check_whole(directory: Path) -> None:
    """Refuse a model with its encoder that lost a file without which it would be another one, and say nothing."""
    tokenizers = {path.with_name(_LENGTH) for path in directory.rglob(_TOKENIZER)}
    for path in [directory / _PROMPTS, *sorted(tokenizers)]:
        if not path.exists():
            raise FileNotFoundError(missing(path))


def load_encoder(files: ModelFiles, **options: Any) -> Encoder:
    """
    Load the encoder of a model.

    :param files: What the model is loaded from.
    :param options: As for :class:`~rrra_haystack.model.encoder.Encoder`.
    :raises FileNotFoundError: If it is not there.
    :raises ValueError: If its files are damaged, or it is not the encoder that the adapter was made over.
    """
    layer = -1 if files.adapter is None else files.adapter[0].layer
    if files.adapter is not None and looks_like_path(files.encoder) and not Path(files.encoder).is_dir():
        msg = (
            f"The model was made over the encoder at {files.encoder}, which is not here: put it there, or save the "
            "model with its encoder where it is."
        )
        raise FileNotFoundError(msg)
    encoder = Encoder(files.encoder, revision=files.revision, layer=layer, **options)
    encoder.name = files.name
    if files.adapter is not None:
        _check_encoder(files, files.adapter[0], encoder)
    return encoder


def untrained_config(encoder: Encoder, code: CodeKind) -> RRRAConfig:
    """
    What is set of a model whose adapter learned nothing.

    Over a late-interaction model all query tokens weigh alike and words add nothing: its score is the one that it was
    trained for.

    :param encoder: Any encoder.
    :param code: Kind of the token codes that are written.
    """
    adapter = AdapterConfig(
        pooled_dim=encoder.dimension,
        token_dim=full_bytes(encoder.hidden_size),
        pooled_relation=encoder.embeds,
        contrast_weighting=encoder.embeds,
    )
    return RRRAConfig(
        encoder=encoder.name,
        encoder_fingerprint=encoder_fingerprint(encoder),
        layer=encoder.layer,
        code=code,
        lexical_weight=UNTRAINED_LEXICAL_WEIGHT if encoder.embeds else 0.0,
        lexical=CHOSEN_FORM,
        adapter=adapter,
    )


def _check_encoder(files: ModelFiles, config: RRRAConfig, encoder: Encoder) -> None:
    found = encoder_fingerprint(encoder)
    if config.encoder_fingerprint is None or found is None or found == config.encoder_fingerprint:
        return
    msg = (
        f"The encoder at {files.encoder} has other weights than the one that the model was made over (fingerprint "
        f"{found}, expected {config.encoder_fingerprint}): load the model with the encoder of its own, or train it "
        "again over this one."
    )
    raise ValueError(msg)


def shared_copy(load: Callable[..., Model], kind: str, model: str | Path, options: dict[str, Any]) -> Model:
    """
    Load a model, or return the one that this process already holds of the same files with the same options.

    :param load: Loads it.
    :param kind: Name of its class.
    :param model: As for :meth:`RRRAModel.load`.
    :param options: As for :meth:`RRRAModel.load`.
    """
    given = {name: value for name, value in options.items() if value is not None and value is not False}
    key = (kind, _files_now(str(model)), json.dumps(given, sort_keys=True, default=repr))
    with _LOCK:
        held = _HELD.get(key)
        if held is None:
            held = load(model, **options)
            _HELD[key] = held
        return cast("Model", held)


def _files_now(model: str) -> tuple[Any, ...]:
    """Where a model lies, and what tells its files from others that are saved there later; a hub id as it is."""
    name = with_home(model)
    places = [str(bundled(name) or resolve_encoder(name))]
    if not Path(places[0], MODULES).exists() and (config := read_config(Path(places[0]))) is not None:
        places.append(resolve_encoder(config.encoder))
    files = [path for place in places for path in sorted(Path(place).rglob("*")) if path.is_file()]
    stamps = [(str(path), told.st_ino, told.st_mtime_ns, told.st_size) for path in files for told in [path.stat()]]
    return (*places, *stamps)


def _find_directory(model: str, token: str | None, revision: str | None, *, local_files_only: bool) -> Path | None:
    """The local directory of a model's files; `None` for a plain encoder, which sentence-transformers finds itself."""
    if (found := bundled(model)) is not None:
        return found
    resolved = resolve_encoder(model)
    if Path(resolved).is_dir():
        return Path(resolved)
    if looks_like_path(resolved) or "/" not in resolved:
        msg = (
            f"There is no model {model!r}: it is no directory, no hub id (owner/name), and no bundled name "
            f"({', '.join([*_bundled_models(), *ENCODERS])})."
        )
        raise FileNotFoundError(msg)
    try:
        cached = try_to_load_from_cache(resolved, CONFIG, revision=revision)
        if not isinstance(cached, str) and (
            local_files_only or not file_exists(resolved, CONFIG, revision=revision, token=token)
        ):
            return None
        folder = snapshot_download(resolved, revision=revision, token=token, local_files_only=local_files_only)
    except Exception as error:
        # Without a network, too, whose errors are those of whichever library the hub's client speaks through.
        # sentence-transformers will say it better, or find the encoder in its cache.
        logger.debug("No RRRA files of %s on the hub: %s", model, error)
        return None
    return Path(folder)


def _bundled_models() -> list[str]:
    return [name for name in bundled_names() if (path := bundled(name)) is not None and (path / CONFIG).exists()]
