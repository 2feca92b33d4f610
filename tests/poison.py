"""Bad records without end: what a mistaken, outdated or hostile producer may put on a topic.

A record begins as a good one. Some of its parts are replaced, dropped, doubled or renamed; the text is put
together by hand, so that it can hold what no JSON library writes (numbers of thousands of digits, `NaN`, lone
surrogates, the same key twice). Then its bytes, its key and its headers may go wrong. `poison(topic)` is the
strategy, `drawn` gives a fixed number of records, the same ones each time.
"""

import json
from collections.abc import Callable, Iterator
from functools import cache
from random import Random
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from segue.streams.kafka.aiokafka_internals import given_values
from segue.topics import codec
from segue.topics.flow import Received
from segue.topics.parts import Usage
from segue.topics.records import CheckCall, CheckOutput, Delay, Origin, Parent, Record, TimerFired
from tests.builders import NOW_MS, call_model, call_tool, critique, failure, problem

JUNK = 400
"""Values that hypothesis makes up; a record of its own making would cost it milliseconds each."""

HUGE_SHARE = 0.001
WHOLLY_SHARE = 0.02


class Bad(NamedTuple):
    """A record as it is to be produced. A header's value may be missing, whatever types say."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()

    def received(self, topic: str, offset: int) -> Received:
        return Received(topic, 0, offset, self.key, self.value, given_values(self.headers), NOW_MS)


class Raw(str):
    """JSON text that stands there as it is."""

    __slots__ = ()


# ---------------------------------------------------------------- good records to begin from

IDS = ("t", "t/0", "t/3", "u", "nobody", "a b", "ü", "x" * 200)
"""Tasks that run, their children, tasks of nobody."""

_AT: dict[str, Any] = {"v": 1, "task": "t", "at_ms": NOW_MS}
_ORIGIN = Origin(topic="elsewhere", partition=0, offset=3).model_dump()
_STEP: dict[str, Any] = {**_AT, "step": 0, "fingerprint": "p", "candidate": "find", "attempt": 1}
_CALL = call_tool(checks=(CheckCall(name="at_most", arguments={"length": 3}),), critiques=(critique(),))
_TIMER = TimerFired(task="t", step=0, fingerprint="p", at_ms=NOW_MS)
_PARENT = Parent(task="u", step=1, fingerprint="p").model_dump()
_PROBLEM = problem(retry_after_s=2.0).model_dump()
_CLOUD = {"specversion": "1.0", "id": "t", "source": "/s", "type": "sequence", "data": "x"}

GOOD: dict[str, list[Any]] = {
    "tasks": [
        {
            "v": 1,
            "kind": "task",
            "workflow": "sequence",
            "input": "x",
            "id": "t",
            "priority": 1,
            "tenant": "a",
        },
        {"workflow": "sequence", "input": {"deep": [1, {"er": "x"}]}},
        _CLOUD,
        {**_CLOUD, "data_base64": "eA==", "time": "2026-11-24T00:00:00Z", "datacontenttype": "text/plain"},
    ],
    "signals": [
        {"kind": "answer", "task": "t", "id": "a", "step": 0, "value": "yes", "by": "me"},
        {"kind": "signal", "task": "t", "id": "s", "name": "paid", "value": {"amount": 3}},
        {"kind": "cancel", "task": "u", "id": "c", "reason": "no more"},
    ],
    "events": [
        {**_AT, "kind": "submitted", "workflow": "sequence", "version": 1, "input": "x", "parent": _PARENT},
        {**_AT, "kind": "rejected", "workflow": "w", "problem": _PROBLEM, "origin": _ORIGIN},
        {**_STEP, "kind": "step_succeeded", "result": [1], "duration_ms": 1.5, "usage": Usage().model_dump()},
        {**_STEP, "kind": "step_failed", "problem": _PROBLEM},
        _TIMER,
        {**_AT, "kind": "answered", "id": "a", "step": None, "value": "yes", "origin": _ORIGIN},
        {**_AT, "kind": "signal_received", "id": "s", "name": "paid", "value": 1, "origin": _ORIGIN},
        {**_AT, "kind": "cancel_requested", "id": "c", "reason": "no", "origin": _ORIGIN, "early": True},
    ],
    "model-calls": [call_model(critiques=(critique(),), output={"type": "object"}, instructions="be brief")],
    "tool-calls": [_CALL, call_tool(route="find", arguments={"place": "Porto"})],
    "checks": [
        CheckOutput(
            task="t", call=_CALL, result="long", candidate="upper", duration_ms=1, usage=Usage(), at_ms=NOW_MS
        )
    ],
    "failures": [
        failure(_CALL, critique=critique()),
        failure(call_tool(route="flaky"), problem=problem(retry_after_s=3)),
        failure(call_model(), critique=critique()),
    ],
    "delays": [
        Delay(task="t", id="0", due_ms=NOW_MS + 1, topic="events", record=_TIMER),
        Delay(task="t", id="0/2", due_ms=NOW_MS + 1, topic="tool-calls", record=_CALL),
    ],
}
"""A record of each kind that may stand on the topic."""


def _json(record: Any) -> Any:
    """A tree of its own, to be changed."""
    return json.loads(codec.encode(record) if isinstance(record, Record) else json.dumps(record))


# ---------------------------------------------------------------- what is put in the place of a part


def _nested(depth: int, opening: str = "[", closing: str = "]", within: str = "") -> Raw:
    return Raw(opening * depth + within + closing * depth)


NUMBERS = [
    *[
        "0",
        "-1",
        "-0.0",
        "1.5",
        "1e400",
        "1e999",
        "-1e999",
        "1e-999",
        "1E+2",
        "NaN",
        "Infinity",
        "-Infinity",
        "01",
        "+1",
        "0x1",
    ],
    *(str(number) for number in (2**31, 2**53, 2**62, 2**63, -(2**63) - 1, 10**30, 10**400)),
    *("9" * 4300, "9" * 4301, "-" + "9" * 6000, "0." + "3" * 5000),
]
ODD = [
    *('""', '"', '"\t"', "'x'", '"\\x"', '"\\u0000"', '"a\\nb"', '"\ufeff"', '"e\u0301\u200d"'),
    *('"\\u202e\\u0645"', '"\\ud800"', '"\\udc00\\ud800"', '"\\uD83D\\uDE00"'),
    *('"\\u001b[2J[bold]x[/bold]"', '"%s{0}${x}"', '"../../x"', '"/"', '"acme/eu"'),
]
WORDS = [
    "t/0",
    "0/timer",
    "0/1/step_succeeded",
    "nobody",
    "sequence",
    "asks",
    "has_children",
    "events",
    "tasks",
    "results",
    "model-calls",
    "task",
    "answer",
    "cancel",
    "submitted",
    "step_succeeded",
    "call_tool",
    "call_model",
    "result",
    "status",
]
"""What means something somewhere else."""

LONG = [f'"{"y" * size}"' for size in (100, 101, 200, 201, 5_000)]
OTHERS = ["null", "true", "[]", "{}", "[1,[2]]", '{"a":1,"a":2}', '{"":null}', "", ",", "undefined", "/**/1"]
DEEP = [
    *(_nested(depth) for depth in (40, 99, 101, 190, 197, 200, 201, 1_000, 50_000)),
    *(_nested(depth, '{"a":', "}", "1") for depth in (101, 198, 2_000)),
]
NAMES = [
    *["extra", "v", "kind", "task", "id", "__proto__", "model_config", "specversion"],
    "",
    "ü\u202e",
    "n" * 3_000,
]
HOSTILE = [Raw(text) for text in (*NUMBERS, *ODD, *(f'"{word}"' for word in WORDS), *LONG, *OTHERS, *DEEP)]

HUGE = [Raw(f'"{"z" * size}"') for size in (899_700, 899_900, 900_001, 990_000)]
"""Around the largest payload, and around the largest record. Few are drawn: they take long."""


# ---------------------------------------------------------------- putting it wrong

# JSON trees, which nothing describes.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """All that a tree holds, as containers with the keys or numbers in them."""
    keys: Any = tree.keys() if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    here = [(tree, key) for key in keys]
    return here + [place for _, key in here for place in _places(tree[key])]


def _change(tree: Any, chance: Random) -> Any:
    """The tree, changed in place, or what stands in its place."""
    places, what = _places(tree), _hostile(chance)
    if not places or chance.random() < WHOLLY_SHARE:
        return what
    container, key = chance.choice(places)
    match chance.choice(("set", "set", "set", "set", "drop", "again", "add", "rename")):
        case "set":
            container[key] = what
        case "drop":
            del container[key]
        case _ if isinstance(container, list):
            container.append(what)
        case "again":
            container[Raw(json.dumps(key))] = what  # the same name once more
        case "add":
            container[chance.choice(NAMES)] = what
        case _:
            container[chance.choice(NAMES)] = container.pop(key)
    return tree


def _text(tree: Any) -> str:
    if isinstance(tree, Raw):
        return tree
    if isinstance(tree, dict):
        return "{" + ",".join(f"{_name(key)}:{_text(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ",".join(map(_text, tree)) + "]"
    return json.dumps(tree, ensure_ascii=False)


def _name(key: str) -> str:
    return key if isinstance(key, Raw) and key.startswith('"') else json.dumps(key)


BYTES: list[Callable[[bytes], bytes | None]] = [
    lambda b: b[: len(b) // 2],
    lambda b: b[:-1],
    lambda b: b"\xef\xbb\xbf" + b,
    lambda b: b.replace(b"t", b"\xff", 1),
    lambda b: b.replace(b"e", b"\xc0\xaf", 1),  # overlong
    lambda b: b.replace(b"a", b"\xed\xa0\x80", 1),  # a surrogate in UTF-8
    lambda b: b.replace(b":", b"\0:", 1),
    lambda b: b + b"\0",
    lambda b: b + b,
    lambda b: b"\n\n " + b + b" \n",
    lambda b: b.decode(errors="replace").encode("utf-16"),
    lambda b: b"\x00\x00\x00\x00\x07" + b,  # a schema registry's frame
    lambda b: b"\x80\x04\x95" + b,  # a pickle
    lambda b: b"",
    lambda b: None,  # a tombstone
]

KEYS = [
    None,
    b"",
    b"t",
    b"u",
    b"t/0",
    b"\xff\xfe",
    b"a\nb",
    b"\0",
    b"y" * 201,
    "ü".encode(),
    b"nobody",
    b"{}",
]

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
NAME_TO_SPOIL = "<not UTF-8>"
"""A header's name that whoever produces it replaces by bytes that no Python client writes."""

HEADERS: list[tuple[tuple[str, bytes | None], ...]] = [
    ((NAME_TO_SPOIL, b"x"),),
    (("traceparent", TRACE.encode()), ("tracestate", b"a=b")),
    (("traceparent", b"\xff\n\xfe:\n\n"), ("tracestate", b"\n{")),
    (("traceparent", None),),
    (("", b""), ("", None)),
    (("segue-reason", b"none"), ("segue-task", b"u"), ("segue-offset", b"x")),
    (("content-type", b"application/cloudevents+json"),),
    (("content-type", b"application/json"), ("content-type", None)),
    (("ce_specversion", b"1.0"), ("ce_id", b"t"), ("ce_source", b"/"), ("ce_type", b"sequence")),
    (("ce_specversion", b"1.0"), ("ce_id", b"\xff"), ("ce_source", b"/"), ("ce_type", b"\xff")),
    (("ce_specversion", b"9"), ("ce_id", None), ("CE_TYPE", b"sequence"), ("ce_time", b"yesterday")),
    (("ce_id", b""), ("ce_", b""), ("ce_\ud7ff", b"x")),
    tuple((f"h{number}", b"v") for number in range(500)),
    (("big", b"h" * 20_000),),
]


# ---------------------------------------------------------------- drawing them

_SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
_ANY = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


@cache
def _junk() -> tuple[list[Any], list[bytes]]:
    """What nobody thought of: JSON values and bytes, as hypothesis makes them up."""
    values: list[Any] = []
    raw: list[bytes] = []

    @settings(
        max_examples=JUNK,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        deadline=None,
    )
    @given(_ANY, st.binary(max_size=60))
    def make_up(value: Any, data: bytes) -> None:
        values.append(Raw(json.dumps(value, ensure_ascii=len(data) % 2 == 0)))
        raw.append(data)

    make_up()
    return values, raw


def poison(topic: str, count: int, seed: int = 7) -> Iterator[Bad]:
    """So many bad records for the topic, the same ones for the same seed."""
    chance = Random(f"{seed} {topic}")
    others = [record for records in GOOD.values() for record in records]
    for _ in range(count):
        tree = _json(chance.choice(GOOD[topic] if chance.random() < 0.9 else others))
        for _ in range(chance.randint(1, 3)):
            tree = _change(tree, chance)
        value = _spoilt(_text(tree).encode(errors="surrogatepass"), chance)
        key = chance.choice(KEYS) if chance.random() < 0.3 else b"t"
        headers = chance.choice(HEADERS) if chance.random() < 0.3 else ()
        yield Bad(key, value, headers)


def _spoilt(value: bytes, chance: Random) -> bytes | None:
    roll = chance.random()
    if roll < 0.05:
        return chance.choice(_junk()[1])
    return chance.choice(BYTES)(value) if roll < 0.25 else value


def _hostile(chance: Random) -> Any:
    roll = chance.random()
    if roll < HUGE_SHARE:
        return chance.choice(HUGE)
    return chance.choice(_junk()[0] if roll < 0.3 else IDS if roll < 0.4 else HOSTILE)
