"""Pictures and metadata of documents, read by a locked process of their own each time."""

import io
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from api.client.schemas.case_documents import PICTURES, WITHOUT_METADATA, FileMetadata
from api.runtime.problem import problem
from api.sandbox import process
from api.sandbox.failures import Failure, FailureError
from api.services.document_copies import stored
from api.services.document_uploads import DocumentUploads
from ledger.procedure.protocol import Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.vault.documents.uploads import Upload

PICTURE_TYPE: Final = "image/jpeg"
_QUALITY: Final = 85
_SHOWN: Final = PICTURES | {"application/pdf"}
"""The media types that have a preview; the others are for download only."""
_REFUSALS: Final = {
    Failure.DAMAGED: Refusal(
        Ground.INVALID,
        "document-not-readable",
        "The file is damaged or cut, or has parts that this node does not read. It has no preview"
        " here; it can be downloaded as it is.",
    ),
    Failure.PASSWORD: Refusal(
        Ground.INVALID,
        "document-locked",
        "The file opens with a password alone. It has no preview here; it can be downloaded as it"
        " is.",
    ),
    Failure.TOO_LARGE: Refusal(
        Ground.INVALID,
        "document-too-complex",
        "Reading the file takes more memory or time than this node gives to one file. It has no"
        " preview here; it can be downloaded as it is.",
    ),
    Failure.NO_SUCH_PAGE: Refusal(
        Ground.UNKNOWN, "document-page", "The document has no page of this number.", "page"
    ),
    Failure.NOT_REMOVABLE: Refusal(
        Ground.INVALID,
        "metadata-not-removable",
        "The file has a digital signature, which a changed file would break, or it is stored in an"
        " unusual way. Remove the metadata with the program that made it, or keep them.",
    ),
}


class Preview(NamedTuple):
    """A picture of one page of a document."""

    pages: int
    """The number of pages of the document."""
    picture: bytes
    """A JPEG that this process made of plain pixels: nothing of the document itself is in it."""


def preview(content: Iterable[bytes], media_type: str | None, page: int) -> Preview:
    """Return a picture of a page, whose number begins at 1.

    Raises ``Refusal`` (``no-preview``, ``document-page``, ``document-not-readable``,
    ``document-locked``, ``document-too-complex``), and a problem (``no-isolation``).
    """
    from PIL import Image

    with _refusals(media_type) as shown:
        made = process.picture(content, shown, page)
    file = io.BytesIO()
    pixels = Image.frombytes("RGB", (made.width, made.height), made.rgb)
    pixels.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return Preview(made.pages, file.getvalue())


class UploadPreviews:
    """Pictures and metadata of an agency's own uploads, before any action has them.

    They are no reading: the agency sent the content itself. An upload that the node made of what it
    holds has none: each look at that is a reading, which needs the right and an entry of the access
    log.
    """

    def __init__(self, uploads: DocumentUploads) -> None:
        self._uploads = uploads

    def preview(
        self, agency: Agency, upload: Upload, page: int, *, is_read: bool = False
    ) -> Preview:
        """Return a picture of a page of an upload. Raises as :func:`preview` does.

        ``is_read``: an entry of the access log has this look at what the node made the upload of.
        """
        content = (
            self._uploads.content(agency, upload) if is_read else self._content(agency, upload)
        )
        return preview(content, upload.metadata.media_type, page)

    def metadata(self, agency: Agency, upload: Upload) -> FileMetadata:
        """Return the metadata of an upload. Raises as :func:`preview` does."""
        with _refusals(upload.metadata.media_type, WITHOUT_METADATA) as shown:
            found = process.metadata(self._content(agency, upload), shown)
        return FileMetadata(**dict(found), is_removable="signature" not in found.other)

    def without_metadata(self, agency: Agency, upload: Upload, protocol: Protocol) -> Upload:
        """Return an upload of the same file without its metadata.

        A picture itself is not changed, and keeps its orientation and colour profile. The first
        upload stays as it is. Raises ``Refusal`` as :func:`preview` does, as
        ``DocumentUploads.begin`` does, and (``metadata-not-removable``).
        """
        case_id = upload.place.case_id
        content = self._content(agency, upload)
        with (
            _refusals(upload.metadata.media_type, WITHOUT_METADATA) as shown,
            process.without_metadata(content, shown) as copy,
        ):
            return stored(
                self._uploads,
                agency,
                case_id,
                copy.size,
                copy.sha256,
                copy.content,
                protocol,
                of_node=False,
            )

    def _content(self, agency: Agency, upload: Upload) -> Iterator[bytes]:
        """Return the content of an upload that the agency sent.

        Raises ``Refusal`` (``upload-of-node``) for one that the node made.
        """
        if upload.metadata.is_of_node:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "upload-of-node",
                "The node made this upload of what it holds, so it is not shown here. Look at the"
                " document that it was made of, or at the new document once an action has it. A"
                " redacted version is shown for a purpose: name it.",
            )
        return self._uploads.content(agency, upload)


@contextmanager
def _refusals(media_type: str | None, read: Collection[str] = _SHOWN) -> Iterator[str]:
    """Give the media type, and turn a failure of the process into a refusal or a problem.

    ``read`` has the types that the process reads.
    """
    if media_type is None or media_type not in read:
        raise Refusal(
            Ground.INVALID,
            "no-preview",
            "Files of this type are for download only: they are not opened here.",
        )
    try:
        yield media_type
    except FailureError as error:
        refusal = _REFUSALS.get(error.failure)
        if refusal is None:
            raise problem(
                503,
                "Not available now",
                "no-isolation",
                "This node's system cannot lock a process that reads files, so none is read. Tell"
                " the operator.",
            ) from None
        raise Refusal(refusal.ground, refusal.rule, refusal.message, refusal.field) from None
