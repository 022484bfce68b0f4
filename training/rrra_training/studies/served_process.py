"""A served pipeline in a process of its own."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil

_ENDED = "The server ended before it answered. Run it by hand to see why."
_SILENT = "The server did not answer in {:g} seconds. Be more patient, or run it by hand to see what keeps it."


@contextmanager
def server(folder: Path, *command: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """
    Run a server of this environment on a free port.

    :param folder: The folder in which it runs.
    :param command: Its program and arguments, as ``rrra``, ``serve``, ``pipelines``.
    :returns: Its address, before it listens, and its process, which ends with the block.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).with_name(command[0])
    process = subprocess.Popen(
        [program, *command[1:], "--host", "127.0.0.1", "--port", str(port)],
        cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(address: str, process: subprocess.Popen[bytes], patience: float) -> None:
    """
    Wait until a server listens.

    :param address: Its address.
    :param process: Its process.
    :param patience: For how many seconds.
    :raises RuntimeError: If it ends.
    :raises TimeoutError: If it does not listen in time.
    """
    end = time.monotonic() + patience
    while True:
        try:
            httpx.get(f"{address}/status")
            return
        except httpx.TransportError as error:
            if process.poll() is not None:
                raise RuntimeError(_ENDED) from error
            if time.monotonic() > end:
                raise TimeoutError(_SILENT.format(patience)) from error
            time.sleep(0.05)


def memory_of(number: int) -> dict[str, int]:
    """
    Bytes of memory of a process: its own, and pages of files, which the system may take away.

    :param number: Its number. Where the system does not tell the two apart, all are its own.
    """
    told = psutil.Process(number).memory_info()
    of_files = getattr(told, "shared", 0)
    return {"own": told.rss - of_files, "pages of files": of_files}


def start(
    folder: Path, pipelines: Path, question: str, patience: float = 300, further: Sequence[str] = ()
) -> dict[str, Any]:
    """
    Start a server and wait for its first answer.

    :param folder: Where it runs; the stores of the pipelines are found from here.
    :param pipelines: The folder of pipeline files, ``search.yaml`` among them.
    :param question: The first question.
    :param patience: For how many seconds the first answer is waited for.
    :param further: Questions that are asked then.
    :returns: Seconds until it listens and until the first answer, and its ``memory`` after all questions.
    :raises RuntimeError: If the server ends, or answers with an error.
    :raises TimeoutError: If it does not answer in `patience` seconds.
    """
    begin = time.monotonic()
    with server(folder, "rrra", "serve", str(pipelines.resolve())) as (address, process):
        wait_for(address, process, patience)
        listening = time.monotonic() - begin
        left = max(1.0, patience - listening)
        try:
            httpx.post(f"{address}/search/run", json={"question": question}, timeout=left).raise_for_status()
        except httpx.HTTPStatusError as error:
            msg = f"The server answered the question with an error: {error.response.text[:200]}"
            raise RuntimeError(msg) from error
        except httpx.TimeoutException as error:
            raise TimeoutError(_SILENT.format(patience)) from error
        except httpx.TransportError as error:
            raise RuntimeError(_ENDED) from error
        answered = time.monotonic() - begin
        for one in further:
            httpx.post(f"{address}/search/run", json={"question": one}, timeout=60).raise_for_status()
        memory = memory_of(process.pid)
    return {"seconds until it listens": listening, "seconds until the first answer": answered, "memory": memory}
