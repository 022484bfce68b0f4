"""Which files there are to index, and which are passed over."""

import mimetypes
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from haystack import Pipeline
from haystack.components.routers import FileTypeRouter

from rrra_haystack.documents.kinds import PASSAGES_SUFFIX, holds_passages

# The second is how Office names the file beside a document that says who has it open.
_HIDDEN = (".", "~$")


@dataclass
class Found:
    """
    What lies below the paths that are to be indexed.

    :param files: Files that are read, links followed, and whether their lines are passages.
    :param passed_over: Kinds of the others, by name.
    :param skipped: Files that were named themselves and are not read, or hold nothing, with the reason.
    :param failed: What cannot be read, with the reason.
    :param folders: The folders, those elsewhere that are linked to from within, and what was named and is gone.
    """

    files: dict[Path, bool] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)


def find_files(paths: Iterable[Path], takes: Callable[[list[Path]], set[Path]]) -> Found:
    """
    Find files. A folder is read with all below it but what is hidden; one that is linked to is read once.

    :param paths: Files and folders.
    :param takes: Which of some files the pipeline reads.
    """
    found = Found()
    seen: set[Path] = set()
    candidates: dict[Path, None] = {}
    named: set[Path] = set()
    for path in paths:
        if path.is_dir():
            candidates |= dict.fromkeys(_below(path, seen, found))
        elif is_missing(path):
            found.folders.add(path.resolve())
            found.skipped[shown(path)] = "it is gone, and so is what the index had of it"
        else:
            candidates[path] = None
            named.add(path)
            if _is_sound(path, found) and path.suffix.lower() == PASSAGES_SUFFIX:
                found.files[path.resolve()] = True
    sound = [path for path in candidates if _is_sound(path, found) and path.resolve() not in found.files]
    taken = takes(sound)
    for path in sound:
        if holds_passages(path):
            found.files[path.resolve()] = True
        elif path in taken:
            found.files.setdefault(path.resolve(), False)
        elif path in named:
            found.skipped[shown(path)] = f"the pipeline's router takes no file of the kind {kind_of(path)}"
        else:
            found.passed_over[shown(path)] = kind_of(path)
    return found


def taken_by(pipeline: Pipeline) -> Callable[[list[Path]], set[Path]]:
    """
    Which files a pipeline's router sends to a converter; all of them, if it goes by more than their names.

    :param pipeline: The pipeline.
    """
    router = pipeline.get_component("router")
    if not isinstance(router, FileTypeRouter):
        return set
    connected = {own["from_socket"].name for _, _, own in pipeline.graph.out_edges("router", data=True)}

    def takes(files: list[Path]) -> set[Path]:
        routed: dict[str, Any] = router.run(sources=list(files))
        return {Path(str(file)) for name in connected for file in routed.get(name, [])}

    return takes


def is_missing(path: Path) -> bool:
    """Whether there is nothing at a path, not even a link or something that cannot be read."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        pass
    return False


def kind_of(path: Path) -> str:
    """What kind of file a name tells of."""
    return path.suffix.lower() or "without a suffix"


def shown(path: Path | str) -> str:
    """The whole name of a file, in characters that can be written anywhere, for it may be no UTF-8."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")  # noqa: PTH100  (links stay)


def _below(folder: Path, seen: set[Path], found: Found) -> Iterator[Path]:
    def failed(error: OSError) -> None:
        found.failed[shown(error.filename)] = f"it cannot be read ({error.strerror})"

    seen.add(folder.resolve())
    found.folders.add(folder.resolve())
    for root, folders, names in os.walk(folder, followlinks=True, onerror=failed):
        unseen = []
        for name in sorted(folders):
            real = Path(root, name).resolve()
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                if Path(root, name).is_symlink():
                    found.folders.add(real)
                unseen.append(name)
        folders[:] = unseen
        yield from (Path(root, name) for name in sorted(names) if not name.startswith(_HIDDEN))


def _is_sound(path: Path, found: Found) -> bool:
    """Whether a path leads to a file that is what its name says, and has a name that can be written down."""
    try:
        is_file, exists, real = path.is_file(), path.exists(), path.resolve()
    except (OSError, RuntimeError) as error:
        found.failed[shown(path)] = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
        return False
    if not exists:
        found.failed[shown(path)] = "it is a link that leads nowhere"
    elif not is_file:
        found.passed_over[shown(path)] = "no file"
    elif any("\ud800" <= character <= "\udfff" for character in f"{path}{real}"):
        found.failed[shown(path)] = "its name is not UTF-8: rename it"
    elif mimetypes.guess_type(path.name)[1]:
        # Compressed: the router would go by the name within.
        found.passed_over[shown(path)] = kind_of(path)
    else:
        return True
    return False
