"""Makes characters visible that a terminal would obey, or that forge what is read: data is only text.

A record's id, input or question may hold escape sequences (one writes the clipboard), marks that turn the
direction of what follows, or letters that nobody sees. All output of the command line and the log goes
through `visible`, and JSON through `escaped`.
"""

import re
import unicodedata

_NOT_PLAIN = re.compile(r"[^\x20-\x7e]")

_HIDDEN = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters (bidirectional marks, zero width, tags), unassigned
ones, halves of a pair, and separators of lines."""

_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0e\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that have no width: fillers, and variation selectors but the one of emojis."""

_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, lines: bool = False) -> str:
    """Return the text with what is hidden in it spelled out, as `\\x1b`; with `lines` it may have several."""
    kept = "\n\t" if lines else ""
    return _NOT_PLAIN.sub(lambda found: _spelled(found[0], kept), text)


def hanging(text: str) -> str:
    """Return the text with all lines but the first indented: none of them passes for a line of its own."""
    begins = len(text) - len(text.lstrip("\n"))
    return text[:begins] + text[begins:].replace("\n", "\n  ")


def escaped(json: str) -> str:
    """Return the same JSON with what is hidden in its strings escaped; JSON itself escapes C0 controls."""
    return _NOT_PLAIN.sub(lambda found: _as_json(found[0]), json)


def is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN or _INVISIBLE.match(character) is not None


def _spelled(character: str, kept: str) -> str:
    if character in kept or not is_hidden(character):
        return character
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _as_json(character: str) -> str:
    if character in "\n" or not is_hidden(character):
        return character
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
