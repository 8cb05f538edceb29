"""Find cases, and keep the agency's own file numbers of them."""

from collections.abc import Iterable
from uuid import UUID

from api.client.connection import Connection
from api.client.schemas.finding import (
    FileNumberDocument,
    FileNumberList,
    FileNumberText,
    SearchRequest,
    SearchResult,
)
from ledger.vocabulary.picklists import Purpose

_AT_ONCE = 100


class FindingClient(Connection):
    """Searches for cases, and sets file numbers."""

    def search(self, text: str, purpose: Purpose | None = None) -> SearchResult:
        """Return the cases that a text means. A person is searched for with a purpose alone.

        Raises ``RefusedError``.
        """
        asked = SearchRequest(text=text, purpose=purpose)
        answer = self._send_document("/v1/searches", asked)
        return SearchResult.model_validate_json(answer.content)

    def file_numbers(self, case_ids: Iterable[UUID]) -> list[FileNumberDocument]:
        """Return the file numbers of some cases. Raises ``RefusedError``."""
        found: list[FileNumberDocument] = []
        asked = [str(case_id) for case_id in case_ids]
        for first in range(0, len(asked), _AT_ONCE):
            params = {"case_id": asked[first : first + _AT_ONCE]}
            found += self._get("/v1/file-numbers", FileNumberList, params).numbers
        return found

    def set_file_number(self, case_id: UUID, number: str) -> FileNumberDocument:
        """Give a case the agency's own number. Raises ``RefusedError``."""
        answer = self._request(
            "PUT",
            f"/v1/cases/{case_id}/file-number",
            content=FileNumberText(number=number).model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return FileNumberDocument.model_validate_json(answer.content)

    def remove_file_number(self, case_id: UUID) -> None:
        """Take the agency's own number from a case. Raises ``RefusedError``."""
        self._request("DELETE", f"/v1/cases/{case_id}/file-number")
