"""Who may look, and what a browser may do with what it gets.

Only GET and HEAD are answered. The ``Host`` must be one of the server's own names, so that no stranger's page can reach
it by having its own name resolve here. With a token, a browser hands it in once (``/?token=...``) and has a cookie from
then on, which no script and no other site can use; a program sends ``Authorization: Bearer``. Nothing is logged.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]{1,5})?")
_LONGEST = 4096  # characters of a path with its query
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Guard:
    """Lets through to `app` what may pass. `names`: hosts that are ours beside any address in digits, where `open`."""

    app: App
    names: frozenset[str]
    open: bool
    token: str | None
    _session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # a websocket: there is none, and closing without an answer refuses it
        request = Request(scope)
        answer = self._refusal(request) or self._exchange(request)
        if answer is None:
            await self.app(scope, receive, _guarded(send))
        else:
            await answer(scope, receive, _guarded(send))

    def _refusal(self, request: Request) -> Response | None:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("This server only shows.\n", 405, {"Allow": "GET, HEAD"})
        if len(request.scope["path"]) + len(request.scope["query_string"]) > _LONGEST:
            return PlainTextResponse("That address is too long.\n", 414)
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return PlainTextResponse("This server does not go by that name (see isoloss serve --name).\n", 400)
        return None

    def _exchange(self, request: Request) -> Response | None:
        """The answer to who has no right to look, or who has just shown the token."""
        if self.token is None:
            return None
        offered = parse_qs(request.scope["query_string"].decode("latin-1")).get("token", [])
        if request.scope["path"] == "/" and offered:
            if len(offered) == 1 and _same(offered[0], self.token):
                back = RedirectResponse("/", 303, {"Cache-Control": "no-store"})
                back.set_cookie(self._cookie(request), self._session, httponly=True, samesite="strict", path="/")
                return back
            return _denied()
        scheme, _, word = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _same(word.strip(), self.token):
            return None
        if _same(request.cookies.get(self._cookie(request), ""), self._session):
            return None
        return _denied()

    def _cookie(self, request: Request) -> str:
        # cookies do not tell ports apart, and two servers on one machine must not undo each other
        return f"isoloss-{(request.scope.get('server') or ('', 0))[1]}"

    def _is_ours(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        if parts is None:
            return False
        name = (parts[1] or parts[2]).lower().rstrip(".")
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.open  # a name that resolves here is a stranger's trick, an address is not


def _same(offered: str, kept: str) -> bool:
    return hmac.compare_digest(offered.encode(), kept.encode())


def _denied() -> Response:
    said = "A token is needed: open /?token=... once, with the token that isoloss serve was started with.\n"
    return PlainTextResponse(said, 401, {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"})


def _guarded(send: Send) -> Send:
    """`send`, every answer with the headers that keep it in its place."""

    async def with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            held = {name for name, _ in message["headers"]}
            extra = {**_HEADERS, "Content-Security-Policy": _POLICY}
            message["headers"] = [
                *message["headers"],
                *((k.lower().encode(), v.encode()) for k, v in extra.items() if k.lower().encode() not in held),
            ]
        await send(message)

    return with_headers
