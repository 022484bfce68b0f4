"""What is indexed: files, and the passages of files that are cut already."""

import hashlib
import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from rrra_haystack.documents.kinds import PASSAGES_SUFFIX
from rrra_haystack.indexing.finding import Found, shown

_LINES = 256
# White space, and the bytes of byte order marks.
_NOTHING = b" \t\r\n\xef\xbb\xbf\xff\xfe"
_PART_NAME = re.compile(rf"({re.escape(PASSAGES_SUFFIX)})#\d+$", flags=re.IGNORECASE)


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


def units_of(found: Found) -> dict[Path, list[Unit]]:
    """
    The units of each file; those that hold nothing and those that cannot be read are told in `found`.

    :param found: The files.
    """
    units: dict[Path, list[Unit]] = {}
    for file, holds_passages in found.files.items():
        try:
            units[file] = list(_parts(file) if holds_passages else _whole(file))
        except OSError as error:
            found.failed[shown(file)] = f"it cannot be read ({error.strerror})"
        else:
            if not units[file]:
                found.skipped[str(file)] = "it is empty"
    return units


def _whole(path: Path) -> Iterator[Unit]:
    data = path.read_bytes()
    if data.strip(_NOTHING):
        yield Unit(str(path), path, len(data), hashlib.sha256(data).hexdigest())


def _parts(path: Path) -> Iterator[Unit]:
    """The units of a file of passages, without holding it in memory."""
    with path.open("rb") as file:
        begin, line = 0, 1
        while lines := list(islice(file, _LINES)):
            data = b"".join(lines)
            yield Unit(f"{path}#{line}", path, len(data), hashlib.sha256(data).hexdigest(), begin, line)
            begin += len(data)
            line += len(lines)


def key_in(meta: Mapping[str, Any]) -> str:
    """The key of the unit that a passage is of, out of its metadata."""
    # A passage of a .jsonl file has a source of its own, of any type.
    return str(meta.get("part") or meta.get("source"))


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
