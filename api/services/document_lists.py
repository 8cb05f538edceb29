"""The documents of a case that a caller may know of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from api.client.schemas.case_documents import DocumentSignature, ListedDocument
from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.vault.held_fields import Held
from ledger.vault.vault import Vault
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.coordination import MeetingHeld
from ledger.vocabulary.documents import (
    DOCUMENT_FIELDS,
    CaseDocument,
    DocumentAdded,
    VersionClaim,
    document_fields,
    shown_document,
    version_trouble,
)
from ledger.vocabulary.picklists import DocumentKind


def listed_documents(
    vault: Vault, case: Case, held: Iterable[Held], directory: Protocol
) -> Sequence[ListedDocument]:
    """Return the documents among opened fields, in the order in which they were recorded.

    ``directory`` has the agencies, of parties that left too. An act that signs another
    act's document is no document of its own, but a signature of it.
    """
    held = [one for one in held if one.action_id in case.history]
    described = {
        one.action_id: (one, shown_document(one.value))
        for one in held
        if one.field in DOCUMENT_FIELDS
    }
    belongs = {one.action_id: UUID(one.value) for one in held if one.field == "belongs_to"}
    redacts = {one.action_id: UUID(one.value) for one in held if one.field == "redacts"}
    claims = version_claims(held)
    signs = {one.action_id: UUID(one.value) for one in held if one.field == "signs"}
    first = [action for action in case.history if action in described and action not in signs]
    here = vault.documents.held(first)

    def signatures(action: UUID) -> Iterator[DocumentSignature]:
        for other in (action, *(other for other in case.history if signs.get(other) == action)):
            if other in described and described[other][1] == described[action][1]:
                act = case.history[other]
                yield DocumentSignature(
                    action=other,
                    agency=act.agency,
                    acted_at=act.acted_at,
                    recorded_at=act.recorded_at,
                )

    def listed(action: UUID) -> ListedDocument:
        one, document = described[action]
        act = case.history[action]
        belongs_to = belongs.get(action) if act.kind == DocumentAdded.kind else action
        meeting, signed = case.history.get(belongs_to or action), tuple(signatures(action))
        return ListedDocument(
            id=action,
            case_id=case.id,
            agency=act.agency,
            belongs_to=belongs_to,
            group=one.group,
            redacts=redacts.get(action),
            redacts_known=_may_be_redacted(case, redacts.get(action), act),
            pages_left_out=claims[action].pages_left_out,
            pages_marked=claims[action].pages_marked,
            pages_of_original=claims[action].pages_of_original,
            pages_contradict=version_trouble(claims[action]) is not None,
            received_from=one.received_from,
            is_here=action in here,
            document=document,
            signatures=signed,
            unsigned_by=_unsigned(document, meeting, signed, directory),
        )

    return [listed(action) for action in first]


def version_claims(held: Iterable[Held]) -> Mapping[UUID, VersionClaim]:
    """Return what actions say of the pages of the documents that they redact."""
    said: dict[UUID, dict[str, Any]] = defaultdict(dict)
    for one in held:
        if one.field in VersionClaim._fields:
            said[one.action_id][one.field] = one.value
    empty = VersionClaim(None, None, None)
    return defaultdict(
        lambda: empty, {action: empty._replace(**fields) for action, fields in said.items()}
    )


def _may_be_redacted(case: Case, redacts: UUID | None, by: Act) -> bool:
    """Return whether a case has the document of which an act says that it made a version.

    Each country can tell this by the ledger: an earlier action, of a kind that has documents. It
    cannot tell whether the two contents agree.
    """
    named = case.history.get(redacts) if redacts is not None else None
    if named is None or named.position >= by.position or named.kind not in ALL_ACTIONS:
        return False
    return bool(document_fields(ALL_ACTIONS[named.kind]))


def _unsigned(
    document: CaseDocument,
    meeting: Act | None,
    signed: Iterable[DocumentSignature],
    directory: Protocol,
) -> tuple[str, ...]:
    """Return the countries of a meeting whose coordinator did not sign its minutes."""
    if meeting is None or meeting.kind != MeetingHeld.kind:
        return ()
    if document.document_kind is not DocumentKind.MINUTES:
        return ()
    agencies = directory.agencies_by_id
    signers = [agencies[one.agency] for one in signed if one.agency in agencies]
    done = {one.party for one in signers if one.role == COORDINATOR}
    return tuple(country for country in meeting.fields["countries"] if country not in done)
