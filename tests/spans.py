"""Spans for tests: an OpenTelemetry provider that keeps the names of the spans that an exporter would get."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from opentelemetry import context, trace
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, Span, Tracer, TracerProvider


class KeptSpan(NonRecordingSpan):
    def __init__(self, name: str, ended: list[str]) -> None:
        super().__init__(INVALID_SPAN_CONTEXT)
        self._name = name
        self._ended = ended

    def is_recording(self) -> bool:
        return True

    def update_name(self, name: str) -> None:
        self._name = name

    def end(self, end_time: int | None = None) -> None:
        self._ended.append(self._name)


class Spans(TracerProvider):
    def __init__(self) -> None:
        self.ended: list[str] = []

    def get_tracer(self, *_: Any, **__: Any) -> Tracer:
        return KeptTracer(self.ended)


class KeptTracer(Tracer):
    def __init__(self, ended: list[str]) -> None:
        self._ended = ended

    def start_span(self, name: str, *_: Any, **__: Any) -> Span:
        return KeptSpan(name, self._ended)

    @contextmanager
    def start_as_current_span(self, name: str, *_: Any, **options: Any) -> Generator[Span]:  # type: ignore[override]
        span = self.start_span(name)
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield span
        finally:
            context.detach(token)
            if options.get("end_on_exit", True):
                span.end()
