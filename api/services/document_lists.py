"""The documents of a case that a caller may know of."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from api.client.schemas.case_documents import DocumentSignature, ListedDocument
from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.case_fold import annuls, withheld_ids
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.vault.held_fields import Held
from ledger.vault.vault import Vault
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.communication_forms import FormSent
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
from ledger.vocabulary.levels import FieldGroup
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
    made = {one.action_id: int(one.value) for one in held if one.field == "paper_as_of"}
    signs = {one.action_id: UUID(one.value) for one in held if one.field == "signs"}
    groups = {action: one.group for action, (one, _) in described.items()}
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

    papers = filed_papers(case, made, belongs, redacts, groups)

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
            paper_as_of=made.get(action),
            annulled_in_it=annulled_in(case, papers[action]) if action in papers else (),
            pages_contradict=version_trouble(claims[action]) is not None,
            received_from=one.received_from,
            is_here=action in here,
            document=document,
            signatures=signed,
            unsigned_by=_unsigned(document, meeting, signed, directory),
        )

    return [listed(action) for action in first]


def papers_of_case(vault: Vault, case: Case) -> Mapping[UUID, int]:
    """Return the papers that nodes made of a case and that stand, each with its case version.

    That a document is such a paper is at ``case`` level, of each field group.
    """
    found = {
        one.action_id: int(one.value)
        for one in vault.case_fields(case.id)
        if one.field == "paper_as_of"
    }
    gone = withheld_ids([*case.history.values()])
    return {action: found[action] for action in case.history if action in {*found} - gone}


class FiledPaper(NamedTuple):
    """A paper that a node made of a case, and what it tells of."""

    as_of: int
    """The version of the case."""
    group: FieldGroup | None
    form: UUID | None
    """The sending of the communication form that it is; ``None`` for another paper."""


def filed_papers(
    case: Case,
    made: Mapping[UUID, int],
    belongs: Mapping[UUID, UUID],
    redacts: Mapping[UUID, UUID],
    groups: Mapping[UUID, FieldGroup | None],
) -> Mapping[UUID, FiledPaper]:
    """Return the papers among documents, by action; a version of a paper counts as one.

    ``groups`` has the field group of each document that is known; of another it is ``None``.
    """
    found = {}
    for action in {*made, *redacts}:
        origin = action if action in made else redacts[action]
        if origin in made:
            form = case.history.get(belongs.get(origin, origin))
            is_form = form is not None and form.kind == FormSent.kind
            found[action] = FiledPaper(
                made[origin], groups.get(origin), form.id if is_form and form else None
            )
    return found


def annulled_in(case: Case, paper: FiledPaper) -> tuple[UUID, ...]:
    """Return the actions that a paper may tell of and that were annulled after it was made.

    A paper of a field group tells of actions whose kind has fields of that group.
    """
    gone = {
        UUID(act.fields["corrects"]): act.version for act in case.history.values() if annuls(act)
    }
    form = case.history.get(paper.form) if paper.form is not None else None
    told = None if form is None else {form.id, *map(UUID, form.fields["actions"])}
    return tuple(
        act.id
        for act in case.history.values()
        if act.version <= paper.as_of < gone.get(act.id, 0)
        and (told is None or act.id in told)
        and (paper.group is None or _has_group(act.kind, paper.group))
    )


def _has_group(kind: str, group: FieldGroup) -> bool:
    model = ALL_ACTIONS.get(kind)
    if model is None:
        return False
    return any(model.level(name).group == group for name in model.disclosable_fields())


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
