"""What is indexed: files, and the passages of files that are cut already."""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

_SUFFIXES = frozenset({".txt", ".md", ".pdf", ".html", ".htm"})
_PASSAGES_SUFFIX = ".jsonl"
KINDS = (*sorted(_SUFFIXES), _PASSAGES_SUFFIX)
_LINES = 256
_PART_NAME = re.compile(rf"({re.escape(_PASSAGES_SUFFIX)})#\d+$", flags=re.IGNORECASE)


@dataclass(frozen=True)
class Unit:
    """
    What the index holds as a whole or not at all: a file, or some lines of a file of passages.

    :param key: Its name in the manifest.
    :param path: The file.
    :param size: Bytes.
    :param digest: SHA-256 of the bytes.
    :param begin: The first byte.
    :param line: Number of the first line; `None` if the unit is a file that the pipeline reads.
    """

    key: str
    path: Path
    size: int
    digest: str
    begin: int = 0
    line: int | None = None

    def as_row(self) -> str:
        """The unit as JSON, for another process."""
        return json.dumps({**vars(self), "path": str(self.path)})

    @classmethod
    def of_row(cls, row: str) -> "Unit":
        """What :meth:`as_row` gave."""
        told = json.loads(row)
        return cls(**{**told, "path": Path(told["path"])})


def find_units(paths: Iterable[Path]) -> tuple[dict[Path, list[Unit]], list[tuple[str, str]]]:
    """
    What there is to index.

    :param paths: Files and folders.
    :returns: The units of each file, and the files that are left out with the reason.
    :raises ValueError: If only files are named, and none is of a kind that can be indexed.
    """
    paths = list(paths)
    files, skipped = _files(paths)
    if not files and not any(path.is_dir() for path in paths):
        msg = f"None of these files can be indexed; the kinds are {', '.join(KINDS)}."
        raise ValueError(msg)
    units: dict[Path, list[Unit]] = {}
    for file in files:
        try:
            units[file] = list(_units(file))
        except OSError as error:
            skipped.append((str(file), f"it cannot be read ({error.strerror})"))
        else:
            if not units[file]:
                skipped.append((str(file), "it is empty"))
    return units, skipped


def _files(paths: Iterable[Path]) -> tuple[list[Path], list[tuple[str, str]]]:
    files: dict[Path, None] = {}
    skipped = []
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
            visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
            files |= dict.fromkeys(p.resolve() for p in visible)
        elif path.suffix.lower() in KINDS:
            files[path.resolve()] = None
        else:
            skipped.append((str(path), f"not one of {', '.join(KINDS)}"))
    return list(files), skipped


def _units(path: Path) -> Iterator[Unit]:
    """The units of a file, without holding a file of passages in memory."""
    if path.suffix.lower() != _PASSAGES_SUFFIX:
        data = path.read_bytes()
        if data.strip():
            yield Unit(str(path), path, len(data), hashlib.sha256(data).hexdigest())
        return
    with path.open("rb") as file:
        begin, line = 0, 1
        while lines := list(islice(file, _LINES)):
            data = b"".join(lines)
            yield Unit(f"{path}#{line}", path, len(data), hashlib.sha256(data).hexdigest(), begin, line)
            begin += len(data)
            line += len(lines)


def file_of(key: str) -> Path:
    """The file of a unit."""
    return Path(_PART_NAME.sub(r"\1", key))


def is_part(key: str) -> bool:
    """Whether a unit is some lines of a file, rather than a file."""
    return _PART_NAME.search(key) is not None


def is_gone(file: Path, files: Container[Path], folders: Iterable[Path]) -> bool:
    """Whether an indexed file was deleted from a folder that is being indexed, or a file of passages became shorter."""
    if file in files:
        return True
    if not any(file.is_relative_to(folder) for folder in folders):
        return False
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass  # It is there, in a folder that cannot be read.
    return False
