"""Take secrets out of text: out of errors, reasons, tracebacks, and each line of the log.

Two kinds are found. Secrets that this process knows, from its environment or by `keep_secret`, are found in
each form that a library may print them in (`_forms`). Others are found by what stands around them or by how
they begin (`_RULES`). docs/security.md lists both.

All of it takes linear time: no pattern looks further than some hundred characters for what may not come.
"""

import html
import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, quote_plus, urlsplit

REDACTED = "[redacted]"

SECRET_CHARS_MIN = 8
"""Shorter values of the environment are too common as words to be taken out."""

LINE_CHARS_MIN = 16
"""Of a secret of several lines each is one, if it is so long and has no space."""

_SECRET_NAME = re.compile(r"(?i)(KEY|TOKEN|SECRET|PASS|PASSWD|PASSWORD|CREDENTIALS?|AUTHORIZATION|COOKIE)$")
_known: set[str] = set()


def keep_secret(values: Mapping[str, str]) -> None:
    """From now on these are taken out too, where their names say that they are secrets."""
    _known.update(_secrets_in(values))


def redact(text: str) -> str:
    """`text` without API keys, credentials in URLs and headers, and the secrets that this process knows.

    Those are the values of its environment whose names end in KEY, TOKEN, SECRET, PASSWORD and the like, the
    passwords of URLs there, and what `keep_secret` was told.
    """
    text = _without(text, _forms(frozenset([*_known, *_secrets_in(os.environ)])))
    lowered = text.lower()
    for rule in _RULES:
        text = rule.applied(text, lowered)
    return text


# ---------------------------------------------------------------- what this process knows


def _secrets_in(values: Mapping[str, str]) -> Iterator[str]:
    for name, value in values.items():
        if _SECRET_NAME.search(name):
            yield value
            scheme, _, credentials = value.strip().partition(" ")
            if re.fullmatch(_SCHEMES, scheme, re.IGNORECASE):
                yield credentials
        elif "://" in value and "@" in value and (password := _password_in(value)):
            yield password


def _password_in(url: str) -> str | None:
    try:
        return urlsplit(url).password
    except ValueError:
        return None


@lru_cache(8)
def _forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """The forms of all, the longest first: one may be a part of another."""
    forms = {
        form
        for secret in secrets
        for part in _parts(secret)
        for form in _forms_of(part)
        if len(form) >= SECRET_CHARS_MIN
    }
    return tuple(sorted(forms, key=lambda form: (-len(form), form)))


def _parts(secret: str) -> Iterator[str]:
    """The secret, without white space around it, and its lines if it has several."""
    secret = secret.strip()
    if len(secret) >= SECRET_CHARS_MIN:
        yield secret
    lines = [line.strip() for line in secret.splitlines()]
    if len(lines) > 1:
        yield from (line for line in lines if len(line) >= LINE_CHARS_MIN and len(line.split()) == 1)


def _forms_of(secret: str) -> Iterator[str]:
    yield secret
    raw = secret.encode(errors="surrogatepass")
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield encoded
        yield re.sub("%..", lambda escape: escape.group().lower(), encoded)
        yield quote(encoded, safe="")
        yield quote(encoded)
    for escaped in (json.dumps(secret), json.dumps(secret, ensure_ascii=False), repr(secret)):
        yield escaped[1:-1]
        yield json.dumps(escaped)[1:-1].strip("\\\"'")
        yield repr(escaped)[1:-1].strip("\\\"'")
    yield secret.replace("'", "\\'")
    yield secret.replace('"', '\\"')
    yield repr(raw)[2:-1]
    yield html.escape(secret)
    yield html.escape(secret, quote=False)
    yield raw.hex()
    yield from _in_base64(raw)


def _in_base64(raw: bytes) -> Iterator[str]:
    """What base64 makes of it within a longer text, `user:secret` say, but for the characters at its ends."""
    for encode in (b64encode, urlsafe_b64encode):
        for before in range(3):
            bits = 8 * before, 8 * (before + len(raw))
            yield encode(b"\0" * before + raw).decode()[-(-bits[0] // 6) : bits[1] // 6]


_BREAK = re.compile(r"\r?\n[ \t]{0,40}")


def _without(text: str, forms: tuple[str, ...]) -> str:
    """Also where a form goes on in the next line."""
    for form in forms:
        text = text.replace(form, REDACTED)
    if "\n" in text:
        joined = _BREAK.sub("", text)
        for form in forms:
            if form in joined:
                broken = r"(?:\r?\n[ \t]{0,40})?".join(map(re.escape, form))
                text = re.sub(broken, REDACTED, text)
    return text


# ---------------------------------------------------------------- what looks like a secret


class Rule(NamedTuple):
    """Looked for where one of `hints` is in the text, in small letters."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str

    def applied(self, text: str, lowered: str) -> str:
        if not any(hint in lowered for hint in self.hints):
            return text
        return self.pattern.sub(self.replacement, text)


def _rule(hints: str, *parts: str, to: str = rf"\1{REDACTED}", case: bool = False) -> Rule:
    flags = re.VERBOSE if case else re.VERBOSE | re.IGNORECASE
    return Rule(tuple(hints.split()), re.compile("".join(parts), flags), to)


_HINTS = "key authorization credential pass secret session signature token"

_NAMES = r"""(?:
    (?:api|access|account|auth|private|secret|shared|signing|subscription|encryption|master)
      [-_\ ]?key(?:[-_]?id)?
  | authorization | credentials? | passphrase | passw(?:or)?d | (?:_|-|\b)pass | secret | session[-_]?id
  | sharedaccesssignature | token
)"""
"""How a secret's name ends, in a header, an object, a URL or a variable."""

_QUOTE = r"""(?:\\{0,8}["'`]|&quot;|&\#39;|%22|%27)"""
_GAP = r"(?:[ \t]{1,20}(?:\r?\n[ \t]{1,20})?|\r?\n[ \t]{1,20})"
_IS = rf"(?:{_GAP}?(?:=>|[:=]|%3[ad]){_GAP}?)"
_IN_PAIR = rf"(?:{_IS}|{_GAP}?,{_GAP}?)"
"""`"name": "value"`, and in a list of pairs `("name", "value")`."""

_OPEN = rf"[bru]{{0,2}}(?P<quote>{_QUOTE})"
_TO_ITS_END = r"(?:(?!(?P=quote))[^\n]){1,65536}+"
_BARE = r"""[^\s"'`&,;()<>{}\[\]\\]"""
_NOTHING = r"(?!(?:none|null|true|false|undefined|nil|\*{1,40})\b|\[redacted)"

_SCHEMES = r"(?:bearer|basic|token|digest|negotiate|ntlm|api-?key|key|bot|oauth|hawk|jwt|aws4-[\w-]{1,40})"
_CREDENTIALS = rf"""(?:
    =\\{{0,4}}"[^"\\\n]{{0,4096}}(?:\\{{0,4}}")?
  | {_BARE}
  | ,[ ]{{0,2}}(?=\w{{1,40}}=)
){{1,4096}}+"""
"""One word, or `name="value", name=value`."""

_PROSE = r"(?!(?:auth\w*|credentials?|error|header|is|or|scheme|tokens?|was|with|for|in|and)\b|\[redacted)"
"""What follows `Bearer` in a sentence."""

_USER = r"""://[^\s/:@"'<>\[]{0,256}:"""
_PORT = r"""\d{1,5}(?:[/?\#\s"'<>,]|$)"""

_RULES = (
    # a private key, to its end or that of the text
    _rule(
        "private",
        r"(?s:-----BEGIN\ [A-Z0-9\ ]{0,40}PRIVATE\ KEY-----.*?(?:-----END\ [A-Z0-9\ ]{0,40}-----|\Z))",
        to=REDACTED,
    ),
    # keys of providers by how they begin, and JSON Web Tokens
    _rule("sk-", r"\bsk-[\w*-]{6,}", to=REDACTED),
    _rule(
        "sk_ rk_ whsec_ ghp_ gho_ ghs_ ghu_ ghr_ github_pat_ glpat- xox hf_ gsk_ xai-",
        r"\b(?:sk_|rk_|whsec_|gh[opsur]_|github_pat_|glpat-|xox[abeoprs]-|hf_|gsk_|xai-)[\w.-]{10,}",
        to=REDACTED,
    ),
    _rule("akia asia aiza", r"\b(?:(?:AKIA|ASIA)[A-Z0-9]{16}\b|AIza[\w-]{30,})", to=REDACTED, case=True),
    _rule("eyj", r"(?<![\w-])eyJ[\w-]{5,}\.[\w.-]{5,}", to=REDACTED, case=True),
    # `Authorization: Token …`: of a scheme that is not known its name too
    _rule(
        "authorization",
        rf"(authorization{_QUOTE}?{_IN_PAIR}(?:b?{_QUOTE})?+(?:{_SCHEMES}{_GAP})?+)",
        rf"{_NOTHING}(?:[a-z][a-z-]{{1,40}}+{_GAP}(?={_BARE}))?{_CREDENTIALS}",
    ),
    # cookies: all that they hold
    _rule(
        "cookie",
        rf"""(cookie{_QUOTE}?{_IN_PAIR}(?:b?{_QUOTE})?+)""",
        r"""[^\s=;,"'\[]{1,256}=[^\s;"']{0,4096}(?:;[ ]?[^\s;"']{1,4096})*""",
    ),
    # `Bearer …` and `Basic …` without the header's name
    _rule("bearer", rf"\b(bearer{_GAP}){_PROSE}[\w.~+/=-]{{6,}}"),
    _rule(
        "basic",
        r"\b((?i:basic)[ ]+)(?=[A-Za-z]{0,200}[0-9+/=]|[a-z]{1,200}[A-Z])[\w+/-]{6,}={0,2}",
        case=True,
    ),
    # `://user:p@ss@host`: to the last @ before the path; or if there is none, to the first behind it
    _rule("@", rf"""({_USER})(?!\[redacted)[^\s/?\#"'<>]{{1,256}}@""", to=rf"\1{REDACTED}@"),
    _rule("@", rf"""({_USER})(?!{_PORT}|\[redacted)[^\s"'<>@]{{1,128}}@""", to=rf"\1{REDACTED}@"),
    _rule("@", r"""(://)[^\s/:@"'<>\[]{20,256}@""", to=rf"\1{REDACTED}@"),
    _rule("%40", r"(%3a%2f%2f[\w.-]{0,256}%3a)[\w.~%-]{1,256}?(?=%40)"),
    # the same without a scheme, where it can be no address of mail: a second @, or a port
    _rule(
        "@",
        r"""(?<![\w.+/@-])([\w.+-]{1,64}:)(?!\[redacted)[^\s:@/"'<>\[]{1,128}@""",
        r"""(?:(?=(?:tcp|unix)\(|[\w.-]{1,253}:\d)|[^\s@/"'<>()]{1,128}@(?=[\w\[]))""",
        to=rf"\1{REDACTED}@",
    ),
    # parameters of URLs whose names are harmless elsewhere
    _rule(
        "=",
        r"([?&;](?:key|sig|signature|code|auth|jwt|sid|assertion|x-(?:amz|goog)-[\w-]{1,40})=)",
        r"""[^\s&"'<>\#)]{4,}""",
    ),
    # a name and its value: both quoted, in a pair, the value quoted, neither
    _rule(_HINTS, rf"({_NAMES}{_QUOTE}{_IS}{_OPEN}){_NOTHING}{_TO_ITS_END}"),
    _rule(
        _HINTS,
        rf"(\(b?{_QUOTE}[\w-]{{0,40}}{_NAMES}{_QUOTE},{_GAP}?{_OPEN}){_NOTHING}{_TO_ITS_END}",
    ),
    _rule(_HINTS, rf"({_NAMES}{_IS}{_OPEN}){_NOTHING}{_TO_ITS_END}"),
    _rule(
        _HINTS,
        rf"({_NAMES}(?:[ ]provided)?{_QUOTE}?{_IS}){_NOTHING}(?!{_SCHEMES}\s){_BARE}{{4,4096}}+",
    ),
    _rule("--", rf"(?<![\w-])(--[\w-]{{0,40}}{_NAMES}[ ]{{1,4}}){_NOTHING}(?!-){_BARE}{{1,4096}}"),
    _rule("<", rf"(<[\w:-]{{0,40}}{_NAMES}>)[^<\s]{{1,4096}}"),
    _rule("_key= _pwd=", rf"(_(?:KEY|PWD)=)(?!\[redacted){_BARE}{{4,4096}}", case=True),
)
