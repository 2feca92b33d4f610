"""The routes: what is looked at, and what people ask for.

A form is answered by a page: the one that it stood on with what was said of it, or the same with what is
wrong. So it works without JavaScript, and with it the same answer is put into the page that is open.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import ceil
from typing import Any
from urllib.parse import quote, unquote, urlencode

from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from segue.processors.views.timeline import Timeline
from segue.streams.client.answers import json_or_text
from segue.streams.client.newest_records import Position
from segue.streams.ui.answers import Outcome, answered, tried
from segue.streams.ui.forms import form_of
from segue.streams.ui.index import Wanted
from segue.streams.ui.live import Followed, Parts, Stream, following
from segue.streams.ui.rendering import RejectedAnswer, TaskView, environment, refused_here, task_url
from segue.streams.ui.source import Source
from segue.topics.errors import BadInput, Unavailable, UnknownName
from segue.topics.records import STATES, Question

ROWS_MAX = 50
QUESTIONS_MAX = 200
CHILDREN_MAX = 100

NAME = "segue-name"
NAME_CHARS_MAX = 100
NAME_KEPT_S = 365 * 24 * 60 * 60
"""The cookie with the name that a person answers under."""

SAID = {
    "answered": "Answered.",
    "sent": "The answer is sent. The task has not taken it up yet: is a worker running?",
    "signalled": "The task was told.",
    "cancelled": "The task was asked to stop.",
    "named": "Your name goes with your answers from now on.",
}


class Page:
    """`app` is served as it is within a `Guard`."""

    def __init__(self, source: Source, *, read_only: bool = False) -> None:
        self._source = source
        self._templates = environment(read_only=read_only)
        self._followed = Followed()
        looks: list[BaseRoute] = [
            Route("/", self._tasks),
            Route("/questions", self._questions),
            Route("/dead-letters", self._letters),
            Route("/tasks/{task:path}", self._task),
            Route("/live", self._live),
            Mount("/static", StaticFiles(packages=[("segue.streams.ui", "static")])),
        ]
        acts: list[BaseRoute] = [
            Route("/answer", self._answer, methods=["POST"]),
            Route("/signal", self._signal, methods=["POST"]),
            Route("/cancel", self._cancel, methods=["POST"]),
            Route("/name", self._name, methods=["POST"]),
        ]
        handlers: Mapping[Any, Any] = {
            BadInput: self._failing(400),
            UnknownName: self._failing(404),
            Unavailable: self._failing(503),
            HTTPException: self._http_error,
        }
        self.app = Starlette(routes=looks if read_only else looks + acts, exception_handlers=handlers)
        self.app.router.redirect_slashes = False

    def close(self) -> None:
        """Ends what is being followed, which may have no end of its own."""
        self._followed.closing.set()

    # ------------------------------------------------------------ what is looked at

    async def _tasks(self, request: Request) -> Response:
        index, query = await self._source.index(), request.query_params
        wanted = _wanted(query)
        found = index.find(wanted)
        pages = max(1, ceil(len(found.rows) / ROWS_MAX))
        number = min(max(1, _number(query.get("page")) or 1), pages)
        rows = found.rows[(number - 1) * ROWS_MAX : number * ROWS_MAX]

        def link(**changed: Any) -> str:
            asked = {"state": wanted.state, "workflow": wanted.workflow, "q": wanted.text, **changed}
            return "/?" + urlencode({name: value for name, value in asked.items() if value})

        return self._html(
            request,
            "tasks.html",
            statuses=index.statuses(rows),
            counts=found.counts,
            total=len(found.rows),
            wanted=wanted,
            workflows=index.workflows,
            number=number,
            pages=pages,
            link=link,
            asking=index.asking,
        )

    async def _questions(self, request: Request) -> Response:
        return await self._questions_page(request, request.query_params.get("to", ""))

    async def _questions_page(
        self, request: Request, to: str, refused: RejectedAnswer | None = None
    ) -> Response:
        every = (await self._source.index()).questions()
        asked: dict[str, int] = {}
        for question in every:
            asked[question.to] = asked.get(question.to, 0) + 1
        found = [question for question in every if not to or question.to == to]
        return self._html(
            request,
            "questions.html",
            status_code=422 if refused else 200,
            wrong=_refusal_elsewhere(refused, found[:QUESTIONS_MAX]),
            questions=found[:QUESTIONS_MAX],
            left_out=len(found) - len(found[:QUESTIONS_MAX]),
            asked=asked,
            to=to,
            asking=len(every),
            name=_name_of(request),
            refused=refused,
        )

    async def _letters(self, request: Request) -> Response:
        before = Position.parsed(request.query_params.get("before", ""))
        found, index = await self._source.letters(before), await self._source.index()
        return self._html(request, "letters.html", found=found, turned=before, asking=index.asking)

    async def _task(self, request: Request) -> Response:
        task = request.path_params["task"] or request.query_params.get("id", "")
        return await self._task_page(request, task)

    async def _task_page(
        self, request: Request, task: str, refused: RejectedAnswer | None = None
    ) -> Response:
        run, before = _number(request.query_params.get("run")), _number(request.query_params.get("before"))
        timeline = Timeline(task, only=run)
        view = await self._view(timeline, run=run, before=before, refused=refused)
        for record in await self._source.history(task, run):
            timeline.apply(record)
        code, wrong = 422 if refused else 200, _refusal_elsewhere(refused, view.status.questions)
        return self._html(request, "task.html", code, view=view, wrong=wrong, asking=view.asking)

    async def _view(self, timeline: Timeline, **more: Any) -> TaskView:
        status, index = await self._source.status(timeline.task), await self._source.index()
        children = index.children(timeline.task, CHILDREN_MAX)
        return TaskView(timeline, status, children, index.asking, **more)

    async def _live(self, request: Request) -> Response:
        timeline, written = Timeline(request.query_params.get("task", "")), dict[int, str]()
        await self._source.status(timeline.task)

        async def parts() -> Parts:
            return self._parts(await self._view(timeline, written=written))

        return Stream(following(self._source, timeline, written, parts, self._followed), self._followed)

    def _parts(self, view: TaskView) -> Parts:
        """In the order of the page."""
        said: Any = self._templates.get_template("parts.html").module
        parts = {each: str(getattr(said, each)(view)) for each in ("head", "asking", "ending", "family")}
        parts["nav"] = str(said.nav("task", view.asking))
        return parts | {f"step-{step.number}": str(said.step(view, step)) for step in view.steps}

    # ------------------------------------------------------------ what people ask for

    async def _answer(self, request: Request) -> Response:
        form = await form_of(request)
        task, step = form.get("task", ""), _number(form.get("step"))
        outcome = await answered(self._source, task, step, form, _name_of(request))
        if form.get("back") != "questions":
            return await self._back(request, task, outcome)
        to = form.get("to", "")
        if isinstance(outcome, RejectedAnswer):
            return await self._questions_page(request, to, outcome)
        return _redirect("/questions", {"to": to} if to else {}, outcome)

    async def _signal(self, request: Request) -> Response:
        form = await form_of(request)
        task, name, value = form.get("task", ""), form.get("name", "").strip(), form.get("value", "")

        async def tell() -> str:
            if not name:
                raise BadInput("the signal's name is missing: give one")
            await self._source.signal(task, name, json_or_text(value) if value.strip() else None)
            return "signalled"

        return await self._back(request, task, await tried(task, tell, form))

    async def _cancel(self, request: Request) -> Response:
        form = await form_of(request)
        task, reason = form.get("task", ""), form.get("reason", "").strip()

        async def cancel() -> str:
            await self._source.cancel(task, *([reason] if reason else []), force="force" in form)
            return "cancelled"

        return await self._back(request, task, await tried(task, cancel, form))

    async def _name(self, request: Request) -> Response:
        form = await form_of(request)
        name, to = form.get("name", "").strip()[:NAME_CHARS_MAX], form.get("to", "")
        response = _redirect("/questions", {"to": to} if to else {}, "named")
        response.set_cookie(NAME, quote(name), max_age=NAME_KEPT_S, httponly=True, samesite="strict")
        return response

    async def _back(self, request: Request, task: str, outcome: Outcome) -> Response:
        if isinstance(outcome, RejectedAnswer):
            return await self._task_page(request, task, outcome)
        return RedirectResponse(task_url(task, said=outcome), 303)

    # ------------------------------------------------------------ how it is said

    def _html(self, request: Request, template: str, status_code: int = 200, **said: Any) -> Response:
        """Whoever has the page already, as it would be now, gets no second one."""
        notice = SAID.get(request.query_params.get("said", ""), "")
        body = self._templates.get_template(template).render({"notice": notice, "wrong": ""} | said).encode()
        headers = {"Cache-Control": "no-store", "ETag": f'"{hashlib.sha256(body).hexdigest()[:20]}"'}
        if status_code == 200 and request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return HTMLResponse(body, status_code, headers)

    def _failing(self, code: int) -> Callable[[Request, Exception], Awaitable[Response]]:
        async def handler(request: Request, error: Exception) -> Response:
            return self._error(request, code, str(error))

        return handler

    async def _http_error(self, request: Request, error: HTTPException) -> Response:
        message = "there is no such page" if error.status_code == 404 else error.detail
        return self._error(request, error.status_code, message)

    def _error(self, request: Request, code: int, message: str) -> Response:
        """What a form gets is put into the page that it stands on, which has one place for it."""
        wrong = message if request.method == "POST" else ""
        return self._html(request, "error.html", code, code=code, message=message, wrong=wrong, asking=0)


def _refusal_elsewhere(refused: RejectedAnswer | None, questions: Sequence[Question]) -> str:
    """Why a form was refused that no longer stands on the page: its question was answered elsewhere, say."""
    if refused is None or refused.step is None or any(refused_here(refused, each) for each in questions):
        return ""
    return refused.why


def _redirect(path: str, query: dict[str, str], said: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode(query | {'said': said})}", 303)


def _wanted(query: QueryParams) -> Wanted:
    state = query.get("state", "")
    return Wanted(state if state in STATES else "", query.get("workflow", ""), query.get("q", "").strip())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else None


def _name_of(request: Request) -> str:
    return unquote(request.cookies.get(NAME, ""))[:NAME_CHARS_MAX]
