"""The pages of the practice ledger: roles, exercises with their checks, and the reset.

No productive node has these pages. They come before the node's own: ``/`` and ``/sign-in`` lead
here, since nobody has a registered key.
"""

import random
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Body, FastAPI, Path, Request, Response
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.client.errors import RefusedError
from api.demo.begun_ledger import Players, granted, register_key
from api.demo.practice.checks import Finding, TaskState, WrongOrder, WrongRole, WrongValue
from api.demo.practice.exercises import Exercise, ExerciseBook, Task
from api.demo.practice.progress import Progress, progress, progress_of
from api.demo.practice.runs import Runs
from api.demo.practice.situations import InventedPerson, action_of, situation
from api.http.access import (
    Caller,
    TheNode,
    check_same_origin,
    cookie_name,
    over_https,
    session_secret,
)
from api.http.access import (
    caller as authenticated,
)
from api.http.parameters import ReturnTo, wait_for
from api.node.node import Node
from api.web.errors import PageRoute
from api.web.refusal_text import reason
from api.web.rendering import PAGE_HEADERS, Words, page
from api.web.sent_form import form_values
from ledger.procedure.available_actions import offer_of
from ledger.procedure.protocol import COORDINATOR, NODE, Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.signing.keys import from_public
from ledger.signing.keys import key_id as key_id_of
from ledger.system import clock
from ledger.system.identifiers import new_id
from ledger.vocabulary.registration import KeyRequest

COOKIE = "case-ledger-trainee"
_A_MONTH = 30 * 24 * 3600
_READY_SECONDS = 15
Number = Annotated[int, Path(ge=1, le=99)]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task as the page shows it."""

    number: int
    finding: Finding
    told: tuple[str, ...]
    """The findings of the check, in sentences."""
    agency: Agency
    path: str | None
    """The page on which the action is recorded."""
    is_own: bool
    """Whether the person acts in a fitting role already."""


class PracticePages:
    """The pages, for one run of the node after the other."""

    def __init__(
        self, protocol: Protocol, book: ExerciseBook | None, runs: Runs, reset: Callable[[], None]
    ) -> None:
        self._protocol, self._book, self._runs, self._reset = protocol, book, runs, reset
        self._players: Players | None = None
        self._opened = threading.Event()
        self._registering = threading.Lock()
        self._is_resetting = False

    def open(self, players: Players) -> None:
        """Let people in: ``players`` register their keys and record situations."""
        self._players = players
        self._is_resetting = False
        self._opened.set()

    def close(self) -> None:
        """Let nobody in until :meth:`open` is called again."""
        self._opened.clear()

    def add_to(self, app: FastAPI) -> None:
        """Serve the pages, before the node's own, and mark every answer."""
        app.state.practice = True
        app.add_middleware(MarkedAnswers)
        router = APIRouter(include_in_schema=False, route_class=PageRoute)

        @router.get("/")
        def first(request: Request, node: TheNode) -> Response:
            is_in = session_secret(node, request) is not None
            return RedirectResponse("/today" if is_in else "/practice", 303, dict(PAGE_HEADERS))

        @router.get("/sign-in")
        def sign_in(return_to: ReturnTo = "/practice") -> Response:  # noqa: ARG001
            return RedirectResponse("/practice", 303, dict(PAGE_HEADERS))

        @router.get("/practice")
        async def start(request: Request, node: TheNode, reset: bool = False) -> Response:
            if self._is_resetting:  # this is the node of before, which has not stopped yet
                return self._resetting_page(request)
            caller = await self._caller(request, node)
            return await run_in_threadpool(self._start_page, request, node, caller, reset)

        @router.post("/practice/enter")
        def enter(
            request: Request, node: TheNode, asked: Annotated[KeyRequest, Body()]
        ) -> Response:
            check_same_origin(node, request)
            self._enter(node, asked, self._trainee(node, request))
            return Response(status_code=204)

        @router.get("/practice/exercises/{number}")
        async def exercise(request: Request, node: TheNode, number: Number) -> Response:
            caller = await self._caller(request, node)
            return await run_in_threadpool(self._exercise_page, request, node, caller, number)

        @router.post("/practice/exercises/{number}")
        def begin(request: Request, node: TheNode, number: Number) -> Response:
            check_same_origin(node, request)
            self._begin(node, self._exercise(number), self._trainee(node, request))
            return RedirectResponse(f"/practice/exercises/{number}", 303, dict(PAGE_HEADERS))

        @router.get("/practice/reset")
        async def ask(request: Request, node: TheNode) -> Response:
            caller = await self._caller(request, node)
            return page(request, "practice_reset.html", caller, is_resetting=False)

        @router.post("/practice/reset")
        async def reset_now(request: Request, node: TheNode) -> Response:
            check_same_origin(node, request)
            form = await form_values(request)
            if form.get("sure") != ["yes"]:
                return RedirectResponse("/practice/reset", 303, dict(PAGE_HEADERS))
            self._is_resetting = True
            answer = self._resetting_page(request)
            # After the answer: the node that sends it is about to stop.
            answer.background = BackgroundTask(self._reset)
            return answer

        app.router.routes[:0] = router.routes

    def _resetting_page(self, request: Request) -> Response:
        """Return the page that asks for the start page again, until another node answers it."""
        request.state.protocol = self._protocol
        return page(request, "practice_reset.html", None, is_resetting=True)

    async def _caller(self, request: Request, node: Node) -> Caller | None:
        """Return who is signed in, if anybody is."""
        request.state.protocol = self._protocol
        if session_secret(node, request) is None:
            return None
        try:
            return await authenticated(request)
        except Refusal:
            return None

    def _trainee(self, node: Node, request: Request) -> str:
        """Return the random text that names a trainee. Raises ``Refusal`` if there is none."""
        found = request.cookies.get(cookie_name(node, COOKIE), "")
        if not 16 <= len(found) <= 64:
            raise Refusal(
                Ground.INVALID,
                "request",
                "The page did not come from this practice: open /practice again.",
                "Cookie",
            )
        return found

    def _with_trainee(self, node: Node, request: Request, answer: Response) -> Response:
        if cookie_name(node, COOKIE) not in request.cookies:
            answer.set_cookie(
                cookie_name(node, COOKIE), secrets.token_urlsafe(16), max_age=_A_MONTH, path="/",
                secure=over_https(node), httponly=True, samesite="lax",
            )  # fmt: skip
        return answer

    def _known(self, node: Node, request: Request) -> str:
        return request.cookies.get(cookie_name(node, COOKIE), "")

    def _exercise(self, number: int) -> Exercise:
        found = self._book.by_number.get(number) if self._book is not None else None
        if found is None:
            raise Refusal(Ground.UNKNOWN, "no-such-resource", "There is no such exercise.")
        return found

    def _start_page(
        self, request: Request, node: Node, caller: Caller | None, was_reset: bool
    ) -> Response:
        trainee, book = self._known(node, request), self._book
        rows: Sequence[Progress] = (
            progress(node, self._runs, book, trainee, self._protocol) if book is not None else ()
        )
        parties = [
            (party, [a for a in _agencies(self._protocol) if a.party == party.code])
            for party in self._protocol.parties
        ]
        answer = page(
            request,
            "practice.html",
            caller,
            was_reset=was_reset,
            protocol=self._protocol.id,
            audience=node.settings.audience,
            parties=parties,
            rows=rows,
            title_of=lambda one: one.title(self._protocol, Words.of(request).things.language),
        )
        return self._with_trainee(node, request, answer)

    def _exercise_page(
        self, request: Request, node: Node, caller: Caller | None, number: int
    ) -> Response:
        exercise, words = self._exercise(number), Words.of(request)
        own = progress_of(node, self._runs, exercise, self._known(node, request), self._protocol)
        if own.case is not None:  # so that the case's page has what the check has
            wait_for(node, "case_views", max(act.position for act in own.case.history.values()))
        language = words.things.language
        numbers = [one.number for one in self._book.exercises] if self._book is not None else []
        later = [one for one in numbers if one > number]
        answer = page(
            request,
            "practice_exercise.html",
            caller,
            protocol=self._protocol.id,
            audience=node.settings.audience,
            exercise=exercise,
            title=exercise.title(self._protocol, language),
            language_code=language,
            own=own,
            next=later[0] if later else None,
            tasks=list(self._tasks(own, caller, words)),
        )
        return self._with_trainee(node, request, answer)

    def _tasks(self, own: Progress, caller: Caller | None, words: Words) -> Iterator[TaskRow]:
        findings = own.findings or tuple(
            Finding(task, TaskState.MISSING) for task in own.exercise.tasks
        )
        for number, finding in enumerate(findings, start=1):
            task = finding.task
            agency = self._protocol.agencies_by_id[task.agency]
            roles = task.by or (agency.role,)
            is_own = (
                caller is not None
                and caller.agency.party == agency.party
                and caller.agency.role in roles
            )
            told = tuple(self._told(finding, own, words)) if own.begun else ()
            path = _path(task, own.case_id) if own.begun else None
            yield TaskRow(number, finding, told, agency, path, is_own)

    def _told(self, finding: Finding, own: Progress, words: Words) -> Iterator[str]:
        """Yield what the check found, in the page's language."""
        text, things, task, act = words.texts.text, words.things, finding.task, finding.act
        agency = self._protocol.agencies_by_id[task.agency]
        if act is None:
            yield text(
                "practice.is_missing", action=_name(task, words), agency=things.agency(agency)
            )
            if finding.annulled is not None:
                yield text("practice.annulled", action=_name(task, words))
            if (why := self._refusal(task, agency, own, words)) is not None:
                yield text("practice.not_possible", reason=why)
            return
        yield text(
            "practice.is_done",
            agency=things.agency_name(act.agency),
            moment=things.moment(act.recorded_at),
        )
        for fault in finding.faults:
            match fault:
                case WrongRole(author):
                    yield text(
                        "practice.wrong_role",
                        agency=things.agency_name(author),
                        right=things.agency(agency),
                    )
                case WrongValue(field, found, right):
                    said, shown = (self._value(task, field, v, own, words) for v in (right, found))
                    name = "practice.wrong_empty" if found is None else "practice.wrong_value"
                    filled = {} if found is None else {"found": shown}
                    yield text(name, field=things.field(field), right=said, **filled)
                case WrongOrder(first):
                    yield text("practice.wrong_order", action=_name(first, words))
        if finding.faults:
            yield text("practice.mend")

    def _refusal(self, task: Task, agency: Agency, own: Progress, words: Words) -> str | None:
        """Return why the rules do not allow an action yet; ``None`` if they do."""
        if own.case is None:
            return None
        offer = offer_of(
            task.kind, own.case.state, own.case.history, agency, self._protocol, clock.now()
        )
        return reason(offer.refusal, words) if offer.refusal is not None else None

    def _value(self, task: Task, field: str, value: Any, own: Progress, words: Words) -> str:
        if value is None:
            return ""
        named = {}
        if own.case is not None:
            named = {
                str(act.id): f"{act.version}. {words.things.kind(act.kind)}"
                for act in own.case.history.values()
            }
        named |= {a.id: words.things.agency(a) for a in self._protocol.agencies}
        plain = list(value) if isinstance(value, list | tuple) else value
        return ", ".join(words.things.value(task.kind, field, plain, named))

    def _enter(self, node: Node, asked: KeyRequest, trainee: str) -> None:
        """Register a key that a browser made, unless it is registered."""
        known = {agency.id for agency in _agencies(self._protocol)}
        if asked.agency not in known:
            raise Refusal(Ground.INVALID, "request", "There is no such role.", "agency")
        grant = granted(asked)
        key_id = key_id_of(from_public(asked.key))
        with self._registering:
            if key_id not in node.ledger.adopted().keys:
                register_key(self._playing(), self._protocol, grant, datetime.now(UTC))
        self._runs.add_key(trainee, key_id)

    def _begin(self, node: Node, exercise: Exercise, trainee: str) -> None:
        """Record the situation of an exercise in a new case."""
        players, book, position = self._playing(), self._book, node.ledger.head()
        if not exercise.setup or book is None:
            self._runs.begin(trainee, exercise.number, position, None)
            return
        case_id, now = new_id(), datetime.now(UTC)
        person, ids = InventedPerson.drawn(book, random.SystemRandom()), dict[str, UUID]()
        for version, step in enumerate(situation(exercise, book)):
            action = action_of(step, person, ids, now)
            try:
                receipt = players[step.agency].append(action, case_id, version)
            except RefusedError as error:
                raise Refusal(
                    Ground.OUT_OF_PROCEDURE,
                    "request",
                    f"The step {step.name} of the exercise is refused: {error}",
                ) from error
            ids[step.name] = receipt.action_id
        self._runs.begin(trainee, exercise.number, position, case_id)

    def _playing(self) -> Players:
        self._opened.wait(_READY_SECONDS)
        if self._players is None:
            raise Refusal(Ground.STALE, "request", "The practice is starting; try again.")
        return self._players


class MarkedAnswers:
    """Marks every answer of a practice ledger, and the name of every file that it gives out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request, and mark its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Case-Ledger-Practice"] = "invented people"
                named = headers.get("content-disposition")
                if named is not None:
                    headers["content-disposition"] = named.replace(
                        'filename="', 'filename="PRACTICE-'
                    )
            await send(message)

        await self._app(scope, receive, marked)


def _agencies(protocol: Protocol) -> Sequence[Agency]:
    """Return the agencies whose roles people choose: coordinators first, then by role."""
    order = list(protocol.roles)
    found = [one for one in protocol.working_agencies if one.role != NODE]
    return sorted(found, key=lambda a: (a.role != COORDINATOR, order.index(a.role), a.id))


def _name(task: Task, words: Words) -> str:
    """Return the name of a task's action; of a form that is sent with its number."""
    kind = words.things.kind(task.kind)
    return kind if task.form is None else f"{kind} ({task.form})"


def _path(task: Task, case_id: UUID | None) -> str | None:
    """Return the page on which the action of a task is recorded."""
    if task.kind == "case_opened":
        return "/cases/new"
    if case_id is None:
        return None
    if task.form is not None:
        return f"/cases/{case_id}/forms/{task.form}"
    if task.kind == "form_acknowledged":
        return f"/cases/{case_id}/forms"
    return f"/cases/{case_id}/act/{task.kind}"
