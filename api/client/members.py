"""Read and manage the members of agencies, and hand in their keys."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, TypeAdapter

from api.client.connection import Connection
from api.client.schemas.assignments import (
    AssignmentDocument,
    AssignmentInput,
    HandedOver,
    HandOver,
)
from api.client.schemas.members import (
    AskedKey,
    Invitation,
    MemberDocument,
    MemberHistory,
    MemberInput,
    NewMember,
)
from ledger.vocabulary.registration import KeyRequest

_JSON = {"Content-Type": "application/json"}


class MembersClient(Connection):
    """Reads who works for an agency, and adds, changes and disables them."""

    def members(self, agency: str | None = None) -> list[MemberDocument]:
        """Return the members of the caller's agency; to a coordinator, of the country's."""
        params = {} if agency is None else {"agency": agency}
        response = self._request("GET", "/v1/members", params=params)
        return TypeAdapter(list[MemberDocument]).validate_json(response.content)

    def member(self, member: UUID) -> MemberHistory:
        """Return a member, with who changed what and when."""
        return self._get(f"/v1/members/{member}", MemberHistory)

    def add_member(self, new: NewMember) -> MemberDocument:
        """Add a member to an agency."""
        return self._member("POST", "/v1/members", new)

    def change_member(self, member: UUID, given: MemberInput) -> MemberDocument:
        """Give a member another name or position, or make the member a head or none."""
        return self._member("PUT", f"/v1/members/{member}", given)

    def disable_member(self, member: UUID) -> MemberDocument:
        """Disable a member at once, and return the member with the keys to be revoked."""
        return self._member("POST", f"/v1/members/{member}/disabled")

    def enable_member(self, member: UUID) -> MemberDocument:
        """Let a disabled member in again."""
        return self._member("DELETE", f"/v1/members/{member}/disabled")

    def erase_member(self, member: UUID) -> MemberDocument:
        """Erase the name of a disabled member."""
        return self._member("DELETE", f"/v1/members/{member}")

    def invite_member(self, member: UUID) -> Invitation:
        """Make a link by which the member's browser hands in a key."""
        response = self._request("POST", f"/v1/members/{member}/invitation")
        return Invitation.model_validate_json(response.content)

    def ask_for_key(self, member: UUID, request: KeyRequest) -> MemberDocument:
        """Hand in another key, as the member."""
        return self._member("POST", f"/v1/members/{member}/asked-keys", request)

    def asked_keys(self) -> list[AskedKey]:
        """Return the members' keys that wait for the coordinator to register them."""
        response = self._request("GET", "/v1/asked-keys")
        return TypeAdapter(list[AskedKey]).validate_json(response.content)

    def drop_asked_key(self, key_id: str) -> None:
        """Drop a key that waits, without registering it."""
        self._request("DELETE", f"/v1/asked-keys/{key_id}")

    def assignments(self, case_ids: Sequence[UUID]) -> list[AssignmentDocument]:
        """Return to whom the own agency assigned some cases."""
        params = {"case_id": [str(one) for one in case_ids]}
        response = self._request("GET", "/v1/assignments", params=params)
        return TypeAdapter(list[AssignmentDocument]).validate_json(response.content)

    def assign(
        self,
        case_id: UUID,
        member: UUID,
        deputy: UUID | None = None,
        *,
        expected: UUID | Literal["nobody"] | None = None,
    ) -> AssignmentDocument:
        """Assign a case to a member of the own agency, if ``expected`` still has it.

        Without ``expected`` the caller assigns it, whoever has it.
        """
        given = AssignmentInput(member=member, deputy=deputy, expected=expected)
        content = given.model_dump_json(exclude_none=True)
        path = f"/v1/cases/{case_id}/assignment"
        response = self._request("PUT", path, content=content, headers=_JSON)
        return AssignmentDocument.model_validate_json(response.content)

    def unassign(self, case_id: UUID) -> None:
        """Take the assignment of a case back."""
        self._request("DELETE", f"/v1/cases/{case_id}/assignment")

    def hand_over(self, member: UUID, to: UUID) -> int:
        """Give all cases of a member to another, and return how many there were."""
        response = self._send_document(f"/v1/members/{member}/hand-over", HandOver(to=to))
        return HandedOver.model_validate_json(response.content).cases

    def _member(self, method: str, path: str, document: BaseModel | None = None) -> MemberDocument:
        if document is None:
            response = self._request(method, path)
        else:
            content = document.model_dump_json()
            response = self._request(method, path, content=content, headers=_JSON)
        return MemberDocument.model_validate_json(response.content)
