"""What the engine says when it cannot open a collection, in a sentence that says how to mend it."""

from pathlib import Path

# What it says where another process holds its lock.
HELD = "WouldBlock"
_NOT_WRITABLE = ("Permission denied", "PermissionDenied", "Read-only", "ReadOnlyFilesystem")


class UnopenedError(ValueError):
    """The engine cannot open a collection."""


class HeldError(UnopenedError):
    """Another process has a collection open."""


def is_held(told: str) -> bool:
    """
    Whether another process has the collection open.

    :param told: What the engine says.
    """
    return HELD in told


def explained(path: Path, name: str, told: str) -> Exception:
    """
    What to raise where a collection cannot be opened.

    :param path: The folder.
    :param name: The collection.
    :param told: What the engine says.
    """
    if is_held(told):
        msg = (
            f"The Qdrant folder {path} is open in another process. Close its document store first "
            "(document_store.close()), or run a Qdrant server and give its url."
        )
        return HeldError(msg)
    if any(sign in told for sign in _NOT_WRITABLE):
        msg = f"The Qdrant folder {path} cannot be written to, and Qdrant Edge opens none only to read it."
        return PermissionError(msg)
    if "is newer than application version" in told:
        msg = (
            f"The Qdrant folder {path} was filled by a newer version of Qdrant Edge. Upgrade it: pip install "
            "--upgrade qdrant-edge-py"
        )
        return UnopenedError(msg)
    msg = (
        f"Qdrant Edge cannot open the collection '{name}' in {path} ({told}). Bring the folder back from a copy, or "
        "index into a new one."
    )
    return UnopenedError(msg)
