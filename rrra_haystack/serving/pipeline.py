"""A pipeline of a YAML file as it is served: checked questions, and chat."""

import asyncio
import inspect
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

from fastapi import HTTPException
from hayhooks import YAMLPipelineWrapper, async_streaming_generator, get_last_user_message
from hayhooks.server.pipelines.streaming import is_streaming_component
from haystack import ExtractedAnswer
from haystack.dataclasses import ChatMessage
from pydantic import StringConstraints, TypeAdapter, ValidationError

from rrra_haystack.documents.metadata import source_of

MAX_QUESTION_CHARACTERS = 8192
Question = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS, strict=True)
]
_NO_ANSWER = "I found no answer in the documents."


class ServedPipeline(YAMLPipelineWrapper):
    """
    A pipeline of a YAML file, whose text inputs are questions, and which chats if it answers.

    A declared input of type ``str`` must have 1 to `MAX_QUESTION_CHARACTERS` characters besides white space.
    """

    def __init__(self, yaml_source: str, input_resolutions: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        checked = {
            name: resolution.model_copy(update={"type": Question}) if resolution.type is str else resolution
            for name, resolution in input_resolutions.items()
        }
        super().__init__(yaml_source, checked, *args, **kwargs)
        self._answers = self.output_resolutions.get("answers")
        self._is_run_chat_completion_async_implemented = True
        self._asks = Question in {resolution.type for resolution in checked.values()}
        self._warming_up = asyncio.Lock()
        self._is_warm = False

        async def run(**inputs: Any) -> dict[str, Any]:
            return await self._run(inputs)

        run.__dict__["__signature__"] = inspect.signature(self.__dict__["run_api_async"])
        self.__dict__["run_api_async"] = run

    async def _run(self, inputs: dict[str, Any]) -> dict[str, Any]:
        await self._warm_up()
        given = self._by_component(inputs)
        if self._asks:
            return await self.pipeline.run_async(given, include_outputs_from=self.include_outputs_from)
        self._name_sources(given)
        # By the synchronous methods: a writer's asynchronous ones would open an embedded Qdrant once more.
        return await asyncio.to_thread(self.pipeline.run, given, self.include_outputs_from)

    async def _warm_up(self) -> None:
        """Load the models in a thread; the pipeline itself would do it on the event loop, where all others wait."""
        async with self._warming_up:
            if not self._is_warm:
                await asyncio.to_thread(self.pipeline.warm_up)
                self._is_warm = True

    def _name_sources(self, given: dict[str, dict[str, Any]]) -> None:
        """Give files as ``rrra index`` does: the ids of passages are made of where their file lies, too."""
        for name, values in given.items():
            if "sources" in values and "meta" in self.pipeline.inputs().get(name, {}):
                files = [Path(one).resolve() if isinstance(one, str | Path) else one for one in values["sources"]]
                meta = [{"source": str(one)} if isinstance(one, Path) else {} for one in files]
                values.update(sources=files, meta=values.get("meta") or meta)

    def _by_component(self, inputs: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """What each component is given, from values of the declared inputs."""
        given: dict[str, dict[str, Any]] = {}
        for name, value in inputs.items():
            for target in self.input_resolutions[name].targets:
                component, socket = target.split(".", 1)
                given.setdefault(component, {})[socket] = value
        return given

    async def run_chat_completion_async(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> str | AsyncGenerator[Any, None]:
        """
        Answer the last message of the user; earlier messages are not read.

        :raises HTTPException: 400 if the pipeline takes no single question or gives no answers, 422 if the question is
            empty or too long.
        """
        names = [name for name, resolution in self.input_resolutions.items() if resolution.type is Question]
        if len(names) != 1 or self._answers is None:
            raise HTTPException(400, f"The pipeline '{model}' does not chat: it must take a question and give answers.")
        try:
            question = TypeAdapter(Question).validate_python(_text_of(get_last_user_message(messages)))
        except ValidationError as error:
            raise HTTPException(422, f"The last message of the user: {error.errors()[0]['msg']}.") from error
        await self._warm_up()
        inputs = self._by_component({names[0]: question})
        if body.get("stream") and any(is_streaming_component(part) for _, part in self.pipeline.walk()):
            return async_streaming_generator(self.pipeline, pipeline_run_args=inputs)
        output = await self.pipeline.run_async(inputs, include_outputs_from=self.include_outputs_from)
        return as_text(output.get(self._answers.component, {}).get(self._answers.name))


def _text_of(content: Any) -> Any:
    """The content of a message; of one in parts, those that are text."""
    if not isinstance(content, list):
        return content
    return "\n".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))


def as_text(answers: Any) -> str:
    """
    The best answer in words, with where it stands when it was extracted.

    :param answers: What a pipeline puts out as its answers: answers, messages or texts, best first, or one of them.
    """
    best = answers[0] if isinstance(answers, list) and answers else answers
    if isinstance(best, ExtractedAnswer) and best.data and best.document is not None:
        return f"{best.data} ({source_of(best.document)})"
    text = best.text if isinstance(best, ChatMessage) else getattr(best, "data", best)
    return str(text or _NO_ANSWER)
