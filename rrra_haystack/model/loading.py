"""Where the files of a model lie."""

import logging
from pathlib import Path

from huggingface_hub import file_exists, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

from rrra_haystack.model.config import CONFIG
from rrra_haystack.pretrained import bundled, bundled_names, resolve_encoder

logger = logging.getLogger(__name__)


def find_directory(model: str, token: str | None, revision: str | None, *, local_files_only: bool) -> Path | None:
    """
    Find the files of a model, on disk or on the hub.

    :param model: What :meth:`RRRAModel.load` takes.
    :param token: Token for private models of the hub.
    :param revision: Branch, tag or commit of a hub model.
    :param local_files_only: Look for hub models in the local cache only.
    :returns: Its local directory; `None` for a plain encoder, which sentence-transformers finds by itself.
    :raises FileNotFoundError: If `model` is a path and nothing is there.
    """
    if (found := bundled(model)) is not None:
        return found
    resolved = resolve_encoder(model)
    if Path(resolved).is_dir():
        return Path(resolved)
    looks_like_path = model.startswith((".", "/", "~", "\\")) or model.count("/") > 1
    if looks_like_path or "/" not in model:
        msg = (
            f"There is no model {model!r}: it is no directory, no hub id (owner/name), and no bundled name "
            f"({', '.join([*_bundled_models(), 'all-MiniLM-L6-v2'])})."
        )
        raise FileNotFoundError(msg)
    try:
        cached = try_to_load_from_cache(model, CONFIG, revision=revision)
        if not isinstance(cached, str) and (
            local_files_only or not file_exists(model, CONFIG, revision=revision, token=token)
        ):
            return None
        folder = snapshot_download(model, revision=revision, token=token, local_files_only=local_files_only)
    except (HfHubHTTPError, HFValidationError, OfflineModeIsEnabled, OSError) as error:
        # sentence-transformers will say it better, or find the encoder in its cache.
        logger.debug("No RRRA files of %s on the hub: %s", model, error)
        return None
    return Path(folder)


def _bundled_models() -> list[str]:
    return [name for name in bundled_names() if (path := bundled(name)) is not None and (path / CONFIG).exists()]
