"""Secrets are taken out of text in whatever form a library prints them, and other text is left as it is."""

import base64
import html
import json
import os
import re
from collections.abc import Callable
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from segue.streams.settings import Settings
from segue.streams.text.redaction import keep_secret, redact

# ---------------------------------------------------------------- secrets of the environment


def broken(secret: str) -> str:
    """Going on in the next line, which is indented: not before a space."""
    at = next(at for at in range(1, len(secret)) if secret[at] != " ")
    return f"{secret[:at]}\n    {secret[at:]}"


PRINTED: dict[str, Callable[[str], str]] = {
    "itself": str,
    "in a URL": lambda secret: quote(secret, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in a URL, small": lambda secret: re.sub("%..", lambda each: each[0].lower(), quote(secret, safe="")),
    "in a URL in a URL": lambda secret: quote(quote(secret, safe=""), safe=""),
    "as JSON": json.dumps,
    "as JSON in UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False),
    "as JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "by repr": repr,
    "by repr of repr": lambda secret: repr(repr(secret)),
    "by repr of bytes": lambda secret: repr(secret.encode()),
    "in a dict": lambda secret: repr({"x": secret}),
    "in HTML": html.escape,
    "in hex": lambda secret: secret.encode().hex(),
    "over two lines": broken,
}

secrets = st.text(
    "ABCDEFGHIJKLMNOPQSUVWXYZ0123456789!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ éß漢", min_size=8
).map(lambda text: f"X{text}Y")


def pieces(text: str) -> set[str]:
    return {text[at : at + 5] for at in range(len(text) - 4)}


AROUND = {
    each
    for text in ("{'x': '[redacted]'}", "{'x': \"[redacted]\"}", 'got "\\"[redacted]\\"" there')
    for each in pieces(text)
}


@pytest.mark.parametrize("form", PRINTED)
@settings(deadline=None)
@given(secret=secrets, end=st.sampled_from(["", "\n", "\r\n", " "]))
def test_a_secret_of_the_environment_is_found_in_each_form(form: str, secret: str, end: str) -> None:
    printed = PRINTED[form](secret)
    with patch.dict(os.environ, {"HOTELS_TOKEN": secret + end}):
        clean = redact(f"got {printed} there")
    assert pieces(printed) & pieces(clean) <= AROUND


@settings(deadline=None)
@given(secret=secrets, before=st.text(max_size=5), after=st.text(max_size=5), safe=st.booleans())
def test_base64_of_a_text_with_the_secret_is_no_way_around(
    secret: str, before: str, after: str, safe: bool
) -> None:
    encode = base64.urlsafe_b64encode if safe else base64.b64encode
    left = len(encode(before.encode()).decode().rstrip("=")) + len(
        encode(after.encode()).decode().rstrip("=")
    )
    with patch.dict(os.environ, {"HOTELS_TOKEN": secret}):
        clean = redact(encode((before + secret + after).encode()).decode())
    assert "[redacted]" in clean
    assert len(clean) <= len("[redacted]") + left + 8


def test_each_line_of_a_key_is_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["-----BEGIN PRIVATE KEY-----", "MIIEvQIBADANBgkqhkiG9w0B", "AQEFAASCBKcwggSjAgEAAoIB"]
    monkeypatch.setenv("SIGNING_KEY", "\n".join(lines) + "\n")
    assert redact(f"line 2: {lines[1]}") == "line 2: [redacted]"


def test_passwords_of_urls_in_the_environment_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://ada:horse-battery@db/shop")
    assert redact("login with horse-battery failed") == "login with [redacted] failed"


def test_the_credentials_of_a_header_are_secrets_without_their_scheme() -> None:
    keep_secret({"Authorization": "Bearer first-of-a-header"})
    assert redact("no user has first-of-a-header") == "no user has [redacted]"


def test_secrets_that_settings_are_given_are_known() -> None:
    given_ = {"sasl_password": SecretStr("battery-staple"), "sasl_username": "ada", "kafka": "k:1"}
    Settings.load(**given_, security_protocol="SASL_PLAINTEXT")
    assert redact("SASL: battery-staple") == "SASL: [redacted]"


# ---------------------------------------------------------------- secrets that nobody told of

NAMES = (
    *(
        "password",
        "Passwd",
        "api_key",
        "api-key",
        "X-Api-Key",
        "apiKey",
        "token",
        "access_token",
        "auth-token",
    ),
    *(
        "secret",
        "client_secret",
        "aws_secret_access_key",
        "AWS_SECRET_ACCESS_KEY",
        "PRIVATE-TOKEN",
        "passphrase",
    ),
    *("db_pass", "AccountKey", "Ocp-Apim-Subscription-Key", "credentials", "session_id", "authorization"),
)

NAMED = (
    *("{0}={1}", "{0}: {1}", "{0} = {1}", "{0}='{1}'", '{0}="{1}"', "{0}: '{1}'", "{0} => '{1}'"),
    *(
        "{{'{0}': '{1}'}}",
        '{{"{0}": "{1}"}}',
        '{{"{0}":"{1}"}}',
        r"{{\"{0}\": \"{1}\"}}",
        r"{{\'{0}\': \'{1}\'}}",
    ),
    *("{{'{0}': b'{1}'}}", "('{0}', '{1}')", "(b'{0}', b'{1}')", "[('a', 'b'), ('{0}', '{1}')]"),
    *(
        "GET /a?{0}={1}&b=1",
        "GET /a?b=1&{0}={1}",
        "host=h {0}={1} user=u",
        "Server=h;{0}={1};",
        "%22{0}%22%3A%22{1}%22",
    ),
    *(
        "{0}%3D{1}",
        "run --{0} {1} now",
        "run --{0}={1} now",
        "<{0}>{1}</{0}>",
        "{0}:\n  {1}",
        "{0}=&quot;{1}&quot;",
    ),
)

tokens = st.text("ABCDEFGHIJKLMNOPQSUVWXYZ0123456789_-.~+/", min_size=6, max_size=40).map(
    lambda text: f"X{text}Y7"
)


@pytest.mark.parametrize("template", NAMED)
@settings(deadline=None)
@given(name=st.sampled_from(NAMES), secret=tokens)
def test_what_a_secrets_name_stands_before_is_taken_out(template: str, name: str, secret: str) -> None:
    text = template.format(name, secret)
    clean = redact(text)
    assert secret not in clean
    assert "[redacted]" in clean
    assert redact(clean) == clean


SCHEMES = ("Token", "Bearer", "Basic", "ApiKey", "Key", "Negotiate", "Custom-Scheme", "")

HEADERS = (
    *("Authorization: {0}", "authorization: {0}", "Proxy-Authorization: {0}", "Authorization={0}"),
    *("{{'Authorization': '{0}'}}", '{{"authorization":"{0}"}}', r'"{{\"authorization\":\"{0}\"}}"'),
    *("[('authorization', '{0}')]", "(b'authorization', b'{0}')", "curl -H 'Authorization: {0}' http://h/"),
)


@pytest.mark.parametrize("header", HEADERS)
@settings(deadline=None)
@given(scheme=st.sampled_from(SCHEMES), secret=tokens, gap=st.sampled_from([" ", "  ", "\n  "]))
def test_credentials_of_any_scheme_are_taken_out(header: str, scheme: str, secret: str, gap: str) -> None:
    clean = redact(header.format(f"{scheme}{gap}{secret}" if scheme else secret))
    assert secret not in clean
    assert redact(clean) == clean


URLS = (
    *(
        "amqp://ada:{0}@host/",
        "https://ada:{0}@host:8443/a?b=c",
        "redis://:{0}@host:1/0",
        "postgresql://ada:{0}@[::1]:5432/db",
    ),
    *("url='mysql://ada:{0}@host'", "dial ada:{0}@tcp(db:3306)/shop", "connect to ada:{0}@db.internal:5432"),
)


@pytest.mark.parametrize("url", URLS)
@settings(deadline=None)
@given(
    secret=st.text("ABCDEFGHIJKLMNOPQSUVWXYZ0123456789!$*_-.~+", min_size=4, max_size=40).map("{}Y".format)
)
def test_passwords_in_urls_are_taken_out(url: str, secret: str) -> None:
    clean = redact(url.format(secret))
    assert secret not in clean
    assert "@" in clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Authorization: Token X", "Authorization: Token [redacted]"),
        ("user:p@ss@host", "user:[redacted]@host"),
        ("amqp://user:p@ss@host/", "amqp://user:[redacted]@host/"),
        ("postgres://user:pa/ss@host/db", "postgres://user:[redacted]@host/db"),
        ("postgres%3A%2F%2Fuser%3Ahunter22%40host", "postgres%3A%2F%2Fuser%3A[redacted]%40host"),
        ("https://abcdefghijklmnopqrstu@host/", "https://[redacted]@host/"),
        ("Cookie: a=1; sid=hunter22", "Cookie: [redacted]"),
        ("{'set-cookie': 'sid=hunter22; Path=/'}", "{'set-cookie': '[redacted]'}"),
        ("{'password': 'correct horse'}", "{'password': '[redacted]'}"),
        ('Authorization: Digest username="u", response="a1", uri="/"', "Authorization: Digest [redacted]"),
        ("&X-Amz-Signature=abcdef12&a=1", "&X-Amz-Signature=[redacted]&a=1"),
        ("id AKIAIOSFODNN7EXAMPLE", "id [redacted]"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc is old", "[redacted] is old"),
        ("Incorrect API key provided: hunter22.", "Incorrect API key provided: [redacted]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- end", "[redacted] end"),
        (r"-----BEGIN PRIVATE KEY-----\nMII", "[redacted]"),
        ("Basic aHVudGVyMjI6eHg= was sent", "Basic [redacted] was sent"),
    ],
)
def test_what_is_left_of_a_text(text: str, clean: str) -> None:
    assert redact(text) == clean
    assert redact(clean) == clean


NORMAL = """\
2026-11-30T10:00:00 INFO segue: task trip-1 done in 4.5 s, 12 steps, $0.0123
the token count is 12; max_tokens: 4096; input_tokens=1200, output_tokens=7
basic authentication failed; Basic functionality is missing; Bearer authentication is required
bearer token missing: the Authorization header was not sent
the password is wrong; invalid password; secret is missing: set PETSTORE_KEY
{'password': None, 'token': null, 'secret': True}
KeyError: 'token'
KeyError: 'key'; {'key': 'value', 'name': 'x'}; key: value
GET http://host:8080/path?email=a@b.c&code=200&page=2 HTTP/1.1 200
connected to http://[::1]:8080/a@b and s3://bucket/key
to:ada@example.com: hello, from mailto:bob@example.com
git@github.com:segue/segue.git; ssh://git@github.com:22/x; docker pull host:5000/a@sha256:abcdef
Cookie: not found; no authorization for this; credentials are needed
PWD=/home/ada OLDPWD=/tmp HOME=/root
  File "/app/tools.py", line 12, in book
    raise Retryable(f"busy: {response.status_code}")
httpx.ReadTimeout: timed out after 10 s (tokens: [1, 2, 3])
429 Too Many Requests: retry after 7 s
'API_KEY', 'API_VERSION' and 'SCHEMA' are needed
"""


@pytest.mark.parametrize("line", NORMAL.splitlines())
def test_normal_text_is_left_as_it_is(line: str) -> None:
    assert redact(line) == line
