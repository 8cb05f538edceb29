"""Add a copy of a document: in the right place, or without some of its content."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from api.cli.steps.sending import present_version, send_together
from api.client import LedgerClient, RefusedError
from api.client.schemas.case_documents import (
    ListedDocument,
    PageMark,
    UploadState,
    VersionComparison,
)
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import Correction
from ledger.vocabulary.documents import DocumentAdded, field_of, ranges_of
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


class Hidden(NamedTuple):
    """The pages and parts that a redacted version hides of its original."""

    leave_out: str | None
    """Pages, such as ``2,5-7``."""
    marks: Sequence[PageMark] = ()
    own: Path | None = None
    """A version that the agency made itself."""
    pages_marked: str | None = None
    """The pages of which that version hides a part."""


def page_mark(text: str) -> PageMark:
    """Return a mark of ``PAGE:LEFT,TOP,WIDTH,HEIGHT`` in percent. Raises ``ValueError``."""
    found = re.fullmatch(r"(\d+):([\d.]+),([\d.]+),([\d.]+),([\d.]+)", text)
    if found is None:
        raise ValueError(
            f"{text} is no mark: write PAGE:LEFT,TOP,WIDTH,HEIGHT, such as 1:10,20,40,3"
        )
    left, top, width, height = (round(100 * float(one)) for one in found.groups()[1:])
    return PageMark(page=int(found[1]), left=left, top=top, width=width, height=height)


def told_comparison(found: VersionComparison) -> Iterator[str]:
    """Yield lines on what a node found of a redacted version."""
    yield f"The version has {found.pages} pages."
    if found.pages_said is not None and found.pages_said != found.pages:
        yield f"By what its action says it has {found.pages_said}."
    if not found.is_compared:
        yield "This node does not have the original, so no page is compared."
        return
    yield f"The original has {found.pages_of_original} pages."
    if found.differing:
        pages = ranges_of(found.differing)
        yield f"Said to be unchanged, and different: pages {pages} of the original."
    elif found.agrees:
        yield "Each page that is said to be unchanged looks as in the original."
    else:
        yield "The numbers of pages do not agree with what the action says."


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
    hidden: Hidden,
    title: str | None,
    group: FieldGroup | None,
    purpose: Purpose,
    basis: LegalBasis | None,
) -> DocumentAdded:
    """Return the action that adds a version of a document without what is hidden.

    Raises ``ValueError`` if the upload is no version of the document, and without a title where the
    version gets another field group.
    """
    if title is None and group is not document.group:
        raise ValueError(
            "others may read the version than the document, whose title may tell what is hidden:"
            " give the version's with --title"
        )
    case, action = document.case_id, document.id
    if hidden.own is None:
        upload = client.redact_document(
            case, action, hidden.leave_out, hidden.marks, purpose=purpose, basis=basis
        )
    else:
        sent = client.upload(case, hidden.own)
        upload = client.redacted_upload(
            case,
            action,
            sent.id,
            hidden.leave_out,
            hidden.pages_marked,
            purpose=purpose,
            basis=basis,
        )
    if upload.version_of is None:
        raise ValueError("the node runs an earlier program: update it")
    added = addition(document, upload, group, document.belongs_to)
    content = added.model_dump(exclude_none=True) | {"redacts": document.id}
    content |= upload.version_of.model_dump(exclude={"document"}, exclude_none=True)
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
