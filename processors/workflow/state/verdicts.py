"""What the user's validators said of a value from outside: asked once, and then on the task's journal.

    value from outside ─▶ its type's validators ─┬▶ accepted: the workflow gets what was validated
                                                 └▶ refused, with the reason

A validator may say something else when it is asked again: a date is no longer in the future, a default is
another id, a text is hashed twice. So a task that is rebuilt asks none. Its journal says what each event's
values came to; where it says nothing, the value was accepted as it is.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from segue.topics import codec
from segue.topics.contracts import PAYLOAD_BYTES_MAX
from segue.topics.descriptions import shortened
from segue.topics.errors import BadInput

VALUE, REFUSED = "value", "refused"

Verdict = Mapping[str, Any]
"""Empty: accepted as it is. Else what it became (`value`), or why it was `refused`."""

Known = Mapping[str, Verdict]

AS_IT_IS: Verdict = {}


class Verdicts:
    """Those on the values of one event, by the step that gets the value and where the value came from."""

    def __init__(self) -> None:
        self._event = ""
        self._known: dict[str, Verdict] = {}
        self._replays = False

    def begin(self, event: str, known: Known | None = None) -> None:
        """An event happens: for the first time, or once more with the verdicts that are `known`."""
        if event != self._event or known is not None:
            self._event, self._known, self._replays = event, dict(known or {}), known is not None

    def of(self, place: str, judge: Callable[[Any], Any], value: Any) -> Any:
        """The value as it was validated. Raises `BadInput` if it was refused."""
        if place not in self._known and not self._replays:
            self._known[place] = _verdict(judge, value)
        verdict = self._known.get(place, AS_IT_IS)
        if REFUSED in verdict:
            raise BadInput(verdict[REFUSED])
        return verdict.get(VALUE, value)

    @property
    def token(self) -> bytes:
        """What the journal has to say of them: nothing, or one word after a space."""
        told = {place: verdict for place, verdict in self._known.items() if verdict}
        if not told:
            return b""
        return b" " + json.dumps(told, separators=(",", ":")).replace(" ", "\\u0020").encode()


def known_in(words: list[bytes]) -> Known:
    """The verdicts among the words of a journal entry's head."""
    found: list[Known] = [json.loads(word) for word in words if word.startswith(b"{")]
    return found[0] if found else {}


def _verdict(judge: Callable[[Any], Any], value: Any) -> Verdict:
    try:
        validated = judge(value)
    except (ValidationError, BadInput) as error:
        return {REFUSED: shortened(codec.explain(error), codec.REASON_CHARS_MAX)}
    body, was = codec.json_of(validated), codec.json_of(value)
    if body == was:
        return AS_IT_IS
    if len(body) + len(was) > PAYLOAD_BYTES_MAX:
        return {
            REFUSED: f"it is too large: {len(was):,} bytes as it came, and {len(body):,} more as it "
            "was validated"
        }
    return {VALUE: validated}
