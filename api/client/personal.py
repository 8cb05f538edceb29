"""Open and release personal fields, and ask who opened them and when they are erased."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from uuid import UUID

from api.client.actions import ActionsClient
from api.client.schemas import (
    AuditedReadings,
    AuditRequest,
    AuditStanding,
    DestructionReading,
    DuplicateAssessment,
    DuplicateDocument,
    DuplicatePage,
    ErasedCase,
    ErasedPage,
    PersonalField,
    ReadingPage,
    ReadingRequest,
    ReadingResult,
    Receipt,
    RetainedCase,
    RetentionPage,
    SubjectAccessRequest,
)
from api.client.schemas.breach import BreachReport, BreachRequest
from api.client.schemas.webhooks import WebhookDocument, WebhookPage, WebhookReplay
from ledger.vocabulary.duplicates import Finding
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields


class PersonalDataClient(ActionsClient):
    """Reads, releases and accounts for the personal data that the agency's country holds."""

    def read(
        self,
        case_id: UUID,
        groups: Iterable[FieldGroup],
        purpose: Purpose,
        basis: LegalBasis | None = None,
    ) -> ReadingResult:
        """Open personal fields; granted or refused, it is written down. Raises ``RefusedError``."""
        asked = ReadingRequest(groups=tuple(groups), purpose=purpose, basis=basis)
        response = self._request(
            "POST",
            f"/v1/cases/{case_id}/readings",
            content=asked.model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return ReadingResult.model_validate_json(response.content)

    def review_destruction(self, case_id: UUID, proposal: UUID) -> DestructionReading:
        """Open what a proposed destruction would remove. Raises ``RefusedError``."""
        path = f"/v1/cases/{case_id}/destructions/{proposal}/readings"
        return DestructionReading.model_validate_json(self._request("POST", path).content)

    def audit_standing(self) -> AuditStanding:
        """Return how far the ledger has fixed the access log. Raises ``RefusedError``."""
        return AuditStanding.model_validate_json(self._request("GET", "/v1/audit").content)

    def audit(self, asked: AuditRequest) -> AuditedReadings:
        """List entries of the access log across cases; the look is written down itself.

        Raises ``RefusedError``.
        """
        response = self._request(
            "POST",
            "/v1/audit/readings",
            content=asked.model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return AuditedReadings.model_validate_json(response.content)

    def breach(self, asked: BreachRequest) -> BreachReport:
        """Return what a suspect opened and signed; the look is written down itself.

        Raises ``RefusedError``.
        """
        response = self._request(
            "POST",
            "/v1/audit/breaches",
            content=asked.model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return BreachReport.model_validate_json(response.content)

    def webhooks(self) -> WebhookPage:
        """Return the agency's webhooks for cases. Raises ``RefusedError``."""
        return self._get("/v1/webhooks", WebhookPage)

    def replay_webhook(self, webhook: UUID, after: int) -> WebhookDocument:
        """Have everything after a position sent again. Raises ``RefusedError``."""
        response = self._request(
            "POST",
            f"/v1/webhooks/{webhook}/replay",
            content=WebhookReplay(after=after).model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return WebhookDocument.model_validate_json(response.content)

    def release(
        self,
        case_id: UUID,
        case_version: int,
        fields: Iterable[PersonalField],
        *,
        recipient: str,
        purpose: Purpose,
        basis: LegalBasis,
        basis_action: UUID,
        request: UUID | None = None,
    ) -> Receipt:
        """Release fields that were read before to another country. Raises ``RefusedError``."""
        named = tuple(fields)
        digests: dict[UUID, list[str]] = {}
        for field in named:
            digests.setdefault(field.action_id, []).append(field.digest)
        released = InformationReleased(
            acted_at=datetime.now(UTC),
            recipient=recipient,
            request=request,
            groups=tuple(dict.fromkeys(field.group for field in named)),
            purpose=purpose,
            basis=basis,
            basis_action=basis_action,
            released=tuple(
                ReleasedFields(action=action, digests=tuple(of_action))
                for action, of_action in digests.items()
            ),
        )
        return self.append(released, case_id, case_version)

    def subject_access(self, case_id: UUID, language: str, *, pdf: bool = False) -> bytes:
        """Return all that is held on a person, for that person: JSON, or a PDF."""
        response = self._request(
            "POST",
            f"/v1/cases/{case_id}/subject-access",
            params={"format": "pdf" if pdf else "json"},
            content=SubjectAccessRequest.model_validate({"language": language}).model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return response.content

    def readings(self, case_id: UUID) -> ReadingPage:
        """Return which readers asked for the person's personal fields in this agency's country."""
        return self._get(f"/v1/cases/{case_id}/readings", ReadingPage)

    def retention(
        self, *, within_days: int = 90, case_id: UUID | None = None, page: int = 200
    ) -> Iterator[RetainedCase]:
        """Yield closed cases whose period of retention ends, the first first, or one of them."""
        params = {"within_days": within_days, "limit": page, "case_id": case_id}
        for found in self._pages("/v1/retention", RetentionPage, params, "after"):
            yield from found.cases

    def erased_cases(self, *, page: int = 200) -> Iterator[ErasedCase]:
        """Yield the cases whose data this coordinator's country erased, the last first."""
        for found in self._pages("/v1/retention/erased", ErasedPage, {"limit": page}, "before"):
            yield from found.cases

    def duplicates(self, limit: int = 100) -> DuplicatePage:
        """Return the cases that may be of a person whose case another country opened too."""
        return self._get("/v1/duplicates", DuplicatePage, {"limit": limit})

    def assess_duplicate(self, duplicate: UUID, finding: Finding) -> DuplicateDocument:
        """Say whether two cases are one person's. Raises ``RefusedError``."""
        response = self._request(
            "POST",
            f"/v1/duplicates/{duplicate}/assessment",
            content=DuplicateAssessment(finding=finding).model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return DuplicateDocument.model_validate_json(response.content)
