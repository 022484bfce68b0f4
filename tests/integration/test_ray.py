"""Indexing on a Ray cluster: what the same command gives without one, also when workers are killed."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from qdrant_server import qdrant_server
from typer.testing import CliRunner

from haystack_integrations.document_stores.qdrant_edge.client import EdgeClient
from rrra_haystack.cli import app
from rrra_haystack.indexing import index as indexing
from rrra_haystack.indexing import ray_workers as ray_indexing
from rrra_haystack.indexing import units
from rrra_haystack.indexing.index import index
from rrra_haystack.indexing.stored import StoredUnits
from rrra_haystack.pipeline_files import read_pipeline

ray = pytest.importorskip("ray")

PASSAGES = 96
LINES = 12
TOPICS = ("rivers", "bread", "moons", "bridges", "tea", "treaties")


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """A Ray that tests share: to start one takes longer than what they do with it."""
    with pytest.MonkeyPatch.context() as patch:
        # However many cores there are: each worker has to import all that it needs.
        patch.setenv("RAY_OVERRIDE_RESOURCES", '{"CPU": 2}')
        ray_indexing._connect(ray_indexing._ray(), "local")
    assert ray.cluster_resources()["CPU"] == 2
    yield
    ray.shutdown()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As Ray's workers have: with another number, sums are rounded otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(indexing, "_BATCH_BYTES", 1)
        patch.setattr(units, "_LINES", LINES)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl"
    topics = [TOPICS[number % len(TOPICS)] for number in range(PASSAGES)]
    rows = [
        {"_id": f"p{n}", "title": topic, "text": f"Passage {n} is about {topic}. " * (3 + 5 * n % 20), "metadata": {}}
        for n, topic in enumerate(topics)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _indexed(paths: list[Path], store: Path, ray: str | None) -> indexing.IndexReport:
    return index(paths, read_pipeline(None, "indexing.yaml", str(store)), ray=ray)


def _points(client: Any) -> dict:
    records, _ = client.scroll("rrra", limit=1000, with_vectors=True)
    return {str(record.id).replace("-", ""): (record.payload, _numbers(record.vector)) for record in records}


def _numbers(vectors: dict) -> list[float]:
    """Those of the embedding and, in the order of the words, of the sparse embedding."""
    words = vectors["text-sparse"]
    return [*vectors["text-dense"], *(value for _, value in sorted(zip(words.indices, words.values, strict=True)))]


def _held(store: Path) -> dict:
    client = EdgeClient(str(store))
    held = _points(client)
    client.close()
    return held


@pytest.fixture(scope="module")
def plain(
    corpus: Path, files_once: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None, small_batches: None
) -> dict:
    """What an index holds that this process filled from corpus and files."""
    store = tmp_path_factory.mktemp("plain") / "store"
    _indexed([corpus, files_once], store, None)
    return _held(store)


def _workers() -> set[int]:
    children = psutil.Process().children(recursive=True)
    found = set()
    for child in children:
        # One that was killed is gone, or waits to be collected.
        with suppress(psutil.NoSuchProcess):
            if "ray::MapWorker" in " ".join(child.cmdline()):
                found.add(child.pid)
    return found


@pytest.mark.usefixtures("local_ray")
def test_killed_workers_lose_and_repeat_nothing(
    corpus: Path, plain: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flawed = tmp_path / "flawed.jsonl"
    flawed.write_text("\n" * LINES + '{"_id": "p96"}\n')
    killed: set[int] = set()
    later: set[int] = set()
    replace = StoredUnits.replace

    def killing(*arguments: object) -> None:
        if not killed:
            killed.update(_workers())
            for worker in killed:
                os.kill(worker, signal.SIGKILL)
        else:
            later.update(_workers())
        replace(*arguments)

    monkeypatch.setattr(StoredUnits, "replace", killing)
    report = _indexed([corpus, flawed], tmp_path / "ray", "local")
    assert killed
    assert later - killed
    held = _held(tmp_path / "ray")
    assert sorted(payload["id"] for payload, _ in held.values()) == sorted(f"p{n}" for n in range(PASSAGES))
    assert report.passages == PASSAGES
    assert held == {name: own for name, own in plain.items() if "part" in own[0]["meta"]}
    ((name, reason),) = report.failed
    assert name == f"{flawed}, line {LINES + 1}"
    assert reason.startswith("expected a JSON object with '_id'")


@pytest.mark.usefixtures("local_ray")
def test_errors_are_one_sentence(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(ray, "is_initialized", lambda: False)
        patched.setattr(ray, "shutdown", lambda: None)
        for address in ("127.0.0.1:1", "ray://127.0.0.1:1", "nowhere"):
            with pytest.raises(ConnectionError, match=f"No Ray cluster answers at {address}"):
                _indexed([corpus], tmp_path / "ray", address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'rrra-haystack\[ray\]'"):
        _indexed([corpus], tmp_path / "ray", "local")


@pytest.mark.usefixtures("local_ray")
def test_reading_that_kills_its_worker_ends_the_command(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = tmp_path / "tries"

    def dying(row: dict, pipeline: str) -> dict:
        with tries.open("a") as file:
            file.write(".")
        os._exit(1)

    monkeypatch.setattr(ray_indexing, "_read", dying)
    monkeypatch.setattr(ray_indexing, "_RETRIES", 1)
    monkeypatch.setattr(units, "_LINES", PASSAGES)
    with pytest.raises(RuntimeError, match=r"up to 2 workers died .* memory\? What was written stays"):
        _indexed([corpus], tmp_path / "ray", "local")
    assert tries.read_text() == ".."


@pytest.fixture
def head(local_ray: None) -> Iterator[str]:
    """The head of a cluster of its own, as `ray start` makes it; its address."""
    # The local Ray made the token that other clusters of this user want from then on, and told this process to show it.
    ray.shutdown()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # It is ended by its processes, since `ray stop` ends every Ray of this machine. The path of a socket must be short.
    with tempfile.TemporaryDirectory(prefix="rrra-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", "--disable-usage-stats"),
                *("--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2", "--temp-dir", folder),
                *("--include-dashboard=false", "--object-store-memory", str(2**27)),
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while not _listens(port):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            started = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            for one in started:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            psutil.wait_procs(started, timeout=10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_cluster_fills_the_index_that_a_single_process_fills(
    corpus: Path, files_once: Path, plain: dict, head: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with qdrant_server() as server:
        # By the address of its head, and into a server; the other tests use a local Ray and a folder.
        command = ["index", str(corpus), str(files_once), "--store", server.url, "--ray", head]
        said = CliRunner().invoke(app, command, catch_exceptions=False).output
        expected = f"5 files added, 0 changed, 0 removed, 0 unchanged. The index holds {len(plain)} passages"
        assert expected in " ".join(said.split())
        filled = _points(server.client)
        assert {name: payload for name, (payload, _) in filled.items()} == {name: plain[name][0] for name in plain}
        for name, (_, vector) in filled.items():
            # On its way through a server, a vector is rounded once more.
            assert vector == pytest.approx(plain[name][1], abs=1e-6)
        again = CliRunner().invoke(app, command, catch_exceptions=False).output
        assert "0 files added, 0 changed, 0 removed, 5 unchanged" in again
    assert not ray.is_initialized()
    meta = next(payload["meta"] for payload, _ in plain.values() if payload["id"] == "p43")
    assert meta.pop("rrra_codes")
    assert meta == {"title": "bread", "source": str(corpus), "part": f"{corpus}#37"}
