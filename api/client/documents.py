"""Uploads of documents to the agency's own node, resumed after a lost answer."""

import hashlib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from api.client.actions import ActionsClient
from api.client.errors import RefusedError
from api.client.schemas.case_documents import UploadState

_PART_BYTES = 1024 * 1024
"""One request brings so much: a slow line is done with it within the bound of an answer's time."""
_HASHED_AT_ONCE = 1024 * 1024
_MOST_MOVES = 20
"""So often another request may have moved the offset before the client gives up."""
Progress = Callable[[int, int], None]
"""Gets how many bytes are durable at the node, and how many there are."""


class DocumentsClient(ActionsClient):
    """Sends documents to the vault of the agency's country."""

    def upload(
        self, case_id: UUID, file: Path, *, progress: Progress = lambda _, __: None
    ) -> UploadState:
        """Upload a file for an action on this case, or go on with an upload of it.

        An upload that is whole already is returned at once. Raises ``RefusedError``.
        """
        with file.open("rb") as content:
            size, digest = _measured(content)
            metadata = b64encode(digest.encode()).decode("ascii")
            headers = {
                "Tus-Resumable": "1.0.0",
                "Upload-Length": str(size),
                "Upload-Metadata": f"sha256 {metadata}",
            }
            path = f"/v1/cases/{case_id}/documents/uploads"
            begun = self._request("POST", path, headers=headers)
            state = UploadState.model_validate_json(begun.content)
            path, moves = f"{path}/{state.id}", 0
            progress(state.received, size)
            while not state.is_whole:
                content.seek(state.received)
                part = content.read(_PART_BYTES)
                try:
                    self._send_part(path, state.received, part)
                except RefusedError as error:
                    moves += 1
                    if error.problem.rule != "upload-offset" or moves > _MOST_MOVES:
                        raise
                state = self._get(path, UploadState)
                progress(state.received, size)
        return state

    def _send_part(self, path: str, offset: int, part: bytes) -> None:
        headers = {
            "Tus-Resumable": "1.0.0",
            "Content-Type": "application/offset+octet-stream",
            "Upload-Offset": str(offset),
        }
        self._request("PATCH", path, headers=headers, content=part)


def _measured(content: BinaryIO) -> tuple[int, str]:
    """Return the size and the SHA-256 of a file, in hexadecimal, without reading it at once."""
    digest = hashlib.sha256()
    while part := content.read(_HASHED_AT_ONCE):
        digest.update(part)
    return content.tell(), digest.hexdigest()
