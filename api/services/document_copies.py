"""Takes the content of a document in this node's vault for another upload, chunk by chunk.

The content does not leave the node: no agency has to download what it sends again.
"""

from collections.abc import Iterator
from uuid import UUID

from api.services.document_uploads import DocumentUploads
from ledger.procedure.protocol import Agency, Protocol
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.documents.uploads import Upload


def copied(
    uploads: DocumentUploads,
    agency: Agency,
    case_id: UUID,
    document: OpenedDocument,
    protocol: Protocol,
) -> Upload:
    """Return an upload of an agency to a case that has the content of an opened document.

    A copy that was stopped goes on where it was. Raises as :meth:`DocumentUploads.begin` does, and
    ``SealError`` if the content does not open.
    """
    size = document.place.size
    content = document.part(0, size - 1)
    return stored(
        uploads, agency, case_id, size, document.metadata.sha256, content, protocol, of_node=True
    )


def stored(
    uploads: DocumentUploads,
    agency: Agency,
    case_id: UUID,
    size: int,
    sha256: str,
    content: Iterator[bytes],
    protocol: Protocol,
    *,
    of_node: bool,
) -> Upload:
    """Return an upload that has a content, which is stored as it comes.

    ``of_node``: as for :meth:`DocumentUploads.begin`. An earlier one that was not finished goes on
    where it was. Raises as that method does.
    """
    upload = uploads.begin(agency, case_id, size, sha256, protocol, of_node=of_node)
    if upload.is_whole:
        return upload
    writer = uploads.writer(agency, case_id, upload.id, upload.received)
    writer.open()
    skipped = 0
    for part in content:
        rest = memoryview(part)[max(0, upload.received - skipped) :]
        skipped += len(part)
        while rest:
            rest = writer.fill(rest)
            if writer.is_full:
                writer.store()
    writer.store()
    return writer.settle()
