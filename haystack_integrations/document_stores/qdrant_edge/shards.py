"""The folder of an embedded Qdrant: a shard of the engine for each collection, opened when it is first asked."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import qdrant_edge
from haystack_integrations.document_stores.qdrant_edge.disk import (
    COPIES,
    LEAST_FREE,
    LEAST_FREE_ANEW,
    LEAST_FREE_FOR_INDEX,
    check_room,
)
from haystack_integrations.document_stores.qdrant_edge.explaining import HeldError, explained, is_held
from haystack_integrations.document_stores.qdrant_edge.folders import CONFIG, bytes_of, collections_in, is_local_folder
from haystack_integrations.document_stores.qdrant_edge.forking import leave_to_parent
from haystack_integrations.document_stores.qdrant_edge.hidden import place_to_make, replace, sweep
from haystack_integrations.document_stores.qdrant_edge.optimizing import optimize

# The engine holds this folder of a shard, and its lock, as long as it has the shard open.
_HELD_OPEN = "wal"
# Seconds that a process which is ending may still hold a folder.
_ENDING = 2.0
# What a name has in no collection of a Qdrant server; a folder is named so on every system.
_REFUSED = frozenset('<>:"/\\|?*\0\x1f')


class Shards:
    """
    The shards in a folder; threads take turns, since the engine lets one at a time compute anyway.

    :param path: The folder; it is made with the first collection.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._open: dict[str, tuple[qdrant_edge.EdgeShard, tuple[int, int]]] = {}
        self._turn = RLock()
        # Held through a write of many batches; searches go on between them.
        self.writing = RLock()

    def names(self) -> list[str]:
        """The collections that there are."""
        return collections_in(self.path)

    def config(self, name: str) -> dict[str, Any]:
        """
        What the engine wrote of a collection.

        :param name: The collection.
        :raises ValueError: If it is damaged.
        """
        path = self.path / name / CONFIG
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            msg = f"{path} is damaged ({error}). Bring the folder back from a copy, or index into a new one."
            raise ValueError(msg) from None
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
    def writable(self, name: str, size: int = 0) -> Iterator[qdrant_edge.EdgeShard]:
        """
        The same for a block that writes.

        :param name: The collection.
        :param size: About how many bytes are written.
        :raises FullDiskError: If the disk has no room for them.
        """
        with self.shard(name) as shard:
            check_room(self.path, LEAST_FREE + COPIES * size)
            yield shard

    def create(
        self,
        name: str,
        config: qdrant_edge.EdgeConfig,
        updates: Sequence[qdrant_edge.UpdateOperation] = (),
        *,
        anew: bool = False,
    ) -> None:
        """
        Make the shard of a collection, whole or not at all.

        :param name: The collection.
        :param config: Its settings.
        :param updates: What it begins with.
        :param anew: Make it in the place of the one that there is.
        :raises ValueError: If it is there already, or the folder is not for it.
        """
        with self._turn:
            self._check_new(name)
            is_there = name in self.names()
            if is_there and not anew:
                msg = f"Collection {name} already exists in {self.path}."
                raise ValueError(msg)
            sweep(self.path, name)
            anew_free = LEAST_FREE_ANEW + len(updates) * LEAST_FREE_FOR_INDEX
            check_room(self.path, anew_free if is_there else LEAST_FREE)
            made = place_to_make(self.path, name)
            try:
                made.mkdir(parents=True)
                shard = qdrant_edge.EdgeShard.create(str(made), config)
                for one in updates:
                    shard.update(one)
                shard.close()
                if is_there:
                    self._replace(name, made)
                else:
                    made.rename(self.path / name)
            except OSError as error:
                msg = f"The folder {self.path} cannot be written to ({error.strerror})."
                raise PermissionError(msg) from error
            finally:
                shutil.rmtree(made, ignore_errors=True)

    def delete(self, name: str) -> None:
        """
        Delete a collection, whole or not at all.

        :param name: The collection; it need not be there.
        :raises HeldError: If another process has it open.
        """
        with self._turn:
            if name in self.names():
                self._replace(name, None)

    def optimize(self, name: str) -> None:
        """
        Let the engine index and tidy up a collection, in a process of its own; threads that want it wait.

        :param name: The collection.
        :raises FullDiskError: If the disk has no room for what is made of it.
        :raises HeldError: If another process opens it before that one does, and does not close it.
        :raises RuntimeError: If that process fails.
        """
        with self._turn:
            # Opened first: what is wrong with the folder is told here.
            with self.shard(name):
                check_room(self.path, LEAST_FREE + bytes_of(self.path / name))
            self._close(name)
            optimize(self.path / name)

    def close(self) -> None:
        """Write everything to disk, and let others open the folder. It is opened again when it is asked again."""
        with self._turn:
            for name in list(self._open):
                self._close(name)

    def leave_to_parent(self) -> None:
        """In a process that was just forked: open nothing that is the parent's, and take no lock for held."""
        self._turn, self.writing = RLock(), RLock()
        for shard, identity in self._open.values():
            leave_to_parent(shard, identity)
        self._open = {}

    def _check_new(self, name: str) -> None:
        if is_local_folder(self.path):
            msg = (
                f"The folder {self.path} was filled by the local mode of Qdrant's client. Open it with "
                f"QdrantDocumentStore(path=...), or copy it into another folder: rrra copy {self.path} NEW_FOLDER."
            )
            raise ValueError(msg)
        if not name or name.startswith(".") or not _REFUSED.isdisjoint(name):
            msg = (
                f"The collection {name!r} cannot be made in {self.path}: a name must not be empty, begin with a dot "
                'or hold any of < > : " / \\ | ? *. Choose another `index`.'
            )
            raise ValueError(msg)
        if (self.path / name).exists() and name not in self.names():
            msg = f"{self.path / name} holds something else than a collection. Choose another `index`."
            raise ValueError(msg)

    def _replace(self, name: str, made: Path | None) -> None:
        """Put a folder, or nothing, in the place of a collection that nobody else has open."""
        try:
            with self.shard(name):
                pass
        except HeldError:
            raise
        except (ValueError, PermissionError):
            # What cannot be opened can be deleted.
            pass
        self._close(name)
        replace(self.path, name, made)

    def _close(self, name: str) -> None:
        if name in self._open:
            shard, _ = self._open.pop(name)
            shard.close()

    def _identity(self, name: str) -> tuple[int, int]:
        """Tells a collection's folder from another in its place, since the engine holds this part of it open."""
        try:
            told = (self.path / name / _HELD_OPEN).stat()
        except FileNotFoundError:
            return 0, 0
        return told.st_dev, told.st_ino

    def _load(self, name: str) -> qdrant_edge.EdgeShard:
        # The engine would leave traces of its attempt in a folder that is none of its own.
        if name not in self.names():
            msg = f"Collection {name} not found in {self.path}."
            raise ValueError(msg)
        sweep(self.path, name)
        end = time.monotonic() + _ENDING
        while True:
            try:
                return qdrant_edge.EdgeShard.load(str(self.path / name))
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as error:  # The engine panics over damaged files, which is no Exception.
                if not is_held(str(error)) or time.monotonic() > end:
                    raise explained(self.path, name, str(error)) from error
            time.sleep(0.05)
