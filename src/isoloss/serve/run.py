"""The server itself: a socket, an application behind its guard, and an end on Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

import uvicorn

from isoloss.errors import IsolossError
from isoloss.ledger.store import Ledger
from isoloss.processes import pool_of_one
from isoloss.serve.app import Server
from isoloss.serve.build import Source, be_modest
from isoloss.serve.guard import LOCAL, App, Guard
from isoloss.serve.pages import Pages

#: A word that can't be guessed by trying: 16 characters of anything random.
SHORTEST_TOKEN = 16


def check_token(host: str, token: str | None) -> None:
    """Raise `IsolossError` where others could look without a token, or with one that is easily guessed."""
    if token is None and host not in LOCAL:
        remedy = "set ISOLOSS_TOKEN to 16 random characters or more, such as $(openssl rand -hex 16)"
        raise IsolossError(f"--host {host}", "lets other machines in, which needs a token", remedy)
    if token is not None and len(token) < SHORTEST_TOKEN:
        raise IsolossError("--token", f"has {len(token)} characters", f"take {SHORTEST_TOKEN} random ones or more")


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises `IsolossError` where that is not to be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise IsolossError(f"--host {host}", f"is no address of this machine ({error})", "see --host") from None
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
    except (OSError, OverflowError) as error:
        made.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise IsolossError(f"--port {port}", "is in use", "name another, or --port 0 for any free one") from None
        if number == errno.EACCES:
            raise IsolossError(f"--port {port}", "is not allowed to you", "take one above 1023") from None
        raise IsolossError(f"--host {host}", f"can't be listened on ({error})", "see --host and --port") from None
    return made


def serve(
    ledger: str,
    *,
    host: str,
    port: int,
    token: str | None,
    names: Sequence[str],
    results: Path | None,
    plugins: bool,
    started: Callable[[str], None],
) -> None:
    """Serve `ledger` until Ctrl-C or SIGTERM; `started` is told the address once it answers."""
    check_token(host, token)
    with contextlib.ExitStack() as kept:
        listening = kept.enter_context(bound(host, port))
        store = kept.enter_context(contextlib.closing(Ledger(ledger, create=False, read_only=True)))
        source = Source(ledger, None if results is None else str(results), plugins)
        server = Server(store, Pages(source, _worker))
        ours = frozenset({host.lower(), socket.gethostname().lower(), *(n.lower() for n in names)}) | LOCAL
        here = host in LOCAL
        guard: App = Guard(server.app, LOCAL | {n.lower() for n in names} if here else ours, not here, token)
        config = uvicorn.Config(
            guard, access_log=False, log_level="warning", server_header=False, date_header=False,
            timeout_graceful_shutdown=2, timeout_keep_alive=30, backlog=512, h11_max_incomplete_event_size=16384,
        )  # fmt: skip
        shown = host if ":" not in host else f"[{host}]"
        started(f"http://{shown}:{listening.getsockname()[1]}/")
        with contextlib.suppress(KeyboardInterrupt):  # raised again by uvicorn, once all has been put away
            uvicorn.Server(config).run(sockets=[listening])


def _worker() -> Executor:
    return pool_of_one(be_modest)
