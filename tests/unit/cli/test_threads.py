import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from rrra_haystack.cli import threads
from rrra_haystack.cli.threads import cpu_quota, thread_settings


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_usable_cores", lambda: 2)


def groups(folder: Path, own: str, **files: str) -> float | None:
    """The quota of a process in the groups `own`, where the files, `__` for `/` in their names, say what they say."""
    for name, text in files.items():
        path = folder / "mounted" / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "own").write_text(own)
    return cpu_quota(folder / "own", folder / "mounted")


def test_the_tightest_quota_on_the_way_to_the_root_counts(tmp_path: Path) -> None:
    assert (
        groups(tmp_path, "0::/outer/inner\n", outer__cpu_max="150000 100000", outer__inner__cpu_max="max 100000") == 1.5
    )
    assert groups(tmp_path, "0::/outer/inner\n", outer__inner__cpu_max="50000 100000") == 0.5


def test_a_container_sees_its_own_group_as_the_root(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/\n", cpu_max="400000 100000") == 4


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    own = "3:cpuset:/\n2:cpu,cpuacct:/jobs\n0::/\n"
    files = {"cpu__jobs__cpu_cfs_quota_us": "-1", "cpu__jobs__cpu_cfs_period_us": "100000"}
    assert groups(tmp_path, own, **files) is None
    assert groups(tmp_path, own, **files | {"cpu__jobs__cpu_cfs_quota_us": "300000"}) == 3


def test_no_control_groups_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "own", tmp_path) is None


@pytest.mark.usefixtures("two_cores")
@pytest.mark.parametrize(("quota", "count"), [(None, None), (8.0, None), (2.0, None), (1.9, "1"), (0.5, "1")])
def test_a_quota_below_the_cores_bounds_the_threads(quota: float | None, count: str | None) -> None:
    assert thread_settings({}, quota).get("OMP_NUM_THREADS") == count


@pytest.mark.usefixtures("two_cores")
def test_what_the_environment_says_is_kept() -> None:
    given = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "ACTIVE", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "1024"}
    assert thread_settings(given, 1.0) == {"OPENBLAS_THREAD_TIMEOUT": "4"}


def test_the_command_settles_it_before_pytorch_is_loaded() -> None:
    program = (
        "import sys, os, rrra_haystack.cli\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "print(os.environ['OMP_WAIT_POLICY'])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "PASSIVE\n"


# Prints how many arenas eight threads that allocate at once have.
ARENAS = """
import ctypes, re, sys, threading
import rrra_haystack.cli
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
meet = threading.Barrier(8)
threads = [threading.Thread(target=lambda: (meet.wait(), libc.malloc(1000), meet.wait())) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
print(open(sys.argv[1]).read().count("<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no arenas to bound")
@pytest.mark.parametrize(("given", "most"), [({}, 2), ({"MALLOC_ARENA_MAX": "4"}, 4)])
def test_threads_share_arenas(tmp_path: Path, given: dict[str, str], most: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | given
    command = [sys.executable, "-c", ARENAS, str(tmp_path / "info.xml")]
    assert int(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout) == most
