"""Seconds of each component of a pipeline."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from haystack.tracing.tracer import NullSpan, Span, Tracer


class _RunSpan(NullSpan):
    """Notes when a component gets its input, which Haystack copies first."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()

    def set_content_tag(self, key: str, value: Any) -> None:  # noqa: ARG002  (the interface's signature)
        """The input is told right before the component runs."""
        if key == "haystack.component.input":
            self.begin = time.perf_counter()


class ComponentTimer(Tracer):
    """
    Seconds of each run of each component, in the order of the runs.

    `copying` holds the seconds that Haystack takes for the copy of a component's input, which count for no component.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.copying: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def trace(
        self,
        operation_name: str,
        tags: dict[str, Any] | None = None,
        parent_span: Span | None = None,  # noqa: ARG002  (the interface's signature)
    ) -> Iterator[Span]:
        """Time a span if it is a component's run."""
        begin = time.perf_counter()
        span = _RunSpan()
        yield span
        if operation_name == "haystack.component.run" and tags is not None:
            name = tags["haystack.component.name"]
            self.seconds[name].append(time.perf_counter() - span.begin)
            self.copying[name].append(span.begin - begin)

    def current_span(self) -> Span | None:
        """There is none to hang others on."""
        return None
