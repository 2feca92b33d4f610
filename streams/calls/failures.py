"""From an exception to a `Problem`: may trying again help, when, and what should a person do.

    what was raised                                   trying again    traceback
    `Retryable`, `OutputRejected`, a time-out          helps           no
    HTTP 408, 409, 425, 429, 5xx; no connection        helps           no
    any other HTTP status; `Permanent`, `BadInput`     is useless      no
    data that does not validate                        is useless      no
    anything else, raised by a tool's or check's code  may help        yes

HTTP libraries are recognised by the shape of their errors (a status, headers), never by importing them: a
worker that calls no model loads no model library. Secrets are taken out of everything that is kept.
"""

import asyncio
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import responses
from itertools import islice
from math import isfinite
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from segue.streams.text.control_characters import hanging, visible
from segue.streams.text.redaction import redact
from segue.topics import records
from segue.topics.codec import describe
from segue.topics.descriptions import attribute_of, guarded, kind_of, shortened, text_of, traceback_of
from segue.topics.errors import (
    BadInput,
    MissingExtra,
    OutputRejected,
    Permanent,
    Retryable,
    UnknownName,
    in_words,
    leaves,
    sole,
)
from segue.topics.parts import Usage
from segue.topics.records import Critique, Problem

RETRY_AFTER_S_MAX = 24 * 60 * 60.0
"""A service that asks for more is taken to be wrong: a task must not stand still for a year."""

MESSAGE_CHARS_MAX = 2_000
"""Providers put whole web pages into their errors."""

TRACEBACK_CHARS_MAX = 8_000
"""The end of a traceback says most; the record must stay small."""

LOGGED_CHARS_MAX = 100_000
"""Of a traceback in the log."""

LEAVES_MAX = 20
"""Of a group. Each has a text, in which secrets are looked for."""

HEADERS_MAX = 1_000
"""Of a response; those that are asked for stand among the first."""

RETRYABLE_STATUSES = frozenset(
    {408, 409, 425, 429, 500, 502, 503, 504, 507, 508, 520, 521, 522, 523, 524, 529}
)
"""409 means a lock not got in time, as OpenAI and Anthropic use it; 52x are Cloudflare's, 529 Anthropic's."""

_ADVICE = {
    401: "the credentials were refused: check the API key or token",
    402: "the account has no credit",
    403: "the credentials are not allowed to do this",
}

_NO_CONNECTION = frozenset(
    {
        "TransportError",
        "ClientConnectionError",
        "APIConnectionError",
        "ModelConnectionError",
        "ConnectionError",
    }
)
"""How httpx, aiohttp, the providers' SDKs, Pydantic AI and Python call what happens without a response."""


class OutputRefused(Retryable):
    """A model's output is no answer: not JSON, outside of its schema, empty or cut off.

    The effect runner publishes `critique` with the failure, so that the model is asked again with it; and
    what the output consumed all the same.
    """

    def __init__(self, output: Any, reason: str) -> None:
        super().__init__(reason)
        self.critique = Critique(output=output, reason=reason)
        self.usage: Usage | None = None


class Withheld(Permanent):
    """The provider withheld the model's answer: its content filter stopped it, after tokens were consumed."""

    usage: Usage | None = None


def output_of(error: BaseException) -> tuple[Critique | None, Usage | None]:
    """What a model answered that is no answer: why, and what it consumed."""
    kept = issubclass(type(error), OutputRefused | Withheld)
    return (attribute_of(error, "critique"), attribute_of(error, "usage")) if kept else (None, None)


def problem_of(error: BaseException) -> Problem:
    """What `error` means for the policy and for people. Never raises: see `segue.topics.descriptions`."""
    cause = sole(error)
    return guarded(lambda: _foreseen(cause), None) or _unexpected(cause)


def _foreseen(error: BaseException) -> Problem | None:
    match error:
        case BaseExceptionGroup():
            return _of_several(error)
        case Retryable():
            return _to_retry(error)
        case Permanent() | BadInput():
            return _problem(error, retryable=False)
        case (
            OutputRejected() | UnknownName() | MissingExtra()
        ):  # another worker may know the name, or have the extra
            return _problem(error)
        case TimeoutError():
            return _problem(error, text_of(error) or "timed out")
        case asyncio.CancelledError():
            return _problem(error, text_of(error) or "cancelled")
        case ValidationError():
            return _problem(error, f"{error.title}: {describe(error)}", retryable=False)
        case _:
            return _http_problem(error) or _connection_problem(error)


def _to_retry(error: Retryable) -> Problem:
    """A wait that is no number of seconds is left out, and that is told."""
    asked = attribute_of(error, "retry_after_s")
    after_s = guarded(lambda: _asked_for(asked), None)
    if asked is None or after_s is not None:
        return _problem(error, retry_after_s=after_s)
    given = shortened(guarded(lambda: repr(asked), kind_of(asked)), 100)
    return _problem(error, f"{text_of(error)} (retry_after_s={given} is no number of seconds: it is ignored)")


def _of_several(group: BaseExceptionGroup[BaseException]) -> Problem:
    """Of what a task group raised: if one of them says that trying again is useless, it is.

    A group may hold any number: some are looked at, and first those whose type says that it is useless.
    """
    ordered = sorted(leaves(group), key=lambda each: not issubclass(type(each), Permanent | BadInput))
    problems = [problem_of(each) for each in ordered[:LEAVES_MAX]]
    useless = [each for each in problems if not each.retryable]
    waits = [each.retry_after_s for each in problems if each.retry_after_s is not None]
    message = "; ".join(dict.fromkeys(each.message for each in useless or problems))
    return _problem(
        group,
        message,
        retryable=not useless,
        retry_after_s=max(waits, default=None),
        traceback=user_traceback(group) if any(each.traceback for each in problems) else None,
    ).model_copy(update={"type": useless[0].type} if useless else {})


def _problem(error: BaseException, message: str | None = None, **rest: Any) -> Problem:
    text = message if message is not None else text_of(error)
    return Problem(type=kind_of(error), message=shortened(redact(text), MESSAGE_CHARS_MAX), **rest)


def _connection_problem(error: BaseException) -> Problem | None:
    if _NO_CONNECTION.isdisjoint(kind.__name__ for kind in type(error).__mro__):
        return None
    said = text_of(error) or (text_of(cause) if (cause := error.__cause__) else "") or kind_of(error)
    return _problem(error, f"no connection: {said}")


def _unexpected(error: BaseException) -> Problem:
    """User code raised what it did not foresee: the cause may pass, and the traceback shows where to look."""
    return _problem(error, in_words(error), traceback=user_traceback(error))


# ---------------------------------------------------------------- HTTP


def _http_problem(error: BaseException) -> Problem | None:
    status, headers = _response(error)
    if status is None or not 400 <= status < 600:
        return None
    return _problem(
        error,
        http_message(status, _asked(error) or _first_line(error)),
        retryable=may_retry(status, headers),
        retry_after_s=retry_after_s(headers),
    )


def http_message(status: int, detail: str) -> str:
    """`HTTP 401 Unauthorized: the credentials were refused: … (what the service said)`."""
    phrase = responses.get(status, "")
    advice = _ADVICE.get(status)
    said = f" ({detail})" if detail and advice else f": {detail}" if detail else ""
    return f"HTTP {status} {phrase}".rstrip() + (f": {advice}" if advice else "") + said


def may_retry(status: int, headers: Mapping[str, str]) -> bool:
    """By status, unless the service says it itself: OpenAI and Anthropic send `x-should-retry`."""
    said = headers.get("x-should-retry", "").lower()
    return said == "true" if said in ("true", "false") else status in RETRYABLE_STATUSES


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the service asks to wait, in seconds.

    By `retry-after-ms`, `Retry-After` (RFC 9110: seconds or a date), or when its rate limit starts anew
    (`RateLimit-Reset`: seconds; `X-RateLimit-Reset`: seconds, or seconds since the epoch).
    """
    if (ms := _number(headers.get("retry-after-ms"))) is not None:
        return _within(ms / 1000)
    if (after := headers.get("retry-after")) is not None:
        seconds = _number(after)
        return _within(seconds if seconds is not None else _seconds_until(after))
    if (reset := _number(headers.get("ratelimit-reset") or headers.get("x-ratelimit-reset"))) is not None:
        return _within(reset - _now_s() if reset > RETRY_AFTER_S_MAX else reset)
    return None


def _asked(error: BaseException) -> str | None:
    """What httpx asked for, in place of its own text: that says the status again, and the whole query."""
    if not text_of(error).startswith(("Client error '", "Server error '", "Redirect response '")):
        return None
    request = getattr(error, "request", None)
    return f"{request.method} {str(request.url).partition('?')[0]}" if request is not None else None


def _response(error: BaseException) -> tuple[int | None, Mapping[str, str]]:
    """Status and headers of an HTTP error: its own (Pydantic AI, aiohttp) or its response's (httpx)."""
    response = getattr(error, "response", None)
    for holder in (response, error):
        for name in ("status_code", "status"):
            if isinstance(status := getattr(holder, name, None), int):
                return status, guarded(lambda: _headers(error, response), {})
    return None, {}


def _headers(error: BaseException, response: Any) -> dict[str, str]:
    headers: Mapping[Any, Any] = getattr(error, "headers", None) or getattr(response, "headers", {})
    return {str(key).lower(): str(value) for key, value in islice(headers.items(), HEADERS_MAX)}


def _number(text: str | None) -> float | None:
    try:
        number = float(text) if text is not None else None
    except ValueError:
        return None
    return number if number is not None and isfinite(number) else None


def _seconds_until(date: str) -> float | None:
    try:
        then = parsedate_to_datetime(date)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - _now_s()
    except (ValueError, OverflowError):
        return None


def _within(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(seconds, 0.0), RETRY_AFTER_S_MAX)


def _asked_for(seconds: Any) -> float | None:
    """What a tool's code asks for is taken as it is, so far as it is a time."""
    number = _number(str(seconds)) if seconds is not None else None
    return None if number is None else min(max(number, 0.0), records.RETRY_AFTER_S_MAX)


def _now_s() -> float:
    return datetime.now(UTC).timestamp()


# ---------------------------------------------------------------- what is kept


def user_traceback(error: BaseException) -> str:
    """The traceback without Segue's own frames, and at most its last 8,000 characters."""
    return redact(traceback_of(error, TRACEBACK_CHARS_MAX))[-TRACEBACK_CHARS_MAX:]


class Redacting(logging.Formatter):
    """Of what is logged, by whomever: libraries log URLs, and a bug's traceback shows the error's text.

    A traceback in the log is bounded as any other, since its exception may be of user code; it shows Segue's
    own frames, since the mistake may be there. What a terminal would obey is made visible, and lines after
    the first are indented: none passes for an entry of its own.
    """

    def formatException(  # noqa: N802 - so it is called in logging
        self, ei: tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
    ) -> str:
        return traceback_of(ei[1], LOGGED_CHARS_MAX, ours=True).rstrip("\n") if ei[1] is not None else ""

    def format(self, record: logging.LogRecord) -> str:
        return hanging(visible(redact(super().format(record)), lines=True))


def _first_line(error: BaseException) -> str:
    return text_of(error).partition("\n")[0]
