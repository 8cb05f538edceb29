"""Tells what a file that is sent tells of its origin: place, time, camera, author."""

from collections.abc import Callable, Iterator
from uuid import UUID

from rich.markup import escape

from api.cli.output import err
from api.client import LedgerClient
from api.client.errors import RefusedError
from api.client.schemas.case_documents import (
    PICTURES,
    STAYING,
    FileMetadata,
    UploadState,
)

_UNREADABLE = ("document-not-readable", "document-locked", "document-too-complex", "no-preview")


def metadata_teller(
    client: LedgerClient, case_id: UUID, *, keep: bool, as_json: bool
) -> Callable[[UploadState], None]:
    """Return a function that prints the metadata of an upload, and whether they are sent."""

    def tell(state: UploadState) -> None:
        if not as_json:
            _tell(client, case_id, state, keep=keep)

    return tell


def _tell(client: LedgerClient, case_id: UUID, state: UploadState, *, keep: bool) -> None:
    """Print the metadata of an upload, and whether they are sent.

    Nothing is printed of a file without metadata, or of one that the node cannot read. Raises
    ``RefusedError`` for a picture whose metadata cannot be read, unless they are kept.
    """
    try:
        found = client.metadata(case_id, state.id)
    except RefusedError as refused:
        can_go_on = keep or state.media_type not in PICTURES  # a picture is not sent as it is
        if can_go_on and refused.problem.rule in _UNREADABLE:
            return
        raise
    if not found.carries_any:
        return
    is_removed = found.is_removable and not keep
    err.print("The file has metadata, which are removed:" if is_removed else
              "The file has metadata, which are sent with it:")  # fmt: skip
    for line in metadata_lines(found):
        err.print(f"  {escape(line)}", soft_wrap=True)
    if not is_removed and not keep:
        err.print("The file is signed, so the node does not change it. Remove them with the program"
                  " that made the file, if nobody needs them.")  # fmt: skip
    elif is_removed and (stays := sorted(STAYING.intersection(found.other))):
        err.print(f"These stay in the file: {', '.join(stays)}.")


def metadata_lines(found: FileMetadata) -> Iterator[str]:
    """Yield a line for each of the metadata that there are."""
    if found.latitude is not None and found.longitude is not None:
        yield f"place: {found.latitude:.6f}, {found.longitude:.6f} (latitude, longitude)"
    for name in (
        "made_at",
        "camera",
        "serial_number",
        "author",
        "organisation",
        "title",
        "program",
    ):
        value = getattr(found, name)
        if value is not None:
            yield f"{name.replace('_', ' ')}: {value}"
    if found.other:
        yield "parts: " + ", ".join(one.replace("_", " ") for one in found.other)
