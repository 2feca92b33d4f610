"""The credentials of a call, from the environment, where the operation's security schemes want them.

A secret goes from the environment into the request and nowhere else; what a service repeats of it in an error
is taken out (`keep_secret`), whatever its variable is called.
"""

import os
from base64 import b64encode
from collections.abc import Mapping

from segue.streams.executors.openapi.document import Operation, Place
from segue.streams.executors.openapi.request import Request
from segue.streams.text.redaction import keep_secret
from segue.topics.errors import Permanent


def authorize(request: Request, operation: Operation, secrets: Mapping[str, str]) -> None:
    """By the first alternative whose secrets are all named. Raises `Permanent` saying what to set."""
    schemes = operation.place.document.root.child("components").child("securitySchemes")
    alternatives = operation.security
    if not alternatives:
        return
    for alternative in alternatives:
        if alternative.keys() <= secrets.keys():
            for name in alternative:
                _apply(request, name, schemes.child(name), _secret(secrets[name], name))
            return
    needed = " or ".join(" with ".join(alternative) for alternative in alternatives)
    raise Permanent(f"it needs {needed}, whose variable OpenApi(…, secrets=…) must name")


def _secret(variable: str, scheme: str) -> str:
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise Permanent(f"set {variable}, the secret of its scheme {scheme!r}, where tools are called")
    keep_secret({"SECRET": secret})
    return secret


def _apply(request: Request, name: str, scheme: Place, secret: str) -> None:
    match scheme.get("type"), scheme.get("in"), str(scheme.get("scheme", "")).lower():
        case "apiKey", "header", _:
            request.headers[str(scheme.get("name"))] = secret
        case "apiKey", "query", _:
            request.query.append((str(scheme.get("name")), secret))
        case "apiKey", "cookie", _:
            request.cookies.append((str(scheme.get("name")), secret))
        case "http", _, "basic":
            encoded = b64encode(secret.encode()).decode()
            keep_secret({"SECRET": encoded})
            request.headers["Authorization"] = f"Basic {encoded}"
        case ("http", _, "bearer") | ("oauth2" | "openIdConnect", _, _):
            request.headers["Authorization"] = f"Bearer {secret}"
        case _:
            raise Permanent(f"its security scheme {name!r} is of a kind that can't be served: {scheme.value}")
