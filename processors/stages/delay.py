"""Stage `delay`: holds a record until it is due, then publishes it to the topic that it names.

    delays ─▶ delay ─▶ the record's own topic, when due

The state is ordered by time: `due_ms` as 8 bytes, then task and id; so what is due stands first and a
redelivered delay overwrites itself. A delay that was already fired fires again only if it is redelivered,
and then publishes the same record, which its reader recognises.
"""

from segue.processors.stages.put_aside import put_aside
from segue.topics import codec
from segue.topics.envelope import why_not_read
from segue.topics.errors import BadRecord
from segue.topics.flow import (
    Decision,
    Headers,
    Publish,
    Received,
    Stage,
    State,
    Write,
    dead_letter,
    tenant_in,
    trace_of,
)
from segue.topics.records import Delay

FIRED_AT_ONCE_MAX = 1000
"""Delays fired in one decision, so that a flood of timers does not make one endless transaction."""

SEALED_AGAIN_MS = 60_000
"""What can't be read, since it is encrypted and its key is not here, is kept and looked at again."""

TARGETS = ("events", "model-calls", "tool-calls")
"""Where what was delayed may go."""


class Delays(Stage):
    """The delays of one partition."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._most = FIRED_AT_ONCE_MAX
        self._remember()

    def _remember(self) -> None:
        self._first_ms = next((_due(key) for key, _ in self._state.scan(b"")), None)
        self._from_ms = self._first_ms or 0
        """Nothing that is held is due earlier: what was deleted before it need not be passed over."""

    def handle(self, record: Received, now_ms: int) -> Decision:
        try:
            delay: Delay = codec.decode(record.topic, record.value)
        except BadRecord as bad:
            return put_aside(record, "delay", str(bad), now_ms)
        if delay.topic not in TARGETS:
            reason = f"can't be published to {delay.topic!r}"
            return Decision([dead_letter(record, "delay", reason, now_ms, delay.task)])
        trace = trace_of(record)
        if delay.due_ms <= now_ms:
            return Decision([_fire(delay, trace)])
        self._first_ms = delay.due_ms if self._first_ms is None else min(self._first_ms, delay.due_ms)
        self._from_ms = min(self._from_ms, delay.due_ms)
        return Decision(write=[Write(_key(delay), _stored_delay(delay, trace))])

    def due_ms(self) -> int | None:
        return self._first_ms

    def put_aside(self, record: Received | None, reason: str, now_ms: int) -> Decision | None:
        """Of what is due one could not be fired: fire one at a time, and put aside the one that it is."""
        self._remember()
        if record is not None:
            return None
        if self._most > 1:
            self._most = 1
            return Decision()
        self._most = FIRED_AT_ONCE_MAX
        key, value = next(held for held in self._state.scan(b"") if why_not_read(held[1]) is None)
        stood = Received("delays", 0, 0, key[8:].partition(b"\0")[0], _body(value), _trace(value), now_ms)
        letters = put_aside(stood, "delay", reason, now_ms)
        return Decision(letters.publish, [Write(key, None)], tenant_in(stood.headers))

    def tick(self, now_ms: int) -> Decision:
        decision = Decision()
        sealed_ms: int | None = None
        start, self._first_ms = _earliest(self._from_ms), None
        for key, value in self._state.scan(b"", start):
            if _due(key) > now_ms or len(decision.write) == self._most:
                self._first_ms = _due(key)
                break
            try:
                decision.publish.append(_fire(*_release(value)))
            except BadRecord:
                sealed_ms = _due(key) if sealed_ms is None else sealed_ms
                continue
            decision.write.append(Write(key, None))
        held = (due_ms for due_ms in (sealed_ms, self._first_ms) if due_ms is not None)
        self._from_ms = next(held, now_ms)
        if self._first_ms is None or self._first_ms > now_ms:
            self._most = FIRED_AT_ONCE_MAX
        if sealed_ms is not None:
            again_ms = now_ms + SEALED_AGAIN_MS
            self._first_ms = again_ms if self._first_ms is None else min(self._first_ms, again_ms)
        return decision


def _key(delay: Delay) -> bytes:
    return _earliest(delay.due_ms) + f"{delay.task}\0{delay.id}".encode()


def _earliest(due_ms: int) -> bytes:
    return max(due_ms, 0).to_bytes(8)


def _due(key: bytes) -> int:
    return int.from_bytes(key[:8])


def _stored_delay(delay: Delay, trace: Headers) -> bytes:
    """The trace headers, one a line, an empty line, then the record."""
    lines = b"".join(name.encode() + b":" + value + b"\n" for name, value in trace)
    return lines + b"\n" + codec.encode(delay)


def _release(value: bytes) -> tuple[Delay, Headers]:
    value = codec.unsealed(value)
    return codec.decode("delays", _body(value)), _trace(value)


def _trace(value: bytes) -> Headers:
    pairs = (line.partition(b":") for line in value.split(b"\n")[:-1] if line)
    return tuple((name.decode(), text) for name, _, text in pairs)


def _body(value: bytes) -> bytes:
    """The record that is held, as far as it can be told from what stands before it."""
    return value.rpartition(b"\n")[2]


def _fire(delay: Delay, trace: Headers) -> Publish:
    return Publish(delay.topic, delay.task, delay.record, trace)
