"""Pipelines that write leave the threads of the event loop to those that are asked."""

import asyncio
import threading
from copy import deepcopy

import pytest
from haystack import component
from haystack.core.errors import ComponentError

from rrra_haystack.serving.running import AskedPipeline, WritingPipeline


@component
class Writer:
    """Writes until it may end."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.at_once = self.most_at_once = 0

    @component.output_types(written=int)
    def run(self, number: int) -> dict:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.may_end.wait(30)
        self.at_once -= 1
        return {"written": number}


@component
class Search:
    @component.output_types(found=str)
    def run(self, question: str) -> dict:
        return {"found": question}


@component
class Unready:
    def warm_up(self) -> None:
        msg = "The model is away."
        raise ComponentError(msg)

    @component.output_types(found=str)
    def run(self, question: str) -> dict:
        return {"found": question}


def test_what_a_component_raises_at_its_loading_is_raised_as_it_is() -> None:
    pipeline = AskedPipeline()
    pipeline.add_component("unready", Unready())
    for _ in range(2):
        with pytest.raises(ComponentError, match="is away") as raised:
            asyncio.run(pipeline.load_beside())
        assert raised.value.__cause__ is None


def test_a_pipeline_that_writes_can_be_copied() -> None:
    pipeline = WritingPipeline()
    pipeline.add_component("search", Search())
    copied = deepcopy(pipeline)
    assert asyncio.run(copied.run_async({"search": {"question": "What?"}})) == {"search": {"found": "What?"}}


def test_a_question_does_not_wait_for_many_uploads() -> None:
    writing, asked, writer = WritingPipeline(), AskedPipeline(), Writer()
    writing.add_component("writer", writer)
    asked.add_component("search", Search())

    async def ask() -> None:
        uploads = [asyncio.create_task(writing.run_async({"writer": {"number": number}})) for number in range(40)]
        await asyncio.sleep(0.1)
        try:
            found = await asyncio.wait_for(asked.run_async({"search": {"question": "Who?"}}), 10)
        finally:
            writer.may_end.set()
        assert found == {"search": {"found": "Who?"}}
        assert [one["writer"]["written"] for one in await asyncio.gather(*uploads)] == list(range(40))

    asyncio.run(ask())
    assert writer.most_at_once == 1
