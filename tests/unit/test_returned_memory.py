import asyncio
import ctypes
import platform

import psutil
import pytest
from haystack.components.joiners import DocumentJoiner
from haystack.core.errors import PipelineRuntimeError

from rrra_haystack.serving import running
from rrra_haystack.serving.running import WritingPipeline, return_free_memory

_PIECES, _BYTES = 1_000, 64 * 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no function for it")
def test_memory_between_pieces_in_use_is_returned():
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    return_free_memory()
    before = psutil.Process().memory_info().rss
    pieces = [libc.malloc(_BYTES) for _ in range(_PIECES)]
    for piece in pieces:
        ctypes.memset(piece, 1, _BYTES)
    # The last one stays, so the heap does not end below it.
    for piece in pieces[:-1]:
        libc.free(piece)
    kept = psutil.Process().memory_info().rss - before
    return_free_memory()
    left = psutil.Process().memory_info().rss - before
    libc.free(pieces[-1])
    assert kept > 0.9 * _PIECES * _BYTES
    assert left < 0.1 * _PIECES * _BYTES


def test_memory_is_returned_after_each_request_that_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    returned = []
    monkeypatch.setattr(running, "return_free_memory", lambda: returned.append(True))
    pipeline = WritingPipeline()
    pipeline.add_component("joiner", DocumentJoiner())
    asyncio.run(pipeline.run_async({"joiner": {"documents": []}}))
    with pytest.raises(PipelineRuntimeError):
        asyncio.run(pipeline.run_async({"joiner": {"documents": [1]}}))
    assert len(returned) == 2
