"""The HTTP application of a node."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from anyio import CapacityLimiter
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from api import web
from api.client.schemas.health import Effect
from api.http import error_handlers
from api.http.chunk_places import ChunkPlaces
from api.http.conditional import ConditionalGet
from api.http.costly import Costly
from api.http.deprecation import EarlierAddresses
from api.http.event_broadcaster import EventBroadcaster
from api.http.middleware import (
    AnswerHeaders,
    BodyLimit,
    FailedAuthentications,
    PlainParameters,
    RequestsOfAddresses,
)
from api.http.openapi import openapi
from api.http.request_connections import RequestConnections
from api.http.request_metrics import OwnDurations, Requests
from api.http.routes import (
    accountability,
    audit,
    case_documents,
    cases,
    desk,
    document_previews,
    document_uploads,
    drafts,
    duplicates,
    events,
    finding,
    health,
    log,
    mailbox,
    members,
    outbox,
    personal,
    protocol,
    replay,
    retention,
    schemas,
    sign_in,
    statistics,
    submissions,
    webhooks,
)
from api.http.shared_durations import SharedDurations
from api.node.node import Node
from api.processes.worker import NodeWorker
from api.runtime.counts import processes
from api.runtime.rate_limit import Places, Rate
from api.runtime.readiness import HEADER, of_effect
from api.runtime.settings import Settings
from ledger.store.database import DATABASE_AWAY
from ledger.system.version import program_version
from ledger.vocabulary import build_models

MAX_BODY = 512 * 1024
_PRINT_WAIT_SECONDS = 20.0
_PREVIEW_WAIT_SECONDS = 20.0
_MARKED_COPIES = 3, 8, 60.0
"""Marked copies in memory at once, requests for them of one agency, and their wait in seconds."""
_STORED_AT_ONCE = _OPENED_AT_ONCE = 4
"""Chunks of documents that are encrypted and stored at once, and read and opened at once: each
takes about 1.5 MB of memory."""
_CHUNKS_AT_ONCE = 32
"""Chunks of 256 KiB that uploads, and those that downloads, have in memory at once."""
_SIGN_INS = 8, 2, 2.0
"""Sign-ins that wait for the provider at once, those of one address, and seconds for a place."""
DESCRIPTION = """One signed, append-only record of anti-trafficking case actions across countries.

Every request but those on health carries an assertion signed with the agency's key, or, from
a browser, the cookie of a person's session.
Refusals are problem details (RFC 9457) that name the rule and the field.

An action is a signed text. Its fields, their levels and values are in a JSON Schema for each kind
and version: see [/v1/schemas](/v1/schemas). [/docs](/docs) has all of this for people.
"""


def create_app(
    settings: Settings,
    conninfo: str,
    *,
    works: bool = True,
    durations: SharedDurations | None = None,
) -> FastAPI:
    """Create the application that serves the ledger in this database.

    If it ``works``, it also runs the node's background jobs. Else another process runs them
    (:mod:`api.processes.worker`). ``durations`` are those of all request processes; unset, this
    process counts its own.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        build_models()
        try:
            async with beginning(app):
                yield
        except DATABASE_AWAY:
            app.state.database_went = True
            raise

    @asynccontextmanager
    async def beginning(app: FastAPI) -> AsyncIterator[None]:
        with Node(settings, conninfo) as node, NodeWorker(node) if works else nullcontext() as work:
            app.state.work = work
            async with RequestConnections(node) as lanes, EventBroadcaster(node) as feed:
                node.history.when_outdated = getattr(app.state, "when_outdated", lambda: None)
                app.state.node = node
                app.state.lanes = lanes
                app.state.feed = feed
                app.state.streams = _places(settings, "streams")
                app.state.waits = _places(settings, "waits")
                app.state.submissions = Rate(settings.submissions_per_minute, "submissions")
                app.state.signing_in = Rate(settings.sign_ins_per_minute, "sign-ins")
                app.state.setting_out = Costly("sign-ins", *_SIGN_INS)
                app.state.coming_back = Costly("returns", *_SIGN_INS)
                app.state.storing = CapacityLimiter(_share(_STORED_AT_ONCE))
                app.state.opening = CapacityLimiter(_share(_OPENED_AT_ONCE))
                app.state.chunk_places = ChunkPlaces(_share(_CHUNKS_AT_ONCE, 4))
                app.state.sent_chunks = ChunkPlaces(_share(_CHUNKS_AT_ONCE, 4))
                app.state.costly = Costly(
                    "prints", settings.prints, settings.prints_per_agency, _PRINT_WAIT_SECONDS
                )
                app.state.copies = Costly("marked copies", *_MARKED_COPIES)
                app.state.previews = Costly(
                    "previews",
                    settings.previews,
                    settings.previews_per_agency,
                    _PREVIEW_WAIT_SECONDS,
                )
                yield

    app = FastAPI(
        title="Transnational case ledger",
        description=DESCRIPTION,
        version=program_version(),
        openapi_url="/v1/openapi.json",
        # The interactive pages would load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # it would send a request, with what it carries, to any Host
        lifespan=lifespan,
    )
    for resource in (
        cases, case_documents, document_uploads, document_previews, replay, personal, finding,
        duplicates, retention, accountability, audit, desk, events, protocol, schemas, members,
        drafts, outbox, mailbox, submissions, webhooks, log, sign_in, health,
        statistics,
    ):  # fmt: skip
        # One list, that a request is matched against once; included routers would match it twice.
        app.router.routes.extend(resource.router.routes)
    app.router.routes.extend(mailbox.earlier.routes)
    app.router.routes.extend(web.routes())
    error_handlers.install(app, web.as_page, web.in_language)
    app.add_middleware(ConditionalGet)
    app.add_middleware(BodyLimit, limit=MAX_BODY, is_upload=document_uploads.is_upload)
    app.add_middleware(EarlierAddresses)
    said = web.in_language
    per_minute = settings.failures_per_minute
    app.add_middleware(FailedAuthentications, per_minute=per_minute, in_language=said)
    app.add_middleware(PlainParameters, in_language=said)
    app.add_middleware(RequestsOfAddresses, most=settings.connections_per_address, in_language=said)
    app.add_middleware(AnswerHeaders, added=lambda: _trouble_headers(app))
    app.state.database_went = False
    app.state.requests = CollectorRegistry()
    if durations is not None:
        app.state.requests.register(durations)
    counted = durations or OwnDurations(app.state.requests)
    app.add_middleware(Requests, durations=counted)
    app.openapi = lambda: openapi(app)  # type: ignore[method-assign]
    return app


def _trouble_headers(app: FastAPI) -> list[tuple[bytes, bytes]]:
    """Return the header that marks the answers of a node that is not ready."""
    node: Node | None = getattr(app.state, "node", None)
    grave = () if node is None else of_effect(node.troubles, at_least=Effect.NOT_READY)
    return [(HEADER.lower().encode(), ", ".join(t.rule for t in grave).encode())] if grave else []


def _places(settings: Settings, name: str) -> Places:
    return Places(settings.streams, settings.streams_per_agency, name, settings.streams_reserved)


def _share(number: int, least: int = 1) -> int:
    """Return this process's share of what all request processes hold in memory at once."""
    return max(least, number // processes())
