"""Folders of the embedded engine, looked at from outside."""

import shutil
import threading
from pathlib import Path

from haystack_integrations.document_stores.qdrant_edge.folders import bytes_of


def test_bytes_of_a_folder_are_those_on_the_disk(tmp_path: Path) -> None:
    assert bytes_of(tmp_path / "none") == bytes_of(tmp_path) == 0
    (tmp_path / "segments").mkdir()
    (tmp_path / "segments" / "one").write_bytes(b"1" * 8192)
    assert bytes_of(tmp_path) >= 8192
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(2**30)
    assert bytes_of(tmp_path) < 2**20


def test_bytes_of_a_folder_that_is_written_to(tmp_path: Path) -> None:
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            for number in range(50):
                (tmp_path / f"segment-{number}").mkdir()
                (tmp_path / f"segment-{number}" / "vectors").write_bytes(b"1")
            for number in range(50):
                shutil.rmtree(tmp_path / f"segment-{number}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert all(bytes_of(tmp_path) >= 0 for _ in range(200))
    finally:
        ended.set()
        writer.join()
