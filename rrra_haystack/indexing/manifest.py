"""What was indexed, by file, so that the next run goes on from there."""

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rrra_haystack.files import write_json
from rrra_haystack.indexing.units import Unit

_SECONDS = 5.0


@dataclass
class _Released:
    """How a unit was that lost passages: its digests, those that have these, and which of them are written again."""

    state: str
    by: list[str]
    waiting: set[str]


@dataclass
class Manifest:
    """
    What the index holds.

    :param path: Where the manifest lies.
    :param pipeline: Digest of the pipeline that is at work.
    :param held: Units that are wholly written, with the digests of the pipeline and of their bytes.
    :param pending: Units that were begun; the index may hold any part of them, old or new.
    :param failed: Units that could not be read, with the reason; of a file the index keeps what it had.
    :param tried: The digests of those that could not be read, as in `held`.
    :param overwritten: Units of which others hold passages, for these have the same identifiers; with the others.
    """

    path: Path
    pipeline: str
    held: dict[str, str] = field(default_factory=dict)
    pending: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    overwritten: dict[str, list[str]] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    _released: dict[str, "_Released"] = field(default_factory=dict)
    _unsure: set[str] = field(default_factory=set)
    _written: float = -math.inf

    @classmethod
    def read(cls, path: Path, pipeline: str, *, is_empty: bool) -> "Manifest":
        """The manifest of an index; a new one if there is none, or if the index was emptied."""
        if is_empty or not path.exists():
            return cls(path, pipeline)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            failed, overwritten, tried = (dict(data.get(key, {})) for key in ("failed", "overwritten", "tried"))
            return cls(path, pipeline, dict(data["files"]), set(data.get("pending", ())), failed, overwritten, tried)
        except (KeyError, TypeError, ValueError):
            return cls(path, pipeline)

    def _state(self, unit: Unit) -> str:
        return f"{self.pipeline}:{unit.digest}"

    def known(self) -> set[str]:
        """Units of which the index may hold passages."""
        return self.held.keys() | self.pending | self.failed.keys()

    def holds(self, unit: Unit) -> bool:
        """Whether a unit is wholly written, as it is now and by this pipeline."""
        return unit.key not in self.pending and self.held.get(unit.key) == self._state(unit)

    def failed_as_it_is(self, unit: Unit) -> bool:
        """Whether a unit could not be read the last time, wholly or in some lines, and has not changed since."""
        return unit.key in self.failed and self.tried.get(unit.key) == self._state(unit)

    def of_another_pipeline(self) -> list[str]:
        """Units that another pipeline wrote."""
        return [key for key, state in self.held.items() if not state.startswith(f"{self.pipeline}:")]

    def incomplete(self) -> list[str]:
        """Units that lack passages which others have overwritten and no longer hold, until they are written again."""
        return [key for key, state in self.held.items() if state.endswith(":") and key not in self.failed]

    def losing(self, keys: set[str]) -> set[str]:
        """Units that lack passages once those of other units are deleted; what is written again for it among them."""
        losing: set[str] = set()
        more = keys
        while more := {key for key, by in self.overwritten.items() if key not in losing and not more.isdisjoint(by)}:
            losing |= more
        return losing

    def overwrite(self, keys: Mapping[str, set[str]]) -> None:
        """
        Note whose passages are about to be overwritten, before they are: a kill must not hide it.

        :param keys: Units, with those that take their passages.
        """
        known = self.held.keys() | self.pending if keys else set()
        new = {key: by for key, by in keys.items() if key in known and not by <= set(self.overwritten.get(key, ()))}
        for key, by in new.items():
            self.overwritten[key] = sorted(by.union(self.overwritten.get(key, ())))
        if new:
            self.write()

    def begin(self, units: Sequence[Unit]) -> None:
        """Note what is about to be written, so that what a kill leaves of it is found."""
        keys = {unit.key for unit in units}
        self._released = self._release(keys)
        self._unsure = self.pending & keys
        self.pending |= keys
        self.write()

    def releasing(self) -> set[str]:
        """Units that were begun, of which others would lack passages if these had an ``_id`` no longer."""
        return {key for one in self._released.values() for key in one.by if key in self.pending}

    def keep(self, keys: Iterable[str]) -> None:
        """Note that units have all that they had, so that nobody lacks what was overwritten by them."""
        kept = set(keys)
        while kept:
            for one in self._released.values():
                one.waiting -= kept
            kept = {key for key, one in self._released.items() if not one.waiting}
            for key in kept:
                one = self._released.pop(key)
                self.overwritten[key] = sorted({*one.by, *self.overwritten.get(key, ())})
                self.held[key] = one.state

    def complete(self, units: Sequence[Unit]) -> None:
        """Note what is wholly written; on disk only now and then, since what is noted late is written again."""
        self.held |= {unit.key: self._state(unit) for unit in units}
        self.pending -= {unit.key for unit in units}
        for unit in units:
            self.failed.pop(unit.key, None)
            self.tried.pop(unit.key, None)
        if time.monotonic() - self._written >= _SECONDS:
            self.write()
            self._written = time.monotonic()

    def fail(self, unit: Unit, reason: str, *, written: bool) -> None:
        """
        Note what could not be indexed, to be tried again.

        :param unit: The unit.
        :param reason: Why.
        :param written: Whether a part of it was, in the place of what the index had.
        """
        key = unit.key
        self.failed[key], self.tried[key] = reason, self._state(unit)
        if written:
            self.held[key] = f"{self.pipeline}:"
        if written or key not in self._unsure:
            self.pending.discard(key)

    def forget(self, keys: Iterable[str]) -> None:
        """Drop what was deleted."""
        keys = set(keys)
        self._release(keys)
        for key in keys:
            self.held.pop(key, None)
            self.pending.discard(key)
            self.failed.pop(key, None)
            self.tried.pop(key, None)

    def _release(self, keys: set[str]) -> dict[str, "_Released"]:
        """
        Note that units are no longer written as they were, so that whoever lost passages to them lacks these.

        What is returned says how it was, but for what is written again itself.
        """
        losing = self.losing(keys)
        released = {}
        for key in losing:
            by = self.overwritten.pop(key)
            if key in self.held:
                if key not in keys:
                    released[key] = _Released(self.held[key], by, (keys | losing).intersection(by))
                self.held[key] = self.held[key].partition(":")[0] + ":"
        for key in keys:
            self.overwritten.pop(key, None)
        return released

    def write(self) -> None:
        """Write the manifest to its place."""
        told = {
            "files": self.held, "pending": sorted(self.pending), "failed": self.failed, "overwritten": self.overwritten,
            "tried": self.tried,
        }  # fmt: skip
        write_json(self.path, told)
