"""Send, read, approve, return and withdraw drafts of actions that two members sign."""

from uuid import UUID

from pydantic import BaseModel

from api.client.actions import ACCEPTED, ActionsClient
from api.client.schemas import Outcome, Receipt
from api.client.schemas.drafts import (
    DraftApproval,
    DraftDocument,
    DraftPage,
    DraftRemark,
    NewDraft,
    OpenedDraft,
)
from ledger.signing import approval, signed_action
from ledger.signing.sd_jwt import SdJwt

_JSON = {"Content-Type": "application/json"}


class DraftsClient(ActionsClient):
    """Works with the drafts of a member's agency, with the member's key."""

    def drafts(self) -> DraftPage:
        """Return the drafts of the agency, without what they say."""
        return self._get("/v1/drafts", DraftPage)

    def send_draft(
        self,
        signed: SdJwt | str,
        case_id: UUID,
        case_version: int,
        *,
        replaces: UUID | None = None,
    ) -> DraftDocument:
        """Send a signed action to wait for an approval. Raises ``RefusedError``."""
        new = NewDraft(signed=str(signed), case_version=case_version, replaces=replaces)
        response = self._json("POST", f"/v1/cases/{case_id}/drafts", new)
        return DraftDocument.model_validate_json(response)

    def open_draft(self, draft: UUID) -> OpenedDraft:
        """Return a draft with all that it says; the access log has the look."""
        response = self._request("POST", f"/v1/drafts/{draft}/reading")
        return OpenedDraft.model_validate_json(response.content)

    def approve_draft(self, draft: UUID, signed: str, case_version: int) -> Receipt | Outcome:
        """Approve a draft: sign over its exact text with this client's key, and record it.

        ``signed`` is the text that was read. Raises ``RefusedError``, and ``ValueError`` if the
        text is of another action than the draft.
        """
        if signed_action.read(signed_action.parse(signed)).id != draft:
            raise ValueError("the signed text is of another action than the draft")
        given = approval.sign(signed, agency=self.agency, key=self._key)
        return self.send_approval(draft, given, case_version)

    def send_approval(self, draft: UUID, given: str, case_version: int) -> Receipt | Outcome:
        """Record a draft with an approval that was signed before. Raises ``RefusedError``."""
        body = DraftApproval(approval=given, case_version=case_version)
        response = self._request(
            "POST",
            f"/v1/drafts/{draft}/approval",
            content=body.model_dump_json().encode(),
            headers=_JSON,
        )
        answer = Outcome if response.status_code == ACCEPTED else Receipt
        return answer.model_validate_json(response.content)

    def return_draft(self, draft: UUID, remark: str) -> DraftDocument:
        """Return a draft to its author. Raises ``RefusedError``."""
        body = DraftRemark(remark=remark)
        response = self._json("POST", f"/v1/drafts/{draft}/return", body)
        return DraftDocument.model_validate_json(response)

    def withdraw_draft(self, draft: UUID) -> None:
        """Withdraw a draft of one's own. Raises ``RefusedError``."""
        self._request("DELETE", f"/v1/drafts/{draft}")

    def _json(self, method: str, path: str, body: BaseModel) -> bytes:
        content = body.model_dump_json(exclude_none=True).encode()
        return self._request(method, path, content=content, headers=_JSON).content
