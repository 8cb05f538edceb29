"""For coordinators: what countries owe each other, requests, bases, duplicates, and keys."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.http.access import Caller, TheCaller, TheNode
from api.http.retained_cases import coming, erased_cases
from api.node.node import Node
from api.services.merged_pairs import not_merged
from api.web.board import column, marked, total
from api.web.case_text import names
from api.web.errors import PageRoute
from api.web.rendering import Words, page
from ledger.procedure.protocol import COORDINATOR, NODE, KeyChange
from ledger.system import clock
from ledger.vault.duplicates.matches import Duplicate
from ledger.vocabulary.upcasting import upcasters
from projections.tables.case_lists import BoardMark
from projections.tables.owed_lists import AT_MOST

_AHEAD = timedelta(days=90)
_RETAINED = 200
_MISSING = 200
_STATED = 200
router = APIRouter(include_in_schema=False, route_class=PageRoute)


@router.get("/board")
def board(
    request: Request,
    node: TheNode,
    caller: TheCaller,
    show: Annotated[str | None, Query(pattern="^(owes|requests|bases|danger)$")] = None,
    party: Annotated[str | None, Query(pattern="^[A-Z]{2}$")] = None,
    after: UUID | None = None,
    before: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
) -> Response:
    """Show both sides' obligations, open requests, legal bases in force, and duplicates.

    With ``show`` the page has one list alone, from a place on: ``owes`` of a country, or of any
    party.
    """
    now, protocol = clock.now(), caller.protocol
    views, viewer, own = node.views, caller.viewer, caller.agency.party
    if show is None:
        countries = sorted({p.code for p in protocol.parties}, key=lambda code: (code != own, code))
        columns = [column(views, viewer, code, now) for code in (*countries, None)]
    else:
        columns = [column(views, viewer, party, now, after)] if show == "owes" else []
    lists = {
        mark.value: marked(views, viewer, mark, before)
        for mark in BoardMark
        if show is None or show == mark.value
    }
    return page(
        request,
        "board.html",
        caller,
        show=show,
        within=after is not None or before is not None,
        columns=[one for one in columns if one.owed or one.party == own or show is not None],
        total=total(columns),
        at_most=AT_MOST,
        lists=lists,
        duplicates=_duplicates(node, caller) if show is None else None,
        named=names(protocol, (), Words.of(request).things),
        own=own,
    )


@router.get("/retention")
def retention(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show the cases that retention will erase, those on hold, and those that are erased."""
    party, protocol = caller.agency.party, caller.protocol
    found = coming(node, party, protocol, within=_AHEAD, limit=_RETAINED)
    return page(
        request,
        "retention.html",
        caller,
        cosigned_until=found.cosigned_until,
        coming=found.cases,
        announces=caller.agency.role == COORDINATOR,
        at_most=_RETAINED,
        erased=list(erased_cases(node, party, limit=_RETAINED)) if node.vaults.has(party) else [],
        days=_AHEAD.days,
        named=names(protocol, (), Words.of(request).things),
    )


@router.get("/missing")
def missing(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show the parts that the country's vault must hold and lacks, and which nodes were asked."""
    party, patience = caller.agency.party, timedelta(seconds=node.settings.missing_after_seconds)
    vault = node.vaults.of(party) if node.vaults.has(party) else None
    return page(
        request,
        "missing.html",
        caller,
        missing=vault.missing.page(_MISSING, patience=patience) if vault is not None else (),
        contents=vault.contents.not_held(_MISSING, patience=patience) if vault is not None else (),
        at_most=_MISSING,
        own=party,
    )


@router.get("/waiting")
def waiting(request: Request, node: TheNode, caller: TheCaller) -> Response:
    """Show how this country's actions wait, and the statements of other countries on theirs."""
    found = node.waiting.now()
    limit = node.settings.waiting_after_seconds
    return page(
        request,
        "waiting.html",
        caller,
        waiting=found,
        is_late=found.oldest_seconds(clock.now()) > limit,
        limit_minutes=f"{limit / 60:.0f}",
        follows=not node.leads,
        stated=node.submissions.all(_STATED),
    )


@router.get("/keys")
def keys(request: Request, caller: TheCaller) -> Response:
    """Show the caller's key in this browser; to a coordinator, the country's keys too.

    A coordinator also sees the form to register a key, and the changes that wait.
    """
    now, protocol = clock.now(), caller.protocol
    if caller.agency.role != COORDINATOR:
        return page(request, "keys.html", caller, registers=False, protocol=protocol.id)
    every = [a for a in protocol.agencies if a.party == caller.agency.party and a.role != NODE]
    own, agencies = {a.id for a in every}, [a for a in every if a.retired_at is None]
    held = sorted(
        (key for key in caller.registry.keys.values() if key.agency in own),
        key=lambda key: (key.agency, key.valid_from),
    )
    proposals = [
        (one, one.party == caller.agency.party)
        for one in caller.registry.proposals.values()
        if one.party == caller.agency.party or one.may_be_confirmed_by(caller.agency)
    ]
    return page(
        request,
        "keys.html",
        caller,
        registers=True,
        agencies=agencies,
        waits={a.id for a in agencies if protocol.confirming_roles(a.role, KeyChange.REGISTRATION)},
        proposals=proposals,
        version=upcasters().version("key_registered"),
        held=[(key, key.valid_at(now)) for key in held],
        named=names(protocol, (), Words.of(request).things),
        protocol=protocol.id,
    )


def _duplicates(node: Node, caller: Caller) -> list[Duplicate]:
    """Return the duplicates of the coordinator's own country, and none for other callers."""
    party = caller.agency.party
    if caller.agency.role != COORDINATOR or not node.vaults.has(party):
        return []
    return not_merged(node.ledger, node.vaults.of(party).duplicates.all(100))
