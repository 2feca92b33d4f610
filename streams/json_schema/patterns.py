"""Regular expressions that came from outside, in an engine whose time is linear in the text.

The engine is that of pydantic, the Rust library `regex`. It has no look-around and no back-references: a
pattern with one of them has no linear search, and `BadPattern` says so.

    from pydantic         `from_pydantic`      as it is: pydantic searches with the same engine
    from a JSON schema    `from_json_schema`   in the dialect of ECMA-262, and translated

The dialects differ in what `\\d`, `\\w`, `\\s`, `\\b` and `.` match, in escapes, and in brackets in brackets.
The translation follows ECMA-262, section 22.2, with the Unicode flag; `{` and `]` as themselves and a hyphen
beside `\\w` are read as browsers read them.
"""

import re
from functools import cached_property, lru_cache

from pydantic_core import SchemaError, SchemaValidator, core_schema

KEPT_MAX = 100
"""Compiled patterns. The engine refuses one that needs more than 10 MB."""

CHARS_MAX = 10_000
"""Of a pattern."""

COMPILED_AS = 10_000
"""Compiling a pattern takes as long as searching so many characters by it, at worst."""

ANY_CHARACTER = r"[\x{0}-\x{10FFFF}]"
NO_CHARACTER = r"[^\x{0}-\x{10FFFF}]"

_CLASSES = {
    "d": "0-9",
    "w": "0-9A-Za-z_",
    "s": r"\t-\r \x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}\x{FEFF}",
}
_DOT = r"[^\n\r\x{2028}\x{2029}]"

_TOKEN = re.compile(
    r"""(?xs)
      \\u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})
    | \\(?:u\{(?P<braced>[0-9a-fA-F]{1,8})\}|u(?P<unicode>[0-9a-fA-F]{4})|x(?P<byte>[0-9a-fA-F]{2}))
    | \\c(?P<control>[A-Za-z])
    | \\(?P<null>0)(?![0-9])
    | \\(?P<class>[dDwWsS])
    | (?P<property>\\[pP]\{[\w=]{1,100}\})
    | \\(?P<same>[tnvfr]|[^\w\s])
    | (?P<escape>\\.?)
    | (?P<look>\(\?<?[=!])
    | (?P<flags>\(\?[a-zA-Z-]+\))
    | (?P<group>\((?:\?(?:P?<[\w$]{1,100}>|[a-zA-Z-]*:))?)
    | (?P<other>.)
    """
)
_REPEATED = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")
_PROPERTY_SIZE = 100
"""Unicode's properties are ranges of characters, many of them."""


class BadPattern(ValueError):
    """The pattern can't be used. The message says why."""


class Pattern:
    """`size` is how many places of the pattern the engine may be in at once, repetitions written out."""

    def __init__(self, text: str, size: int = 1) -> None:
        self._text = text
        self._size = size

    def cost(self, text: str) -> int:
        """How much a search of `text` takes at worst: the characters, times the size."""
        compiling = 0 if "_engine" in self.__dict__ else COMPILED_AS
        return self._size * (len(text) + compiling)

    def found_in(self, text: str) -> bool:
        """Raises `BadPattern`."""
        return self._engine.isinstance_python(text.encode(errors="replace").decode())

    @cached_property
    def _engine(self) -> SchemaValidator:
        try:
            return SchemaValidator(core_schema.str_schema(pattern=self._text, regex_engine="rust-regex"))
        except SchemaError as error:
            raise BadPattern(_reason(str(error))) from None


@lru_cache(KEPT_MAX)
def from_pydantic(pattern: str) -> Pattern:
    """A pattern as pydantic reads it."""
    return Pattern(pattern)


@lru_cache(KEPT_MAX)
def from_json_schema(pattern: str) -> Pattern:
    """A pattern as ECMA-262 has it. Raises `BadPattern`."""
    if len(pattern) > CHARS_MAX:
        raise BadPattern(f"it has {len(pattern):,} characters, and the maximum is {CHARS_MAX:,}")
    translation = _Translation(pattern)
    return Pattern(translation.text, translation.size)


def _reason(message: str) -> str:
    """The last line of the engine's message: those before it draw the place."""
    lines = [line.strip() for line in message.strip().splitlines()]
    return lines[-1].removeprefix("error: ").removeprefix("SchemaError: ")


class _Translation:
    """Reads a pattern of ECMA-262 from left to right, and writes it for the engine."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._groups: list[int] = []
        self._last = 0
        self.size = 0
        written: list[str] = []
        while self._at < len(pattern):
            written.append(self._class() if pattern[self._at] == "[" else self._term())
        self.text = "".join(written)
        self.size += self._last

    def _token(self) -> re.Match[str]:
        token = _TOKEN.match(self._pattern, self._at)
        assert token is not None  # any character is one
        self._at = token.end()
        return token

    def _term(self) -> str:
        if repeated := _REPEATED.match(self._pattern, self._at):
            self._at = repeated.end()
            self._last *= max(map(int, filter(None, repeated.groups())), default=1)
            return repeated.group()
        token = self._token()
        if (character := _character(token)) is not None:
            return self._sized(_literal(character))
        match token.lastgroup:
            case "class":
                return self._sized(f"[{_class_of(token['class'])}]")
            case "property":
                return self._sized(token.group(), _PROPERTY_SIZE)
            case "escape":
                return self._boundary(token.group())
            case "look":
                raise BadPattern("it has a lookahead or lookbehind, which can't be matched in linear time")
            case "group":
                self._groups.append(self.size + self._last)
                self.size = self._last = 0
                return "(" if token.group().endswith(">") else token.group()
            case "flags":
                return token.group()
            case _:
                return self._syntax(token.group())

    def _sized(self, text: str, size: int = 1) -> str:
        """Writes what matches one character."""
        self.size += self._last
        self._last = size
        return text

    def _boundary(self, escape: str) -> str:
        if escape == r"\b":
            return r"(?-u:\b)"
        if escape == r"\B":
            return escape
        if escape[1:].isdigit() or escape == r"\k":
            raise BadPattern("it has a backreference, which can't be matched in linear time")
        raise BadPattern(f"ECMA-262 has no escape {escape}")

    def _syntax(self, sign: str) -> str:
        match sign:
            case ")" if self._groups:
                self._last += self.size
                self.size = self._groups.pop()
            case ".":
                return self._sized(_DOT)
            case "{" | "}" | "]":
                return self._sized("\\" + sign)
            case "^" | "$" | "|" | "*" | "+" | "?" | ")":
                pass
            case _:
                return self._sized(_literal(sign))
        return sign

    def _class(self) -> str:
        start = self._at
        self._at += 1
        negated = self._pattern.startswith("^", self._at)
        self._at += negated
        parts: list[str] = []
        while not self._pattern.startswith("]", self._at):
            if self._at >= len(self._pattern):
                raise BadPattern(f"the bracket at {start} is not closed")
            parts.append(self._part())
        self._at += 1
        if not parts:
            return self._sized(ANY_CHARACTER if negated else NO_CHARACTER)
        size = _PROPERTY_SIZE if any("\\p" in part.lower() for part in parts) else 1
        return self._sized(f"[{'^' * negated}{''.join(parts)}]", size)

    def _part(self) -> str:
        """One character of a class, a range of them, or a class in it."""
        first = self._member()
        if len(first) > 1 or not self._is_range():
            return first if len(first) > 1 else _literal(first)
        self._at += 1
        last = self._member()
        if len(last) > 1:
            return f"{_literal(first)}\\-{last}"
        return f"{_literal(first)}-{_literal(last)}"

    def _is_range(self) -> bool:
        return self._pattern.startswith("-", self._at) and not self._pattern.startswith("-]", self._at)

    def _member(self) -> str:
        """A character, or a class as the engine has it, which is longer."""
        token = self._token()
        if (character := _character(token)) is not None:
            return character
        match token.lastgroup:
            case "class":
                return f"[{_class_of(token['class'])}]"
            case "escape" if token.group() == r"\b":
                return "\b"
            case "escape":
                raise BadPattern(f"ECMA-262 has no {token.group()} in brackets")
            case "look" | "flags" | "group":
                self._at = token.start() + 1
                return "("
            case _:
                return token.group()


def _class_of(name: str) -> str:
    return ("^" if name.isupper() else "") + _CLASSES[name.lower()]


def _character(token: re.Match[str]) -> str | None:
    """The character that the token stands for; None if it stands for something else."""
    kind, text = token.lastgroup, token[token.lastgroup or 0]
    match kind:
        case "low":
            pair = bytes.fromhex(token["high"] + token["low"])
            return pair.decode("utf-16-be")
        case "braced" | "unicode" | "byte":
            code = int(text, 16)
            if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
                raise BadPattern(f"{token.group()} is not a character")
            return chr(code)
        case "control":
            return chr(ord(text) % 32)
        case "null":
            return "\0"
        case "same":
            return {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}.get(text, text)
        case _:
            return None


def _literal(character: str) -> str:
    """As the engine reads it anywhere, in brackets too."""
    return character if character.isalnum() and character.isascii() else f"\\x{{{ord(character):X}}}"
