"""The agreement: the rules in force, every version, proposals, and the check of a new text."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, ValidationError
from starlette.responses import JSONResponse

from api.client.schemas.document import Document
from api.http.access import Caller, TheCaller
from api.paper.protocol_changes import sentences
from api.web import agreement as told
from api.web.case_text import names
from api.web.date_entry import LATEST
from api.web.errors import PageRoute
from api.web.refusal_text import reason
from api.web.rendering import PAGE_HEADERS, Words, page
from ledger.procedure.accessions import joining_parties
from ledger.procedure.amendments import AMENDMENT_KINDS, AmendmentState, text_digest, text_of
from ledger.procedure.protocol import COORDINATOR, Protocol, protocol_from
from ledger.procedure.protocol_changes import changes
from ledger.procedure.registry import check_proposal
from ledger.refusals import Refusal
from ledger.vocabulary.upcasting import upcasters

router = APIRouter(include_in_schema=False, route_class=PageRoute)
_MOST_CHARACTERS = 256 * 1024


class TextToCheck(Document):
    """A new text of the protocol as a coordinator wrote it, in JSON or TOML."""

    text: Annotated[str, Field(max_length=_MOST_CHARACTERS)]
    earliest_day: date | None = None


@router.get("/agreement")
def agreement(request: Request, caller: TheCaller) -> Response:
    """Show the rules in force, the versions and the proposals; to a coordinator, the forms."""
    registry, protocol, words = caller.registry, caller.protocol, Words.of(request).things
    found, proposed = registry.agreement, registry.amendments
    proposals = told.proposal_rows(found, proposed, words)
    return page(
        request,
        "agreement.html",
        caller,
        protocol=protocol,
        versions=told.version_rows(found, proposed, caller.asked_at, words),
        open_ones=[one for one in proposals if one.amendment.state is AmendmentState.OPEN],
        closed=[
            one
            for one in proposals
            if one.amendment.state not in (AmendmentState.OPEN, AmendmentState.ADOPTED)
        ],
        rights=told.rights(protocol, words),
        deadlines=told.deadlines(protocol, words),
        operations=told.OPERATIONS,
        access=told.access(protocol, words),
        duties=told.duties(protocol, words),
        rules=told.other_rules(protocol, words),
        coordinates=caller.agency.role == COORDINATOR,
        next_version=found.latest.protocol.version + 1,
        schemas={kind: upcasters().version(kind) for kind in AMENDMENT_KINDS},
        most=_MOST_CHARACTERS,
        last_day=LATEST.isoformat(),
        named=names(protocol, (), words),
    )


@router.post("/agreement/check")
def check(request: Request, caller: TheCaller, sent: TextToCheck) -> JSONResponse:
    """Check a text as the ledger node would when it is proposed now. Nothing is recorded.

    Returns the text as it would be signed, its digest, and what it changes, in sentences; or the
    problem, in the language of the page.
    """
    return JSONResponse(_checked(caller, sent, Words.of(request)), headers=dict(PAGE_HEADERS))


def _checked(caller: Caller, sent: TextToCheck, words: Words) -> dict[str, object]:
    registry, t = caller.registry, words.texts.text
    try:
        protocol = protocol_from(sent.text)
    except ValidationError as error:
        wrong = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return {"problem": t("agreement.no_text", fault="; ".join(wrong))}
    except ValueError as error:
        return {"problem": t("agreement.no_text", fault=str(error))}
    text, base = text_of(protocol), registry.agreement.latest.protocol
    try:
        check_proposal(registry, text, sent.earliest_day, caller.asked_at)
    except Refusal as refusal:
        return {"problem": _problem(refusal, base, words)}
    return {
        "text": text,
        "digest": text_digest(text),
        "version": protocol.version,
        "changes": [
            *(
                t("agreement.joins", country=words.things.country(party))
                for party in sorted(joining_parties(base, protocol))
            ),
            *sentences(changes(base, protocol), words.things),
        ],
    }


def _problem(refusal: Refusal, base: Protocol, words: Words) -> str:
    """Return why the text cannot be proposed, with the field at fault."""
    field, fault = (refusal.field or "").removeprefix("act.protocol."), refusal.message
    if refusal.rule == "amendment":
        return words.texts.text(
            "agreement.cannot_follow", version=base.version, field=field, fault=fault
        )
    if refusal.rule == "protocol":
        return words.texts.text("agreement.no_text", fault=fault)
    return reason(refusal, words)
