"""What is indexed: files, and the passages of files that are cut already."""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

PASSAGES_SUFFIX = ".jsonl"
_LINES = 256
_SUFFIXES = frozenset({".txt", ".md", ".pdf", ".html", ".htm"})
KINDS = (*sorted(_SUFFIXES), PASSAGES_SUFFIX)
PART_NAME = re.compile(rf"({re.escape(PASSAGES_SUFFIX)})#\d+$", flags=re.IGNORECASE)


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


def units_of(path: Path) -> Iterator[Unit]:
    """
    The units of a file, without holding a file of passages in memory.

    :param path: The file.
    """
    if path.suffix.lower() != PASSAGES_SUFFIX:
        data = path.read_bytes()
        yield Unit(str(path), path, len(data), hashlib.sha256(data).hexdigest())
        return
    with path.open("rb") as file:
        begin, line = 0, 1
        while lines := list(islice(file, _LINES)):
            data = b"".join(lines)
            yield Unit(f"{path}#{line}", path, len(data), hashlib.sha256(data).hexdigest(), begin, line)
            begin += len(data)
            line += len(lines)


@dataclass
class IndexReport:
    """
    How many files were added, changed, removed, left; passages in the index; files skipped and why.

    Files `of_another_pipeline` are in the index as that pipeline made them, for they were not named.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    of_another_pipeline: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


def readable_units(files: Iterable[Path], report: IndexReport) -> dict[Path, list[Unit]]:
    """The units of the files that can be read; the report tells of the others."""
    units: dict[Path, list[Unit]] = {}
    for file in files:
        try:
            units[file] = list(units_of(file))
        except OSError as error:
            report.skipped.append((str(file), f"it cannot be read ({error.strerror})"))
        else:
            if not units[file]:
                report.skipped.append((str(file), "it is empty"))
    return units


def collect_files(paths: Iterable[Path]) -> tuple[list[Path], IndexReport]:
    """The files below some paths that can be indexed, and a report of the others."""
    report = IndexReport()
    files: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in _SUFFIXES)
            visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(path).parts))
            files |= dict.fromkeys(p.resolve() for p in visible)
        elif path.suffix.lower() in KINDS:
            files[path.resolve()] = None
        else:
            report.skipped.append((str(path), f"not one of {', '.join(KINDS)}"))
    return list(files), report


def file_of(key: str) -> Path:
    """The file of a unit."""
    return Path(PART_NAME.sub(r"\1", key))


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
