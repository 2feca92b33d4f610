"""Who may speak to the page. It has no login, so the browser's own fences have to hold.

    a site whose name was made to point here (DNS rebinding)   its name is in `Host`: refused
    a form of another site (CSRF)                              `Sec-Fetch-Site` and `Origin` say so: refused
    a script among what models and tools wrote                 is escaped; and may not run, by the policy
    another site that frames, embeds or reads the page         may not

Whoever reaches the port by a right address may do all that the page can: where that are others than this
machine's people, something that asks who they are stands before it.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from segue.streams.process.http_server import LOOPBACK

EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - recognised, not bound

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Others get no referrer either way; with `no-referrer` the page's own forms would say `Origin: null`.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True)
class Place:
    """Where the page is served. `names` are others that it is reached by, through a proxy say."""

    host: str
    port: int
    names: frozenset[str] = frozenset()

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK

    @property
    def url(self) -> str:
        host = "127.0.0.1" if self.host in EVERYWHERE else self.host
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    def is_addressed(self, authority: str) -> bool:
        """Is `authority`, as in `Host`, a right name of it? An address can't be made to point elsewhere."""
        try:
            given = urlsplit(f"//{authority}")
            name, port = given.hostname or "", given.port or 80
        except ValueError:
            return False
        if name in self.names:
            return True
        if port != self.port:
            return False
        if self.host in EVERYWHERE:
            return name in LOOPBACK or _is_address(name)
        return name in (LOOPBACK if self.is_loopback else (self.host.lower(),))


class Guard:
    """Lets through what is addressed to `place`, and changes only what the page itself asked for."""

    def __init__(self, app: ASGIApp, place: Place) -> None:
        self._app = app
        self._place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refused = self._refusal(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(refused, 403) if refused else self._app
        await app(scope, receive, send_guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._place.is_addressed(hosts[0]):
            return f"this is not the address of the page, which is {self._place.url}"
        if method in ("GET", "HEAD") or _is_own(headers, hosts[0]):
            return None
        return "only the page itself may ask for that"


def _is_own(headers: Headers, host: str) -> bool:
    """Browsers say where a form stands, in one of these headers or both; where none is, it is no browser."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return False
    if site is not None and site != "same-origin":
        return False
    return origin is None or origin.partition("://")[2].lower() == host.lower()


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
