"""The minutes of a case's meetings, with the countries that signed them."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from api.client.schemas.case_documents import ListedDocument
from api.http.access import Caller
from api.node.node import Node
from api.services.document_lists import listed_documents
from ledger.procedure.protocol import COORDINATOR, OVERSIGHT
from ledger.vault.held_fields import Held
from ledger.vocabulary.coordination import MeetingHeld
from ledger.vocabulary.documents import DocumentAdded
from ledger.vocabulary.picklists import DocumentKind


def minutes(
    node: Node, caller: Caller, case_id: UUID, held: Iterable[Held]
) -> Sequence[ListedDocument]:
    """Return the minutes among the opened ``case`` fields that belong to a meeting."""
    case = node.ledger.case(case_id)
    if case is None or caller.agency.role == OVERSIGHT:
        return ()
    vault = node.vaults.of(caller.agency.party)
    listed = listed_documents(vault, case, held, caller.registry.directory)
    return [
        one
        for one in listed
        if one.document.document_kind is DocumentKind.MINUTES
        and one.belongs_to is not None
        and one.belongs_to in case.history
        and case.history[one.belongs_to].kind == MeetingHeld.kind
    ]


def may_sign(caller: Caller, one: ListedDocument) -> bool:
    """Return whether the caller is the coordinator of a country that did not sign the minutes."""
    rule = caller.protocol.actions.get(DocumentAdded.kind)
    signs = rule is not None and caller.agency.role in rule.roles
    return signs and caller.agency.role == COORDINATOR and caller.agency.party in one.unsigned_by
