"""The operations and pages that each sort of caller may use. Denied unless a row here allows it.

Every route that asks for a caller has a row: :func:`check_audience` refuses a route without one.
A row says who may ask at all. What follows is decided with the request: whether the agency sees the
case (``ledger/procedure/checks/taking_part.py``), which personal fields it may read (the protocol's
matrix), and what a member may do in the agency (``api/http/member_rights.py``).
``case-ledger access`` writes the rows into ``docs/access.md``.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Protocol
from ledger.refusals import Ground, Refusal


class CallerSort(StrEnum):
    """A sort of caller, by what the protocol says of its agency."""

    COORDINATOR = "coordinator"
    OVERSIGHT = "oversight"
    OFFICE = "office"
    """Any other agency of a country."""
    BODY = "body"
    """An international body."""
    ANALYST = "analyst"
    NODE = "node"


class Audience(StrEnum):
    """The callers of an operation."""

    EVERYONE = "everyone"
    """Nobody has to be signed in. Some of these check a secret, a signature or an address."""
    AGREEMENT = "agreement"
    """The agreement, its agencies and the caller itself: nothing of a case."""
    PEOPLE = "people"
    """Agencies of people: their members, and the page that checks the log. Nothing of a case."""
    FIGURES = "figures"
    CASES = "cases"
    CASE_LISTS = "case lists"
    PERSONAL = "personal fields"
    """The matrix of the protocol decides, and the access log has the refusal too."""
    RECORDS = "records for statistics"
    """An analyst asks; the matrix of the protocol decides."""
    DOCUMENTS = "documents"
    UPLOADS = "uploads"
    FILE_NUMBERS = "file numbers"
    ACTIONS = "actions"
    """The rules of the protocol decide; a node passes on what its agencies signed."""
    EVENTS = "events"
    COORDINATORS = "coordinators"
    COORDINATORS_AND_OVERSIGHT = "coordinators and oversight"
    LEDGER_READERS = "ledger readers"
    WHOLE_LEDGER = "whole ledger"
    NODES = "nodes"


_COORDINATOR, _OVERSIGHT, _OFFICE = CallerSort.COORDINATOR, CallerSort.OVERSIGHT, CallerSort.OFFICE
_BODY, _ANALYST, _NODE = CallerSort.BODY, CallerSort.ANALYST, CallerSort.NODE
_COUNTRY = {_COORDINATOR, _OFFICE}
MAY_ASK: Mapping[Audience, frozenset[CallerSort]] = MappingProxyType(
    {
        Audience.EVERYONE: frozenset(CallerSort),
        Audience.AGREEMENT: frozenset(CallerSort),
        Audience.PEOPLE: frozenset(CallerSort) - {_NODE},
        Audience.FIGURES: frozenset({_COORDINATOR, _OVERSIGHT, _ANALYST}),
        Audience.CASES: frozenset({*_COUNTRY, _OVERSIGHT, _BODY}),
        Audience.CASE_LISTS: frozenset({*_COUNTRY, _OVERSIGHT}),
        Audience.PERSONAL: frozenset(CallerSort) - {_ANALYST},
        Audience.RECORDS: frozenset({_ANALYST}),
        Audience.DOCUMENTS: frozenset({*_COUNTRY, _BODY}),
        Audience.UPLOADS: frozenset({*_COUNTRY, _BODY}),
        Audience.FILE_NUMBERS: frozenset(_COUNTRY),
        Audience.ACTIONS: frozenset(CallerSort) - {_ANALYST},
        Audience.EVENTS: frozenset({*_COUNTRY, _OVERSIGHT, _NODE}),
        Audience.COORDINATORS: frozenset({_COORDINATOR}),
        Audience.COORDINATORS_AND_OVERSIGHT: frozenset({_COORDINATOR, _OVERSIGHT}),
        Audience.LEDGER_READERS: frozenset({_COORDINATOR, _OVERSIGHT}),
        Audience.WHOLE_LEDGER: frozenset({_COORDINATOR, _OVERSIGHT, _NODE}),
        Audience.NODES: frozenset({_NODE}),
    }
)
"""The sorts of callers that may ask."""
_OPERATIONS: Mapping[Audience, tuple[str, ...]] = {
    Audience.EVERYONE: (
        "GET /auth/callback",
        "GET /auth/login",
        "POST /auth/logout",
        "GET /health",
        "GET /log/checkpoint",
        "GET /log/policies",
        "GET /log/policy",
        "GET /log/tile/{path:path}",
        "GET /log/timestamp/{size}",
        "GET /metrics",
        "GET /ready",
        "POST /v1/invited",
        "POST /v1/invited-keys",
        "GET /v1/openapi.json",
        "GET /v1/schemas",
        "GET /v1/schemas/actions/{kind}/{version}",
        "GET /v1/schemas/bundle",
        "GET /v1/schemas/shared/{name}",
        "GET /v1/parcels",
        "POST /v1/parcels",
        "DELETE /v1/parcels/{parcel_id}",
        "POST /witness/{party}/add-checkpoint",
        "GET /witness/{party}/{origin_hash}/checkpoint",
        "GET /",
        "GET /docs",
        "GET /docs/actions/{kind}",
        "GET /docs/operations/{group}",
        "GET /favicon.ico",
        "GET /join",
        "POST /language",
        "GET /lost-key",
        "GET /sign-in",
        "GET /static/{version}/{name:path}",
        "GET /manifest/{code}.webmanifest",
        "GET /offline/{code}",
        "GET /service-worker.js",
        "GET /practice",
        "GET /practice/exercises/{number}",
        "GET /practice/reset",
    ),
    Audience.AGREEMENT: (
        "POST /auth/key",
        "GET /auth/me",
        "GET /v1/agencies",
        "GET /v1/agency-proposals",
        "GET /v1/contact-points",
        "GET /v1/key-proposals",
        "GET /v1/outbox",
        "GET /v1/outbox/{action_id}",
        "GET /v1/protocol",
        "POST /v1/protocol/actions",
        "GET /v1/protocol/amendments",
        "GET /v1/protocol/parties",
        "GET /v1/protocol/trail",
        "GET /v1/protocol/versions",
        "GET /agencies",
        "GET /agreement",
        "GET /components",
        "GET /directory",
        "GET /help/actions",
        "GET /help/actions/{kind}",
        "POST /telephone",
        "GET /texts/refusals",
    ),
    Audience.PEOPLE: (
        "GET /verify",
        "GET /v1/members",
        "POST /v1/members",
        "DELETE /v1/members/{member}",
        "GET /v1/members/{member}",
        "PUT /v1/members/{member}",
        "POST /v1/members/{member}/asked-keys",
        "DELETE /v1/members/{member}/disabled",
        "POST /v1/members/{member}/disabled",
        "POST /v1/members/{member}/hand-over",
        "POST /v1/members/{member}/invitation",
        "GET /keys",
        "GET /members",
        "POST /members",
        "POST /members/{member}",
    ),
    Audience.FIGURES: (
        "GET /charts",
        "GET /charts/{name}.csv",
        "GET /charts/{name}.xlsx",
    ),
    Audience.CASES: (
        "GET /v1/arrivals",
        "PUT /v1/arrivals/read",
        "GET /v1/assignments",
        "GET /v1/calendar.ics",
        "GET /v1/cases/{case_id}",
        "PUT /v1/cases/{case_id}/arrivals/{action_id}/read",
        "DELETE /v1/cases/{case_id}/assignment",
        "PUT /v1/cases/{case_id}/assignment",
        "GET /v1/cases/{case_id}/difference",
        "DELETE /v1/cases/{case_id}/flag",
        "PUT /v1/cases/{case_id}/flag",
        "GET /v1/cases/{case_id}/notes",
        "POST /v1/cases/{case_id}/notes",
        "GET /v1/cases/{case_id}/readings",
        "GET /v1/cases/{case_id}/trail",
        "GET /v1/drafts",
        "DELETE /v1/drafts/{draft}",
        "POST /v1/drafts/{draft}/approval",
        "POST /v1/drafts/{draft}/reading",
        "POST /v1/drafts/{draft}/return",
        "GET /v1/duties",
        "GET /v1/flags",
        "DELETE /v1/notes/{note_id}",
        "POST /v1/notes/{note_id}/done",
        "GET /v1/reminders",
        "POST /v1/searches",
        "POST /cases/filters",
        "POST /cases/filters/{filter_id}/remove",
        "GET /cases/new",
        "GET /cases/{case_id}",
        "GET /cases/{case_id}/act",
        "GET /cases/{case_id}/act/{kind}",
        "POST /cases/{case_id}/assignment",
        "POST /cases/{case_id}/flag",
        "GET /cases/{case_id}/forms",
        "GET /cases/{case_id}/forms/sent/{action}",
        "GET /cases/{case_id}/forms/sent/{action}/form.pdf",
        "GET /cases/{case_id}/forms/{number}",
        "GET /cases/{case_id}/notes",
        "POST /cases/{case_id}/notes",
        "POST /cases/{case_id}/notes/{note_id}",
        "GET /cases/{case_id}/personal",
        "GET /cases/{case_id}/replay",
        "GET /cases/{case_id}/since",
        "GET /cases/{case_id}/summary.pdf",
        "GET /cases/{case_id}/trail",
        "GET /cases/{case_id}/trail.pdf",
        "GET /cases/{case_id}/verify",
        "GET /drafts",
        "POST /drafts/{draft}",
        "POST /drafts/{draft}/return",
        "POST /drafts/{draft}/withdraw",
        "GET /find",
        "POST /find",
        "GET /paper",
        "GET /today",
        "GET /today/calendar",
        "GET /today/calendar.ics",
        "GET /today/mail",
        "POST /today/mail",
        "POST /today/read",
    ),
    Audience.CASE_LISTS: (
        "GET /v1/cases",
        "GET /cases",
        "POST /cases",
        "GET /cases/list.csv",
        "GET /cases/list.xlsx",
        "GET /v1/webhooks",
        "POST /v1/webhooks/{webhook}/replay",
    ),
    Audience.PERSONAL: (
        "POST /v1/cases/{case_id}/destructions/{proposal}/readings",
        "POST /v1/cases/{case_id}/readings",
        "POST /v1/cases/{case_id}/subject-access",
        "POST /v1/cases/{case_id}/subject-access/documents",
        "POST /cases/{case_id}/destructions/{proposal}",
        "POST /cases/{case_id}/personal",
        "POST /cases/{case_id}/subject-access/choice",
        "POST /cases/{case_id}/subject-access/documents",
    ),
    Audience.RECORDS: ("POST /v1/statistics/records",),
    Audience.DOCUMENTS: (
        "GET /v1/cases/{case_id}/documents",
        "GET /v1/cases/{case_id}/documents/inventory",
        "POST /v1/cases/{case_id}/documents/made",
        "GET /v1/cases/{case_id}/documents/{document_id}/content",
        "POST /v1/cases/{case_id}/documents/{document_id}/comparison",
        "POST /v1/cases/{case_id}/documents/{document_id}/copies",
        "GET /v1/cases/{case_id}/documents/{document_id}/preview",
        "POST /v1/cases/{case_id}/documents/{document_id}/redactions",
        "GET /cases/{case_id}/act/document_added",
        "GET /cases/{case_id}/documents",
        "POST /cases/{case_id}/documents",
        "GET /cases/{case_id}/documents/{document_id}/redact",
        "POST /cases/{case_id}/documents/{document_id}/redact",
    ),
    Audience.UPLOADS: (
        "POST /v1/cases/{case_id}/uploads",
        "DELETE /v1/cases/{case_id}/uploads/{upload_id}",
        "GET /v1/cases/{case_id}/uploads/{upload_id}",
        "PATCH /v1/cases/{case_id}/uploads/{upload_id}",
        "GET /v1/cases/{case_id}/uploads/{upload_id}/metadata",
        "GET /v1/cases/{case_id}/uploads/{upload_id}/preview",
        "POST /v1/cases/{case_id}/uploads/{upload_id}/without-metadata",
    ),
    Audience.FILE_NUMBERS: (
        "DELETE /v1/cases/{case_id}/file-number",
        "PUT /v1/cases/{case_id}/file-number",
        "GET /v1/file-numbers",
        "GET /cases/{case_id}/file-number",
        "POST /cases/{case_id}/file-number",
        "GET /import-map",
        "POST /import-map",
    ),
    Audience.ACTIONS: (
        "POST /v1/cases/{case_id}/actions",
        "POST /v1/cases/{case_id}/drafts",
    ),
    Audience.EVENTS: (
        "GET /log/proof/{position}",
        "GET /v1/events",
    ),
    Audience.COORDINATORS: (
        "GET /v1/asked-keys",
        "DELETE /v1/asked-keys/{key_id}",
        "GET /v1/duplicates",
        "POST /v1/duplicates/{duplicate_id}/assessment",
        "POST /agreement/check",
        "GET /meeting",
        "GET /meeting/{country}",
        "GET /meeting/{country}/summary",
        "GET /meeting/{country}/summary.pdf",
        "GET /meeting/{country}/{case_id}",
        "GET /missing",
        "GET /parcels",
    ),
    Audience.COORDINATORS_AND_OVERSIGHT: (
        "GET /v1/accountability/reciprocity",
        "GET /v1/accountability/response-times",
        "GET /v1/audit",
        "POST /v1/audit/breaches",
        "POST /v1/audit/readings",
        "GET /v1/obligations",
        "GET /v1/retention",
        "GET /v1/retention/erased",
        "GET /audit",
        "POST /audit",
        "POST /audit/log.csv",
        "POST /audit/log.xlsx",
        "GET /board",
        "GET /retention",
    ),
    Audience.LEDGER_READERS: (
        "GET /v1/ledger/moment",
        "GET /waiting",
    ),
    Audience.WHOLE_LEDGER: (
        "GET /v1/log/head",
        "GET /v1/parties/{party}/absence",
        "GET /v1/submissions",
    ),
    Audience.NODES: (
        "POST /v1/mailbox/acknowledgements",
        "POST /v1/mailbox/missing",
        "GET /v1/mailbox/outcomes",
        "POST /v1/mailbox/outcomes/settled",
        "GET /v1/mailbox/parcels",
        "POST /v1/mailbox/parcels",
        "POST /v1/mailbox/parcels/taken-back",
        "POST /v1/submissions",
    ),
}
AUDIENCE_OF: Mapping[str, Audience] = MappingProxyType(
    {name: audience for audience, names in _OPERATIONS.items() for name in names}
)
"""The audience of each operation, which is a method and the path of a route."""
_OF_SORT = {
    _ANALYST: ("figures-only", "This agency sees the figures of cases, and no case."),
    _NODE: ("nodes-copy-only", "A node copies events; people read cases."),
    _BODY: (
        "named-cases-only",
        "An international body reads the cases that name it, one at a time: open one by its id.",
    ),
}
_COORDINATORS_AND_OVERSIGHT = (
    "coordinators-and-oversight",
    "This is for the countries' coordinators and for oversight bodies.",
)
_OF_AUDIENCE = {
    Audience.FIGURES: _COORDINATORS_AND_OVERSIGHT,
    Audience.RECORDS: (
        "analysts-only",
        "Records for statistics are for analysts of this country, whom the protocol names.",
    ),
    Audience.DOCUMENTS: ("no-documents", "Nodes and oversight bodies read no documents."),
    Audience.UPLOADS: (
        "no-uploads",
        "Nodes and oversight bodies send no documents: the agency that acts sends them.",
    ),
    Audience.FILE_NUMBERS: (
        "no-file-numbers",
        "File numbers are for the agencies of a country that work on its cases.",
    ),
    Audience.COORDINATORS: ("coordinators-only", "This is for the countries' coordinators."),
    Audience.COORDINATORS_AND_OVERSIGHT: _COORDINATORS_AND_OVERSIGHT,
    Audience.LEDGER_READERS: (
        "whole-ledger",
        "The whole ledger is for coordinators and oversight; ask of a case.",
    ),
    Audience.WHOLE_LEDGER: (
        "whole-ledger",
        "This is of the whole ledger: coordinators, oversight bodies and nodes may ask for it.",
    ),
    Audience.NODES: ("nodes-only", "This is for countries' nodes."),
}


def sort_of(agency: Agency, protocol: Protocol) -> CallerSort:
    """Return what sort of caller an agency is."""
    if protocol.sees_figures_alone(agency):
        return CallerSort.ANALYST
    if agency.international:
        return CallerSort.BODY
    named = {
        COORDINATOR: CallerSort.COORDINATOR,
        OVERSIGHT: CallerSort.OVERSIGHT,
        NODE: CallerSort.NODE,
    }
    return named.get(agency.role, CallerSort.OFFICE)


def check_audience(operation: str, sort: CallerSort) -> None:
    """Check that a sort of caller may ask for an operation, such as ``GET /v1/cases``.

    Raises ``Refusal``, whose rule says for whom the operation is, and ``RuntimeError`` for an
    operation without a row.
    """
    audience = AUDIENCE_OF.get(operation)
    if audience is None:
        raise RuntimeError(f"{operation} has no row in {__name__}")
    if sort in MAY_ASK[audience]:
        return
    told = _OF_SORT[_ANALYST] if sort is CallerSort.ANALYST else _OF_AUDIENCE.get(audience)
    rule, message = told or _OF_SORT[sort]
    raise Refusal(Ground.NOT_ALLOWED, rule, message)
