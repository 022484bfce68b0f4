"""How many threads NumPy and PyTorch start, how they wait, and what memory they keep: settled before the imports."""

import ctypes
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")
# Of mallopt(3) of glibc.
_M_ARENA_MAX = -8
_ARENAS = 2


def thread_settings(given: Mapping[str, str], quota: float | None) -> dict[str, str]:
    """
    What lets threads that wait leave the cores to others, starts no more of them than the process may use at once, and
    bounds the memory of oneDNN.

    :param given: The environment; what it says already is kept.
    :param quota: How many cores' time the process is granted (:func:`cpu_quota`).
    :returns: Variables that the libraries read when they are loaded.
    """
    settings = {
        # OpenMP's threads would spin for milliseconds after each product, while those that have work stand in line.
        "OMP_WAIT_POLICY": "PASSIVE",
        # So would OpenBLAS's, after each search of an embedded Qdrant, where PyTorch's want to run.
        "OPENBLAS_THREAD_TIMEOUT": "4",
        # oneDNN keeps machine code for each length of a text, of as many as 1,024 products: some 200 MB of a server.
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    }
    # OpenMP heeds the affinity of the process, but not a quota, as containers have it.
    if quota is not None and quota < _usable_cores():
        settings["OMP_NUM_THREADS"] = str(max(int(quota), 1))
    return {name: value for name, value in settings.items() if name not in given}


def bound_arenas(given: Mapping[str, str]) -> None:
    """
    Let all threads allocate from a few arenas, where glibc allocates.

    It gives each of a server's thirty one of its own, which keeps what its thread frees: memory grows under load.

    :param given: The environment; if it says how many (``MALLOC_ARENA_MAX``, or ``GLIBC_TUNABLES``), that stays.
    """
    if (
        sys.platform == "linux"
        and "MALLOC_ARENA_MAX" not in given
        and "arena_max" not in given.get("GLIBC_TUNABLES", "")
    ):
        # Other C libraries have no such function.
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_quota(own: Path = _OWN_CGROUPS, root: Path = _CGROUPS) -> float | None:
    """
    How many cores' time the control groups of the process grant it; `None` if as much as there is.

    :param own: File that names the groups of the process.
    :param root: Folder in which control groups are mounted, version 1 or 2.
    """
    return min(_quotas(own, root), default=None)


def _quotas(own: Path, root: Path) -> Iterator[float]:
    """The quota of each group that has one, from the process's own up to the root."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "cpu" if controllers else root
        group = mount / path.lstrip("/")
        for folder in (group, *group.parents):
            try:
                if controllers:
                    quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
                    period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
                else:
                    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
            except OSError:
                quota = "max"
            if quota != "max" and int(quota) > 0:
                yield int(quota) / int(period)
            if folder == mount:
                break
