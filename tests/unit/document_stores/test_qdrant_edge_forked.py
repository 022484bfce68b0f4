"""A process that is forked with an open Edge store is another process: it loses nothing, and takes nothing away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows forks no processes.")

# In a process of its own, without the threads of other tests. The child says what it sees, and ends as it is told to.
BEGIN = """
import os, signal, sys
from pathlib import Path
from haystack import Document
from haystack_integrations.document_stores.qdrant_edge import QdrantEdgeDocumentStore
store = QdrantEdgeDocumentStore(sys.argv[1], embedding_dim=3, progress_bar=False)

def write(name):
    return store.write_documents([Document(id=name, content=name, embedding=[1.0, 2.0, 3.0])])

def tell(method, *given):
    try:
        print(method(*given), flush=True)
    except Exception as error:
        print(error, flush=True)

def files():
    return {str(one): one.stat().st_mtime_ns for one in Path(sys.argv[1]).rglob("*")}

def names():
    return sorted(one.id for one in store.filter_documents())

go, ended = os.pipe()

def fork(child):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        child()
        os._exit(0)
    return lambda: print("ended with", os.waitpid(pid, 0)[1], flush=True)

write("before")
"""
REFUSED = "is open in another process. Close its document store first (document_store.close())"


def told(tmp_path: Path, script: str) -> list[str]:
    command = [sys.executable, "-c", BEGIN + script, str(tmp_path / "edge")]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout.splitlines()


def test_the_child_is_told_that_the_store_is_open(tmp_path: Path) -> None:
    said = told(
        tmp_path,
        """
def child():
    tell(write, "child")
    tell(store.count_documents)
    tell(QdrantEdgeDocumentStore(sys.argv[1], embedding_dim=3).count_documents)
fork(child)()
write("parent")
store.close()
tell(names)
""",
    )
    assert [REFUSED in line for line in said[:3]] == [True] * 3
    assert said[3:] == ["ended with 0", "['before', 'parent']"]


def test_the_child_opens_what_its_parent_has_closed(tmp_path: Path) -> None:
    said = told(
        tmp_path,
        """
def child():
    os.read(go, 1)
    tell(write, "child")
    tell(names)
    store.close()
wait = fork(child)
write("parent")
store.close()
os.write(ended, b"x")
wait()
tell(names)
""",
    )
    assert said == ["1", "['before', 'child', 'parent']", "ended with 0", "['before', 'child', 'parent']"]


def test_the_parent_opens_its_store_again_while_the_child_lives(tmp_path: Path) -> None:
    said = told(
        tmp_path,
        """
wait = fork(lambda: os.read(go, 1))
store.close()
tell(names)
os.write(ended, b"x")
wait()
""",
    )
    assert said == ["['before']", "ended with 0"]


@pytest.mark.parametrize("end", ["sys.exit(0)", "store.close()", "del globals()['store']"])
def test_a_child_that_ends_writes_nothing_over_what_its_parent_wrote(tmp_path: Path, end: str) -> None:
    said = told(
        tmp_path,
        f"""
def child():
    os.read(go, 1)
    {end}
wait = fork(child)
write("parent")
before = files()
os.write(ended, b"x")
wait()
print(files() == before)
write("later")
store.close()
tell(names)
""",
    )
    assert said == ["ended with 0", "True", "['before', 'later', 'parent']"]


def test_a_lock_that_another_thread_holds_at_the_fork(tmp_path: Path) -> None:
    said = told(
        tmp_path,
        """
from threading import Event, Thread
held, done = Event(), Event()
def hold():
    with store._shards.writing, store._shards.shard(store.index):
        held.set()
        done.wait()
Thread(target=hold).start()
held.wait()
wait = fork(lambda: tell(write, "child"))
wait()
done.set()
tell(names)
""",
    )
    assert REFUSED in said[0]
    assert said[1:] == ["ended with 0", "['before']"]
