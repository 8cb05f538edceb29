"""Signed actions whose outcome a command never learned: kept, so that they can be sent again.

A file holds what the agency disclosed, in clear. It lies beside the agency's keys, its owner alone
may read it, and it is removed once the node's answer is there.
"""

from pathlib import Path
from uuid import UUID

from pydantic import BaseModel, ConfigDict, ValidationError

from api.client import Answered, LedgerClient
from ledger.signing.keys import write_private
from ledger.system.bounded_files import read_ordinary
from ledger.system.fsync import sync_directory


class UnsentAction(BaseModel):
    """An action as it was signed, and where it was to be recorded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action_id: UUID
    kind: str
    agency: str
    url: str
    case_id: UUID
    case_version: int
    signed: str
    """The SD-JWT with its disclosures."""

    def send(self, client: LedgerClient) -> Answered:
        """Record the action. Raises ``RefusedError``, ``WaitingError`` or a transport error."""
        return client.submit(self.signed, self.case_id, self.case_version)


class UnsentActions:
    """A directory with a file for each action that was signed and has no outcome yet."""

    def __init__(self, data_directory: Path) -> None:
        self._directory = data_directory / "unsent"

    def keep(self, action: UnsentAction) -> None:
        """Write the action's file, durable on return."""
        write_private(self._path(action.action_id), action.model_dump_json().encode())
        sync_directory(self._directory)

    def forget(self, action: UnsentAction) -> None:
        """Remove the action's file."""
        self._path(action.action_id).unlink(missing_ok=True)

    def has(self, action: UnsentAction) -> bool:
        """Return whether the action's file is here."""
        return self._path(action.action_id).is_file()

    def of(self, agency: str, url: str) -> list[UnsentAction]:
        """Return an agency's actions for one node, the first kept first.

        Raises ``ValueError`` naming a file that cannot be read.
        """
        files = sorted(self._directory.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        found = [_read(path) for path in files]
        return [action for action in found if (action.agency, action.url) == (agency, url)]

    def _path(self, action_id: UUID) -> Path:
        return self._directory / f"{action_id}.json"


def _read(path: Path) -> UnsentAction:
    try:
        return UnsentAction.model_validate_json(read_ordinary(path))
    except ValidationError:
        raise ValueError(f"{path} is no unsent action; move it away") from None
