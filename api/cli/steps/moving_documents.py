"""Add a copy of a document: in the right place, or without some of its pages."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

from api.cli.steps.sending import present_version, send_together
from api.client import LedgerClient, RefusedError
from api.client.schemas.case_documents import ListedDocument, UploadState
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.documents import DocumentAdded, field_of
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CorrectionEffect, CorrectionReason, LegalBasis, Purpose


def found_document(
    client: LedgerClient,
    case_id: UUID,
    document_id: UUID,
    group: FieldGroup | None,
    purpose: Purpose,
    basis: LegalBasis | None,
) -> ListedDocument:
    """Return a document of a case. Raises ``ValueError`` if there is none in this field group."""
    groups = () if group is None else (group,)
    page = client.documents(case_id, groups, purpose if groups else None, basis)
    for one in page.documents:
        if one.id == document_id and one.group is group:
            return one
    where = "at case level" if group is None else f"in the group {group}"
    raise ValueError(
        f"the case has no such document {where}; name its field group with --group, and see"
        " `case-ledger document list`"
    )


def recorder(client: LedgerClient, url: str, as_json: bool) -> Callable[[UUID, Action], None]:
    """Return a function that signs and sends an action on a case."""

    recorded: dict[UUID, int] = {}

    def record(case_id: UUID, action: Action) -> None:
        if (position := recorded.get(case_id)) is None:
            version = present_version(client, case_id)
        else:  # the views follow the act before a moment later
            version = client.case(case_id, at_least=position).view.version
        acts = [(new_id(), action)]
        recorded[case_id] = send_together(client, url, case_id, version, acts, as_json)

    return record


def addition(
    document: ListedDocument, upload: UploadState, group: FieldGroup | None, belongs_to: UUID | None
) -> DocumentAdded:
    """Return the action that adds a copy of a document, as it was described."""
    described = document.document.model_copy(
        update={"sha256": upload.sha256, "size": upload.size, "media_type": upload.media_type}
    )
    return DocumentAdded.model_validate(
        {"acted_at": datetime.now(UTC), "belongs_to": belongs_to, field_of(group): described}
    )


def redacted(
    client: LedgerClient,
    document: ListedDocument,
    leave_out: str,
    title: str | None,
    group: FieldGroup | None,
    purpose: Purpose,
    basis: LegalBasis | None,
) -> DocumentAdded:
    """Return the action that adds a version of a document without some of its pages."""
    upload = client.redact_document(
        document.case_id, document.id, leave_out, purpose=purpose, basis=basis
    )
    added = addition(document, upload, group, document.belongs_to)
    content = added.model_dump(exclude_none=True)
    content |= {"redacts": document.id, "pages_left_out": leave_out}
    if title is not None:
        content[field_of(group)]["title"] = title
    return DocumentAdded.model_validate(content)


def move(
    client: LedgerClient,
    document: ListedDocument,
    to: UUID,
    group: FieldGroup | None,
    belongs_to: UUID | None,
    purpose: Purpose,
    basis: LegalBasis | None,
    record: Callable[[UUID, Action], None],
) -> None:
    """Add a document to another case, or under another field group, and annul where it was.

    A move that was stopped goes on: a document that the agency added to the other place already is
    not added again. ``record`` signs and sends an action on a case.
    """
    if not _is_added(client, document, to, group, purpose, basis):
        upload = client.copy_document(
            document.case_id, document.id, to, purpose=purpose, basis=basis
        )
        record(to, addition(document, upload, group, belongs_to))
    is_wrong_case = to != document.case_id
    record(
        document.case_id,
        Correction(
            acted_at=datetime.now(UTC),
            corrects=document.id,
            effect=CorrectionEffect.ANNULLED,
            reason=CorrectionReason.WRONG_CASE if is_wrong_case else CorrectionReason.ENTRY_ERROR,
        ),
    )


def _is_added(
    client: LedgerClient,
    document: ListedDocument,
    to: UUID,
    group: FieldGroup | None,
    purpose: Purpose,
    basis: LegalBasis | None,
) -> bool:
    """Return whether the agency added the document to the other place, as far as it may read it."""
    groups = () if group is None else (group,)
    try:
        there = client.documents(to, groups, purpose if groups else None, basis)
    except RefusedError:
        return False
    return any(
        one.case_id == to
        and one.agency == client.agency
        and one.group is group
        and one.id != document.id
        and one.document == document.document
        for one in there.documents
    )
