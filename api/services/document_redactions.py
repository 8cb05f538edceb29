"""Redacted versions of documents: made by a locked process, or sent and then compared by it.

An upload that is such a version has a note of its original, and of the pages that it leaves out and
marks. The action that adds it must say the same
(:func:`api.services.named_documents.named_documents`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from rfc9457 import Problem

from api.client.schemas.case_documents import PageMark, VersionComparison
from api.runtime.problem import problem
from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from api.services.document_copies import stored
from api.services.document_uploads import DocumentUploads
from ledger.procedure.protocol import Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.uploads import Upload, VersionOf
from ledger.vocabulary.documents import VersionClaim, number_of_pages, page_ranges, ranges_of

T = TypeVar("T")
_NOT_COMPARABLE: Final = frozenset(
    {Failure.NOT_REDACTABLE, Failure.PASSWORD, Failure.TOO_LARGE, Failure.DAMAGED}
)
"""Of such a file no page can be compared. The version says so: it does not tell how many pages its
original has."""
_REFUSALS: Final = {
    Failure.NOT_REDACTABLE: Refusal(
        Ground.INVALID,
        "not-redactable",
        "The node hides pages and parts of pages of PDF files and pictures alone. Make another"
        " version of this file yourself, and upload it as the version.",
    ),
    Failure.NO_SUCH_PAGE: Refusal(
        Ground.INVALID,
        "document-page",
        "The document has no page of such a number. Name pages that it has, such as 2,5-7.",
        "leave_out",
    ),
    Failure.NOTHING_LEFT: Refusal(
        Ground.INVALID,
        "nothing-left",
        "Every page would be left out. Keep a page.",
        "leave_out",
    ),
    Failure.PASSWORD: Refusal(
        Ground.INVALID,
        "document-locked",
        "The file opens with a password alone, so no page of it can be left out here.",
    ),
    Failure.TOO_LARGE: Refusal(
        Ground.INVALID,
        "document-too-complex",
        "Reading the file takes more memory or time than this node gives to one file.",
    ),
    Failure.DAMAGED: Refusal(
        Ground.INVALID,
        "document-not-readable",
        "The file is damaged or cut, or has parts that this node does not read, so no page of it"
        " can be left out here.",
    ),
}


def redacted(
    uploads: DocumentUploads,
    agency: Agency,
    document: OpenedDocument,
    leave_out: str | None,
    marks: Sequence[PageMark],
    protocol: Protocol,
) -> Upload:
    """Return an upload of an agency to a document's case, a PDF without what is hidden.

    The same pages and marks of the same document give the same upload. Raises ``Refusal``
    (``not-redactable``, ``document-page``, ``nothing-left``, ``document-locked``,
    ``document-too-complex``, ``document-not-readable``), as :meth:`DocumentUploads.begin` does, a
    problem (``no-isolation``), and ``SealError`` if the content does not open.
    """
    place, media_type = document.place, document.metadata.media_type or ""
    content = document.part(0, place.size - 1)
    left_out = page_ranges(leave_out) if leave_out else ()
    rectangles = [(one.page, one.left, one.top, one.width, one.height) for one in marks]

    def made() -> Upload:
        most = protocol.document_limits.max_bytes
        with process.redacted(content, media_type, left_out, rectangles, most) as version:
            upload = stored(
                uploads,
                agency,
                place.case_id,
                version.size,
                version.sha256,
                version.content,
                protocol,
                of_node=True,
            )
        gone = {page for first, last in left_out for page in range(first, last + 1)}
        marked = ranges_of(one.page for one in marks if one.page not in gone)
        claim = VersionClaim(version.pages, leave_out, marked)
        return uploads.note_version(agency, upload, _version(document, claim))

    return _refused(made)


def compared_upload(
    uploads: DocumentUploads,
    agency: Agency,
    upload: Upload,
    document: OpenedDocument,
    claim: VersionClaim,
) -> Upload:
    """Return an agency's own upload with a note that it is a version of a document.

    Where the types of both files allow it, the pages that are neither left out nor marked were
    compared, and look alike. Raises ``Refusal`` (``version-pages``, ``version-differs``,
    ``document-page``, ``nothing-left``), and as :func:`redacted` does.
    """
    try:
        found = _compared(
            document,
            uploads.content(agency, upload),
            upload.metadata.media_type or "",
            claim,
        )
    except FailureError as error:
        if error.failure not in _NOT_COMPARABLE:
            raise _refusal(error) from None
        return uploads.note_version(agency, upload, _version(document, claim))
    claim = claim._replace(pages_of_original=found.pages_of_original)
    if found.pages != claim.pages:
        raise Refusal(
            Ground.INVALID,
            "version-pages",
            f"The document has {found.pages_of_original} pages and the version {found.pages}:"
            f" without the pages that are left out it must have {claim.pages}. Name the pages that"
            " the version leaves out.",
            "leave_out",
        )
    if found.differing:
        raise Refusal(
            Ground.INVALID,
            "version-differs",
            f"These pages look different in the version: {ranges_of(found.differing)}. Name them"
            " as pages of which the version hides a part, or let the node make the version.",
            "pages_marked",
        )
    return uploads.note_version(agency, upload, _version(document, claim))


def comparison(
    version: OpenedDocument, original: OpenedDocument | None, claim: VersionClaim
) -> VersionComparison:
    """Return what is found of a version that an action has, beside what the action says of it.

    Without the original, only the number of its own pages is. Raises ``Refusal``
    (``not-redactable``, ``document-locked``, ``document-too-complex``, ``document-not-readable``),
    a problem (``no-isolation``), and ``SealError`` if a content does not open.
    """
    if original is None:
        pages = _refused(lambda: process.picture(_whole(version), _type(version), 1)).pages
        agrees = claim.pages in (None, pages)
        return VersionComparison(
            pages=pages,
            pages_said=claim.pages,
            is_compared=False,
            pages_of_original=None,
            differing=(),
            agrees=agrees,
        )
    found = _refused(lambda: _compared(original, _whole(version), _type(version), claim))
    expected = found.pages_of_original - number_of_pages(claim.pages_left_out)
    return VersionComparison(
        pages=found.pages,
        pages_said=claim.pages,
        is_compared=True,
        pages_of_original=found.pages_of_original,
        differing=tuple(found.differing),
        agrees=not found.differing
        and found.pages == expected
        and claim.pages_of_original in (None, found.pages_of_original),
    )


def _version(document: OpenedDocument, claim: VersionClaim) -> VersionOf:
    if document.reading.concerning is None:
        raise RuntimeError("the reading names no document")
    return VersionOf(document=document.reading.concerning, **claim._asdict())


def _compared(
    original: OpenedDocument, content: Iterable[bytes], media_type: str, claim: VersionClaim
) -> process.Comparison:
    """Compare a content with an original. Raises ``FailureError``."""
    left_out, marked = (
        page_ranges(one) if one else () for one in (claim.pages_left_out, claim.pages_marked)
    )
    return process.compared(
        (original.place.size, _whole(original), _type(original)),
        (content, media_type),
        left_out,
        marked,
    )


def _whole(document: OpenedDocument) -> Iterable[bytes]:
    return document.part(0, document.place.size - 1)


def _type(document: OpenedDocument) -> str:
    return document.metadata.media_type or ""


def _refused(step: Callable[[], T]) -> T:
    """Do a step, and turn a failure of the locked process into a refusal or a problem."""
    try:
        return step()
    except FailureError as error:
        raise _refusal(error) from None


def _refusal(error: FailureError) -> Refusal | Problem:
    refusal = _REFUSALS.get(error.failure)
    if refusal is None:
        return not_isolated()
    return Refusal(refusal.ground, refusal.rule, refusal.message, refusal.field)


def not_isolated() -> Problem:
    """Return the problem that this system cannot lock a process that reads files."""
    return problem(
        503,
        "Not available now",
        "no-isolation",
        "This node's system cannot lock a process that reads files, so none is read. Tell the"
        " operator.",
    )
