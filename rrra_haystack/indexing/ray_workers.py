"""Reading and encoding as a Ray Data job; writing stays with the caller, so any Qdrant will do."""

import json
import logging
import os
import socket
import warnings
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import Any

from haystack import Document

from rrra_haystack.documents.failures import Failure
from rrra_haystack.errors import cause_of
from rrra_haystack.indexing.steps import Batch, Encoding, Reading
from rrra_haystack.indexing.units import Unit

_RETRIES = 5
_PATIENCE = 10.0


def encoded_by_ray(
    address: str, pipeline: dict[str, Any], batches: Sequence[Sequence[Unit]]
) -> Generator[tuple[int, Batch]]:
    """
    Read and encode batches on the workers of a Ray cluster.

    A batch is one block: what a worker that died was at is done again by another, from the files. Batches come back in
    the order in which they are done, each once.

    :param address: Address of the cluster, or ``local`` for one on this machine that ends with the job.
    :param pipeline: The indexing pipeline.
    :param batches: What is read and encoded at a time.
    :returns: Numbers of batches, and their documents.
    :raises ImportError: If Ray is not installed.
    :raises ConnectionError: If no cluster answers.
    :raises RuntimeError: If workers fail, or die time and again at the same batch.
    """
    ray = _ray()
    running = ray.is_initialized()
    try:
        if not running:
            _connect(ray, address)
        ray.data.DataContext.get_current().enable_progress_bars = False
        rows = [{"number": number, "units": [unit.as_row() for unit in batch]} for number, batch in enumerate(batches)]
        gpu = 1 if ray.cluster_resources().get("GPU") else None
        encoded = (
            ray.data.from_items(rows, override_num_blocks=len(rows))
            # Without an end to retries, a text that kills its worker would be tried for ever.
            .map(_read, fn_args=(json.dumps(pipeline),), max_retries=_RETRIES)
            .map(_Encoder, fn_constructor_args=(pipeline,), num_gpus=gpu, max_task_retries=_RETRIES)
        )
        for row in encoded.iter_rows():
            if row["error"]:
                msg = f"A Ray worker failed: {row['error']}"
                raise RuntimeError(msg)
            yield row["number"], _unpacked(row["documents"])
    except (
        ray.exceptions.RayActorError,
        ray.exceptions.WorkerCrashedError,
        ray.exceptions.OutOfMemoryError,
    ) as error:
        msg = (
            f"Ray gave up work at which up to {_RETRIES + 1} workers died ({str(error).splitlines()[0]}) Is there "
            "enough memory? What was written stays; the same command goes on from there."
        )
        raise RuntimeError(msg) from None
    finally:
        if not running:
            ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415
        import ray.data  # noqa: PLC0415
    except ImportError:
        msg = "Indexing with Ray needs the extra 'ray'. Install it with: pip install 'rrra-haystack[ray]'"
        raise ImportError(msg) from None
    return ray


def _connect(ray: Any, address: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {}
    if not os.environ.get("RRRA_DEBUG"):
        # The command tells progress and errors itself.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        warnings.simplefilter("ignore", ray.util.annotations.RayDeprecationWarning)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if host:
            # Ray itself would wait for two minutes and end the process.
            socket.create_connection((host, int(port)), timeout=_PATIENCE).close()
        ray.init(address=address, **quiet)
    except Exception as error:  # a machine that is too slow to start Ray is told as nothing narrower
        msg = (
            f"No Ray cluster answers at {address} ({error}). Give the address of its head as host:port, "
            "'auto' on a machine of the cluster, or 'local'."
        )
        raise ConnectionError(msg) from None


@lru_cache(maxsize=1)
def _reading(pipeline: str) -> Reading:
    """One for all batches that a process reads, since its splitter holds an encoder."""
    return Reading(json.loads(pipeline))


def _read(row: dict[str, Any], pipeline: str) -> dict[str, Any]:
    units = [Unit.of_row(unit) for unit in row["units"]]

    def read() -> Batch:
        for path in {unit.path for unit in units}:
            if not path.exists():
                msg = f"{socket.gethostname()} has no {path}. All nodes must see the files at the same path."
                raise FileNotFoundError(msg)
        return _reading(pipeline)(units)

    return {"number": row["number"], **_attempt(read)}


class _Encoder:
    """A worker that holds one model."""

    def __init__(self, pipeline: dict[str, Any]) -> None:
        self._encode = Encoding(pipeline)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if row["error"]:
            return row
        documents = _unpacked(row["documents"])
        return {"number": row["number"], **_attempt(lambda: self._encode(documents))}


def _attempt(step: Callable[[], Batch]) -> dict[str, Any]:
    """The documents, or what a user can mend, which Ray would tell as a traceback."""
    try:
        return {"documents": _packed(step()), "error": ""}
    except Exception as error:
        cause = cause_of(error)
        if not isinstance(cause, ValueError | OSError | ImportError | RuntimeError):
            raise
        return {"documents": b"", "error": str(cause)}


def _packed(batch: Batch) -> bytes:
    documents = [document.to_dict(flatten=False) for document in batch.documents]
    return json.dumps({"documents": documents, "failures": batch.failures}).encode()


def _unpacked(packed: bytes) -> Batch:
    told = json.loads(packed)
    documents = [Document.from_dict(document) for document in told["documents"]]
    return Batch(documents, [Failure(*failure) for failure in told["failures"]])
