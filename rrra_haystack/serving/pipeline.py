"""A pipeline of a YAML file as it is served: checked questions, and chat."""

from collections.abc import AsyncGenerator
from typing import Annotated, Any

import docstring_parser
import yaml
from fastapi import HTTPException
from hayhooks import YAMLPipelineWrapper, async_streaming_generator, get_last_user_message
from hayhooks.server.pipelines.models import create_request_model_from_callable
from hayhooks.server.pipelines.streaming import is_streaming_component
from hayhooks.server.utils.yaml_utils import InputResolution, get_inputs_outputs_from_yaml
from haystack import ExtractedAnswer
from haystack.dataclasses import ChatMessage
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from rrra_haystack.documents.metadata import place_of
from rrra_haystack.errors import first_fault
from rrra_haystack.fitting import fit_to_folders
from rrra_haystack.pipeline_files import check_seen
from rrra_haystack.qdrant.searching import check_filters
from rrra_haystack.serving.running import AskedPipeline, WritingPipeline

MAX_QUESTION_CHARACTERS = 8192


Question = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_QUESTION_CHARACTERS, strict=True),
    AfterValidator(check_seen),
]
MAX_TOP_K = 1000
# The embedded engine compares each passage with each condition, while no other request is answered.
MAX_CONDITIONS = 100
# What joins them: as many that are negated one by one, and more.
MAX_JOINS = 2 * MAX_CONDITIONS
MAX_VALUES = 1000


def check_size(filters: dict[str, Any]) -> dict[str, Any]:
    """
    Filters that keep a server busy for no longer than a search may.

    :param filters: Haystack's filters, which need not be well formed.
    :raises ValueError: If they hold too many conditions, what joins them, or values of ``in`` and ``not in``.
    """
    waiting: list[Any] = [filters]
    conditions = joins = values = 0
    while waiting and conditions <= MAX_CONDITIONS and joins <= MAX_JOINS:
        one = waiting.pop()
        if isinstance(one, dict):
            inner, listed = one.get("conditions"), one.get("value")
            waiting += inner if isinstance(inner, list) else []
            joins += "conditions" in one
            conditions += "conditions" not in one
            values += len(listed) if isinstance(listed, list) else 0
    if conditions > MAX_CONDITIONS or joins > MAX_JOINS or values > MAX_VALUES:
        msg = (
            f"The filters have more than {MAX_CONDITIONS} conditions, {MAX_JOINS} of AND, OR and NOT, or "
            f"{MAX_VALUES:,} values. Ask for several values of one field by the operator 'in', or in several requests."
        )
        raise ValueError(msg)
    return filters


# What Haystack tells of these is wider than what can be sent, or would fail only in the pipeline.
_OPTIONAL_TYPES: dict[str, Any] = {
    "top_k": Annotated[int, Field(strict=True, gt=0, le=MAX_TOP_K)] | None,
    "filters": Annotated[dict[str, Any], AfterValidator(check_size), AfterValidator(check_filters)] | None,
}
_NO_ANSWER = "I found no answer in the documents."


class ServedPipeline(YAMLPipelineWrapper):
    """
    A pipeline of a YAML file, whose text inputs are questions, and which chats if it answers.

    A declared input of type ``str`` must have 1 to `MAX_QUESTION_CHARACTERS` characters besides white space. What the
    YAML file declares as ``optional_inputs``, which Hayhooks does not know, may be left out.
    """

    def __init__(self, yaml_source: str, input_resolutions: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        optional = _optional_inputs(yaml_source)
        checked = {
            name: resolution.model_copy(update={"type": Question}) if resolution.type is str else resolution
            for name, resolution in input_resolutions.items()
        } | optional
        super().__init__(yaml_source, checked, *args, **kwargs)
        self._source = yaml_source
        self._questions = [resolution for resolution in checked.values() if resolution.type is Question]
        self._answers = self.output_resolutions.get("answers")
        # Hayhooks looks whether a class has the method when it loads one from a file, and not here.
        self._is_run_chat_completion_async_implemented = True

    @property
    def chats(self) -> bool:
        """Whether it takes one question and gives answers."""
        return len(self._questions) == 1 and self._answers is not None

    def setup(self) -> None:
        """
        Load the pipeline.

        :raises ValueError: If the YAML is not a pipeline.
        """
        kind = AskedPipeline if self._questions else WritingPipeline
        try:
            data = yaml.safe_load(self._source)
            fit_to_folders(data)
            self.pipeline = kind.from_dict(data)
        except Exception as error:
            msg = f"Failed to load pipeline from YAML: {error}"
            raise ValueError(msg) from error

    def request_model(self, name: str) -> type[BaseModel]:
        """
        What a request may hold, and nothing else.

        :param name: Name of the pipeline.
        """
        model = create_request_model_from_callable(self.run_api_async, f"{name}Run", docstring_parser.parse(""))
        return type(model.__name__, (model,), {"model_config": ConfigDict(extra="forbid"), "__module__": __name__})

    async def run_chat_completion_async(
        self, model: str, messages: list[dict[str, Any]], body: dict[str, Any]
    ) -> str | AsyncGenerator[Any, None]:
        """
        Answer the last message of the user; earlier messages are not read.

        :raises HTTPException: 400 if the pipeline takes no single question or gives no answers, 422 if the question is
            empty or too long.
        """
        if not self.chats or self._answers is None:
            raise HTTPException(400, f"The pipeline '{model}' does not chat: it must take a question and give answers.")
        try:
            question = TypeAdapter(Question).validate_python(_text_of(get_last_user_message(messages)))
        except ValidationError as error:
            raise HTTPException(422, f"The last message of the user: {first_fault(error).rstrip('.')}.") from error
        inputs: dict[str, dict[str, Any]] = {}
        for target in self._questions[0].targets:
            component, socket = target.split(".", 1)
            inputs.setdefault(component, {})[socket] = question
        # Before the answer begins, so that an error can still be told.
        await self.pipeline.warm_up_async()
        if body.get("stream") and any(is_streaming_component(part) for _, part in self.pipeline.walk()):
            return async_streaming_generator(self.pipeline, pipeline_run_args=inputs)
        output = await self.pipeline.run_async(inputs, include_outputs_from=self.include_outputs_from)
        return as_text(output.get(self._answers.component, {}).get(self._answers.name))


def _optional_inputs(yaml_source: str) -> dict[str, InputResolution]:
    """The inputs that a YAML file declares as optional, with what they may be."""
    data = yaml.safe_load(yaml_source) or {}
    declared = data.get("optional_inputs") or {}
    if not declared:
        return {}
    resolved = get_inputs_outputs_from_yaml(yaml.safe_dump({**data, "inputs": {**data["inputs"], **declared}}))
    found = {name: one for name, one in resolved["inputs"].items() if name in declared}
    return {
        name: one.model_copy(update={"required": False, "type": _OPTIONAL_TYPES.get(one.name, one.type)})
        for name, one in found.items()
    }


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
        begin = best.document_offset.start if best.document_offset else 0
        return f"{best.data} ({place_of(best.document, begin)})"
    text = best.text if isinstance(best, ChatMessage) else getattr(best, "data", best)
    return str(text or _NO_ANSWER)
