"""The routes: a queue page, one page a study, its report, the atlas, origin, and the same numbers as JSON.

Every answer is looked up in memory by a key that the ledger has; no path, header or parameter becomes a file's name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from functools import partial
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from isoloss.errors import IsolossError
from isoloss.ledger.store import Ledger
from isoloss.serve.pages import ATLAS, ORIGIN, Page, Pages
from isoloss.serve.snapshot import Answer, Watcher, answer, json_answer

#: Seconds between two looks at the ledger.
EVERY = 2.0
_KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
_NAMES = {ATLAS: "The atlas", ORIGIN: "Origin"}


class Server:
    """One ledger, its snapshot and its pages, as a Starlette application."""

    def __init__(self, ledger: Ledger, pages: Pages, every: float = EVERY) -> None:
        self._watcher, self._every, self._pages = Watcher(ledger), every, pages
        self._now = self._watcher.look()
        self._static = {name: _static(name) for name in ("serve.css", "live.js", "runs.js", "queue.js", "study.js")}
        self._shells = {name: _shell(name) for name in ("queue", "study", "wait")}
        routes = [
            Route("/", partial(self._shown, "queue"), methods=["GET"]),
            Route("/study/{study}", self._study, methods=["GET"]),
            Route("/study/{study}/report", self._report, methods=["GET"]),
            Route("/atlas", partial(self._page, ATLAS), methods=["GET"]),
            Route("/origin", partial(self._page, ORIGIN), methods=["GET"]),
            Route("/api/queue", self._queue, methods=["GET"]),
            Route("/api/study/{study}", self._numbers, methods=["GET"]),
            Route("/api/pages", self._versions, methods=["GET"]),
            Route("/static/{name}", self._file, methods=["GET"]),
        ]
        # an address is one of these or none: nothing is guessed from what it looks like
        self.app = Starlette(routes=routes, lifespan=self._alive, exception_handlers={404: _missing, 500: _broken})
        self.app.router.redirect_slashes = False

    @contextlib.asynccontextmanager
    async def _alive(self, _: Starlette) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._pages.work(lambda: self._now))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self) -> None:
        """Look again and again; where the database is away, what was seen last is shown."""
        while True:
            await asyncio.sleep(self._every)
            with contextlib.suppress(IsolossError):
                self._now = await asyncio.to_thread(self._watcher.look)

    # -- answers -------------------------------------------------------------------------------------------------

    async def _shown(self, name: str, request: Request) -> Response:
        return send(request, self._shells[name])

    async def _study(self, request: Request) -> Response:
        return send(request, self._shells["study"]) if self._known(request) else await _missing(request, None)

    async def _queue(self, request: Request) -> Response:
        return send(request, self._now.queue)

    async def _numbers(self, request: Request) -> Response:
        found = self._now.study.get(request.path_params["study"])
        return send(request, found) if found else await _missing(request, None)

    async def _versions(self, request: Request) -> Response:
        key = request.query_params.get("key", "")
        if key in _NAMES or key in self._now.studies:
            self._pages.ask(key)  # somebody still looks at it
        return send(request, json_answer(self._pages.versions()))

    async def _file(self, request: Request) -> Response:
        found = self._static.get(request.path_params["name"])
        return send(request, found) if found else await _missing(request, None)

    async def _report(self, request: Request) -> Response:
        if not self._known(request):
            return await _missing(request, None)
        return await self._page(request.path_params["study"], request)

    async def _page(self, key: str, request: Request) -> Response:
        """A page as it was last made; while there is none yet, one that waits for it."""
        page = self._pages.ask(key)
        built = page.built
        if built is None or built.page is None:
            return send(request, self._waiting(key, page), 202 if built is None else 200)
        return send(request, built.page, headers={"Content-Security-Policy": f"{built.policy}; frame-ancestors 'none'"})

    def _known(self, request: Request) -> bool:
        return request.path_params["study"] in self._now.studies

    def _waiting(self, key: str, page: Page) -> Answer:
        from isoloss.report import words

        filed = self._now.studies.get(key)
        name = f"The report of {words.plain(filed.name, 80)}" if filed else _NAMES[key]
        fault = page.built.fault if page.built else ""
        return _shell("wait", title=name, fault=words.plain(fault, 600))


def send(request: Request, found: Answer, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """`found`, or that it has not changed, compressed for who takes it."""
    told = {"ETag": found.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding", **(headers or {})}
    if status == 200 and request.headers.get("if-none-match") == found.tag:
        return Response(status_code=304, headers=told)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, status, {**told, "Content-Encoding": "gzip"}, found.kind)
    return Response(found.body, status, told, found.kind)


async def _missing(_: Request, __: Any) -> Response:
    return PlainTextResponse("There is no such page. Start at /.\n", 404)


async def _broken(_: Request, __: Any) -> Response:
    return PlainTextResponse("That went wrong. The ledger is unharmed: it is only read.\n", 500)


def _static(name: str) -> Answer:
    text = files("isoloss.serve").joinpath("static", name).read_bytes()
    if name.endswith(".css"):  # the pages' own dress
        text = files("isoloss.report").joinpath("templates", "report.css").read_bytes() + text
    return answer(text, _KINDS[name.rpartition(".")[2]])


def _shell(name: str, **context: Any) -> Answer:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isoloss.serve"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return answer(environment.get_template(f"{name}.html.j2").render(**context).encode(), "text/html; charset=utf-8")
