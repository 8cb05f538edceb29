"""Versions of documents without some of their pages, made by a locked process."""

from typing import Final

from rfc9457 import Problem

from api.runtime.problem import problem
from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from api.services.document_copies import stored
from api.services.document_uploads import DocumentUploads
from ledger.procedure.protocol import Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.uploads import Upload
from ledger.vocabulary.documents import page_ranges

_REFUSALS: Final = {
    Failure.NOT_REDACTABLE: Refusal(
        Ground.INVALID,
        "not-redactable",
        "Pages are left out of PDF and TIFF files alone. Make another version of this file"
        " yourself, and add it as a document of its own.",
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


def without_pages(
    uploads: DocumentUploads,
    agency: Agency,
    document: OpenedDocument,
    leave_out: str,
    protocol: Protocol,
) -> Upload:
    """Return an upload of an agency to a document's case, a PDF without some of its pages.

    The same pages left out of the same document give the same upload. Raises ``Refusal``
    (``not-redactable``, ``document-page``, ``nothing-left``, ``document-locked``,
    ``document-too-complex``, ``document-not-readable``), as :meth:`DocumentUploads.begin` does, a
    problem (``no-isolation``), and ``SealError`` if the content does not open.
    """
    place, media_type = document.place, document.metadata.media_type or ""
    content = document.part(0, place.size - 1)
    try:
        with process.without_pages(content, media_type, page_ranges(leave_out)) as made:
            return stored(
                uploads,
                agency,
                place.case_id,
                made.size,
                made.sha256,
                made.content,
                protocol,
                of_node=True,
            )
    except FailureError as error:
        refusal = _REFUSALS.get(error.failure)
        if refusal is None:
            raise not_isolated() from None
        raise Refusal(refusal.ground, refusal.rule, refusal.message, refusal.field) from None


def not_isolated() -> Problem:
    """Return the problem that this system cannot lock a process that reads files."""
    return problem(
        503,
        "Not available now",
        "no-isolation",
        "This node's system cannot lock a process that reads files, so none is read. Tell the"
        " operator.",
    )
