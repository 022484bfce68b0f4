"""How pipelines run in a server: what takes long runs beside the event loop, where all others would wait."""

import asyncio
import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import copy_context
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from haystack import Pipeline

from rrra_haystack.serving.faults import lacking_key, told_of_stores


class AskedPipeline(Pipeline):
    """A pipeline whose models are loaded in a thread; Haystack would load them on the event loop."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loading = asyncio.Lock()
        self._is_loaded = False

    async def load_beside(self) -> None:
        """Load the models, once, without blocking the event loop."""
        async with self._loading:
            if not self._is_loaded:
                try:
                    await asyncio.to_thread(self.warm_up)
                except Exception as error:
                    answer = lacking_key(error)
                    if answer is None:
                        raise
                    raise answer from error
                self._is_loaded = True

    async def warm_up_async(self) -> None:
        """Make sure all components are warm, without loading models on the event loop."""
        await self.load_beside()
        await super().warm_up_async()

    async def run_async(
        self, data: dict[str, Any], include_outputs_from: set[str] | None = None, concurrency_limit: int = 4
    ) -> dict[str, Any]:
        """
        Run, and tell faults of a document store as such.

        :param data: What each component is given.
        :param include_outputs_from: Components whose outputs are returned too.
        :param concurrency_limit: How many components run at a time.
        :raises HTTPException: 503 or 507, if a document store does not serve.
        """
        with told_of_stores(self):
            return await super().run_async(data, include_outputs_from, concurrency_limit)


class WritingPipeline(AskedPipeline):
    """
    A pipeline that asks nothing, as one that indexes files: it runs as ``rrra index`` does, in a thread of its own.

    What it is given meanwhile waits for that thread: those of the event loop are few, and the components of searches
    want them.
    """

    @cached_property
    def _writing(self) -> ThreadPoolExecutor:
        # Made at the first use: a pipeline that has not run can be copied.
        return ThreadPoolExecutor(1, thread_name_prefix="rrra-writing")

    async def run_async(
        self, data: dict[str, Any], include_outputs_from: set[str] | None = None, concurrency_limit: int = 4
    ) -> dict[str, Any]:
        """
        Run by the synchronous methods: a writer's asynchronous ones would open one in local mode once more.

        :param data: What each component is given.
        :param include_outputs_from: Components whose outputs are returned too.
        :param concurrency_limit: Not used: one component runs at a time.
        :raises HTTPException: 503 or 507, if a document store does not serve.
        """
        del concurrency_limit
        await self.load_beside()
        named = self._with_named_sources(data)
        write = partial(copy_context().run, self._write, named, include_outputs_from)
        with told_of_stores(self):
            return await asyncio.get_running_loop().run_in_executor(self._writing, write)

    def _write(self, data: dict[str, Any], include_outputs_from: set[str] | None) -> dict[str, Any]:
        try:
            return self.run(data, include_outputs_from)
        finally:
            return_free_memory()

    def _with_named_sources(self, data: dict[str, Any]) -> dict[str, Any]:
        """Files as ``rrra index`` gives them: the ids of passages are made of where their file lies, too."""
        named = {}
        for name, values in data.items():
            if "sources" in values and "meta" in self.inputs().get(name, {}):
                files = [Path(one).resolve() if isinstance(one, str | Path) else one for one in values["sources"]]
                meta = [{"source": str(one)} if isinstance(one, Path) else {} for one in files]
                named[name] = values | {"sources": files, "meta": values.get("meta") or meta}
        return data | named


def return_free_memory() -> None:
    """
    Give memory that nobody uses back to the system, where glibc allocates.

    It keeps the pages between pieces that are in use. Passages are embedded in pieces of all sizes while queries come
    and go, so a server that writes would keep hundreds of megabytes.
    """
    if sys.platform == "linux":
        # Other C libraries have no such function.
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
