"""The folder of an embedded Qdrant: a shard of the engine for each collection, opened when it is first asked."""

import ctypes
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import RLock
from typing import Any
from uuid import uuid4

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.optimizing import optimize

# The engine writes it into a shard's folder when it makes one.
_CONFIG = "edge_config.json"
# The engine holds this folder of a shard, and its lock, as long as it has the shard open.
_HELD_OPEN = "wal"
# What it says where another process holds that lock.
_HELD = "WouldBlock"
# What local mode of Qdrant's client keeps in its folder.
LOCAL_MODE = "meta.json"
# The engine writes through memory that is mapped to files: a disk without room for them ends the whole process.
_LEAST_FREE = 128 * 2**20
# Seconds that a process which is ending may still hold a folder.
_ENDING = 2.0


class FullDiskError(OSError):
    """The disk has no room for what is to be written."""


def is_edge_folder(path: str | Path) -> bool:
    """
    Whether a folder holds collections of the embedded engine.

    :param path: The folder; it need not be there.
    """
    return any(Path(path).glob(f"*/{_CONFIG}"))


def is_local_folder(path: str | Path) -> bool:
    """
    Whether a folder holds collections of the local mode of Qdrant's client.

    :param path: The folder; it need not be there.
    """
    return (Path(path) / LOCAL_MODE).is_file()


class Shards:
    """
    The shards in a folder; threads take turns, since the engine lets one at a time compute anyway.

    :param path: The folder; it is made with the first collection.
    """

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._open: dict[str, tuple[qdrant_edge.EdgeShard, tuple[int, int]]] = {}
        self._turn = RLock()
        # Held through a write of many batches; searches go on between them.
        self.writing = RLock()

    def names(self) -> list[str]:
        """The collections that there are."""
        return sorted(one.parent.name for one in self._path.glob(f"*/{_CONFIG}"))

    def config(self, name: str) -> dict[str, Any]:
        """What the engine wrote of a collection."""
        data: dict[str, Any] = json.loads((self._path / name / _CONFIG).read_text(encoding="utf-8"))
        return data

    @contextmanager
    def shard(self, name: str) -> Iterator[qdrant_edge.EdgeShard]:
        """
        The shard of a collection, for a block in which no other thread has it.

        :param name: The collection.
        :raises ValueError: If there is none, or another process has it open.
        :raises PermissionError: If its folder cannot be written to.
        """
        with self._turn:
            if name in self._open and self._open[name][1] != self._identity(name):
                # Somebody took the folder away, and may have put another in its place.
                self._close(name)
            if name not in self._open:
                self._open[name] = self._load(name), self._identity(name)
            yield self._open[name][0]

    @contextmanager
    def writable(self, name: str) -> Iterator[qdrant_edge.EdgeShard]:
        """
        The same for a block that writes.

        :param name: The collection.
        :raises FullDiskError: If the disk is nearly full.
        """
        self._check_room(_LEAST_FREE)
        with self.shard(name) as shard:
            yield shard

    def create(self, name: str, config: qdrant_edge.EdgeConfig) -> None:
        """
        Make the shard of a collection, whole or not at all.

        :param name: The collection.
        :param config: Its settings.
        :raises ValueError: If it is there already, or the folder is one of local mode.
        """
        if is_local_folder(self._path):
            msg = (
                f"The folder {self._path} was filled by the local mode of Qdrant's client. Open it with "
                f"QdrantDocumentStore(path=...), or copy it into another folder: rrra copy {self._path} NEW_FOLDER."
            )
            raise ValueError(msg)
        target = self._path / name
        with self._turn:
            self._check_room(_LEAST_FREE)
            if name in self.names():
                msg = f"Collection {name} already exists in {self._path}."
                raise ValueError(msg)
            made = self._path / f".{name}-{uuid4().hex}"
            try:
                made.mkdir(parents=True)
                qdrant_edge.EdgeShard.create(str(made), config).close()
                made.rename(target)
            except OSError as error:
                msg = f"The folder {self._path} cannot be written to ({error.strerror})."
                raise PermissionError(msg) from error
            finally:
                shutil.rmtree(made, ignore_errors=True)

    def delete(self, name: str) -> None:
        """
        Delete a collection.

        :param name: The collection.
        """
        with self._turn:
            self._close(name)
            shutil.rmtree(self._path / name, ignore_errors=True)

    def optimize(self, name: str) -> None:
        """
        Let the engine index and tidy up a collection, in a process of its own; threads that want it wait.

        :param name: The collection.
        :raises FullDiskError: If the disk has no room for what is made of it.
        :raises RuntimeError: If that process fails.
        """
        held = sum(one.stat().st_size for one in (self._path / name).rglob("*") if one.is_file())
        self._check_room(_LEAST_FREE + held)
        with self._turn:
            # Opened first: what is wrong with the folder is told here.
            with self.shard(name):
                pass
            self._close(name)
            optimize(self._path / name)

    def close(self) -> None:
        """Write everything to disk, and let others open the folder. It is opened again when it is asked again."""
        with self._turn:
            for name in list(self._open):
                self._close(name)

    def leave_to_parent(self) -> None:
        """
        In a process that was just forked: everything that is open is the parent's.

        The engine would write to the parent's files what it held in memory at the fork, even if it were only freed, at
        the end of this process. So it is never freed; and its lock is let go, or it would outlive the parent's.
        """
        self._turn, self.writing = RLock(), RLock()
        for shard, identity in self._open.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(shard))
            _close_inherited(identity)
        self._open = {}

    def _check_room(self, wanted: int) -> None:
        place = next(one for one in (self._path, *self._path.absolute().parents) if one.exists())
        free = shutil.disk_usage(place).free
        if free < wanted:
            msg = (
                f"The disk of the Qdrant folder {self._path} is nearly full: {free >> 20} MB are free, and Qdrant Edge "
                f"wants {wanted >> 20} MB to write."
            )
            raise FullDiskError(msg)

    def _close(self, name: str) -> None:
        if name in self._open:
            shard, _ = self._open.pop(name)
            shard.close()

    def _identity(self, name: str) -> tuple[int, int]:
        """Tells a collection's folder from another in its place, since the engine holds this part of it open."""
        try:
            told = (self._path / name / _HELD_OPEN).stat()
        except FileNotFoundError:
            return 0, 0
        return told.st_dev, told.st_ino

    def _load(self, name: str) -> qdrant_edge.EdgeShard:
        # The engine would leave traces of its attempt in a folder that is none of its own.
        if name not in self.names():
            msg = f"Collection {name} not found in {self._path}."
            raise ValueError(msg)
        end = time.monotonic() + _ENDING
        while True:
            try:
                return qdrant_edge.EdgeShard.load(str(self._path / name))
            except Exception as error:
                if _HELD not in str(error) or time.monotonic() > end:
                    raise self._explained(name, str(error)) from error
            time.sleep(0.05)

    def _explained(self, name: str, told: str) -> Exception:
        if _HELD in told:
            msg = (
                f"The Qdrant folder {self._path} is open in another process. Close its document store first "
                "(document_store.close()), or run a Qdrant server and give its url."
            )
            return ValueError(msg)
        if any(sign in told for sign in ("Permission denied", "PermissionDenied", "Read-only", "ReadOnlyFilesystem")):
            msg = f"The Qdrant folder {self._path} cannot be written to, and Qdrant Edge opens none only to read it."
            return PermissionError(msg)
        if "is newer than application version" in told:
            msg = (
                f"The Qdrant folder {self._path} was filled by a newer version of Qdrant Edge. Upgrade it: pip install "
                "--upgrade qdrant-edge-py"
            )
            return ValueError(msg)
        return ValueError(f"Qdrant Edge cannot open the collection '{name}' in {self._path}: {told}")


def _close_inherited(identity: tuple[int, int]) -> None:
    """Close what this process was forked with of a file, which the engine does not know of."""
    with suppress(OSError):
        for one in Path("/dev/fd").iterdir():
            with suppress(OSError):
                told = os.fstat(int(one.name))
                if (told.st_dev, told.st_ino) == identity:
                    os.close(int(one.name))
