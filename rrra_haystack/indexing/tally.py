"""What became of files, counted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rrra_haystack.documents.metadata import GUESSED_KEY, UNREAD_KEY
from rrra_haystack.indexing.finding import Found
from rrra_haystack.indexing.steps import Batch, key_of
from rrra_haystack.indexing.units import Unit, file_of


@dataclass
class IndexReport:
    """
    What became of the files.

    :param added: Files that are new in the index.
    :param changed: Files that took the place of what the index had of them.
    :param removed: Files that are gone, and with them their passages.
    :param unchanged: Files that were in the index as they are.
    :param passages: Passages in the index.
    :param of_another_pipeline: Files that are in the index as that pipeline made them, for they were not named.
    :param skipped: Files that were named and are not read, or hold nothing, and why.
    :param passed_over: Files that the pipeline's router does not take, by kind, the most frequent one first.
    :param failed: What could not be read, wholly or in some lines, and why; it counts as nothing else, and is tried
        again.
    :param unread: Passages that are longer than the encoder reads.
    :param guessed: Of files whose encoding was guessed from a few letters, which one, by the file's name.
    :param same_ids: What several passages have as their ``_id``; the one that was written last stays.
    :param incomplete: Files that lack passages, since a file that had the same ``_id`` changed or is gone, and that
        were not named.
    :param not_optimized: Why the engine has not built its search index, if it could not.
    """

    added: int = 0
    changed: int = 0
    removed: int = 0
    unchanged: int = 0
    passages: int = 0
    of_another_pipeline: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)
    failed: list[tuple[str, str]] = field(default_factory=list)
    unread: int = 0
    guessed: dict[str, str] = field(default_factory=dict)
    same_ids: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    not_optimized: str = ""


class Tally:
    """
    Takes what becomes of units, and counts each file once.

    :param found: What was found to be indexed.
    :param units: The units of each file.
    :param known: Units that the index held before.
    """

    def __init__(self, found: Found, units: Mapping[Path, list[Unit]], known: Iterable[str]) -> None:
        self.report = IndexReport(
            failed=list(found.failed.items()),
            skipped=list(found.skipped.items()),
            passed_over=_by_kind(found.passed_over),
        )
        self._files = units.keys()
        self._filled = {file for file, own in units.items() if own}
        self._known = {file_of(key) for key in known}
        self._touched: set[Path] = set()
        self._not_read: set[Path] = set()
        self._same: set[str] = set()

    def lose(self, keys: Iterable[str]) -> None:
        """Take units that are gone."""
        lost = {file_of(key) for key in keys}
        self.report.removed = len(lost - self._files)
        # A file of passages may have become shorter, and nothing else.
        self._touched |= lost & self._files

    def take(self, batch: Iterable[Unit], done: Batch, same_ids: Iterable[str]) -> None:
        """
        Take what came of some units.

        :param batch: The units.
        :param done: What came of them.
        :param same_ids: Identifiers that other passages had, too.
        """
        self._touched |= {unit.path for unit in batch}
        for one in done.failures:
            (self.report.skipped if one.is_empty else self.report.failed).append((one.name, one.reason))
            # Of a file that was in the index and holds nothing now, that is a change.
            if not (one.is_empty and file_of(one.key) in self._known):
                self._not_read.add(file_of(one.key))
        for document in done.documents:
            self.report.unread += UNREAD_KEY in document.meta
            if GUESSED_KEY in document.meta:
                self.report.guessed[key_of(document)] = document.meta[GUESSED_KEY]
        self._same.update(same_ids)

    def told(self, passages: int, of_another_pipeline: Iterable[str], incomplete: Iterable[str]) -> IndexReport:
        """
        The report.

        :param passages: Passages in the index.
        :param of_another_pipeline: Units that another pipeline wrote.
        :param incomplete: Units that lack passages.
        """
        report, touched = self.report, self._touched - self._not_read
        report.changed = len(touched & self._known)
        report.added = len(touched - self._known)
        report.unchanged = len(self._filled - touched - self._not_read)
        report.passages = passages
        report.of_another_pipeline = len({file_of(key) for key in of_another_pipeline} - self._files)
        report.incomplete = sorted({str(file_of(key)) for key in incomplete})
        report.same_ids = sorted(self._same)
        return report


def _by_kind(kinds: Mapping[str, str]) -> dict[str, list[str]]:
    """Names of files by their kind, the most frequent kind first."""
    names: dict[str, list[str]] = {}
    for name, kind in kinds.items():
        names.setdefault(kind, []).append(name)
    return dict(sorted(names.items(), key=lambda own: -len(own[1])))
