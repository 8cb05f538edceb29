"""Read the protocol, its agencies and keys, and whether the node is ready."""

from pydantic import TypeAdapter

from api.client.connection import Connection
from api.client.schemas import (
    AbsenceReport,
    AgencyProposalDocument,
    AgencyWithKeys,
    AmendmentDocument,
    ContactPointDocument,
    KeyProposalDocument,
    PartyDocument,
    ProtocolDocument,
    ProtocolVersionDocument,
    Readiness,
)


class ProtocolClient(Connection):
    """Reads what the parties agreed on, and how the node stands."""

    def protocol(self) -> ProtocolDocument:
        """Return the version of the protocol that is in force today."""
        return self._get("/v1/protocol", ProtocolDocument)

    def protocol_versions(self) -> list[ProtocolVersionDocument]:
        """Return every version that the parties adopted, the first one first, with its text."""
        response = self._request("GET", "/v1/protocol/versions")
        return TypeAdapter(list[ProtocolVersionDocument]).validate_json(response.content)

    def parties(self) -> list[PartyDocument]:
        """Return every party, since when it is one and until when."""
        response = self._request("GET", "/v1/protocol/parties")
        return TypeAdapter(list[PartyDocument]).validate_json(response.content)

    def amendments(self) -> list[AmendmentDocument]:
        """Return every text that was proposed, the first one first, whatever its outcome."""
        response = self._request("GET", "/v1/protocol/amendments")
        return TypeAdapter(list[AmendmentDocument]).validate_json(response.content)

    def agencies(self) -> list[AgencyWithKeys]:
        """Return every agency of the protocol, with its keys."""
        response = self._request("GET", "/v1/agencies")
        return TypeAdapter(list[AgencyWithKeys]).validate_json(response.content)

    def agency_proposals(self) -> list[AgencyProposalDocument]:
        """Return the changes of oversight bodies that wait for another party."""
        response = self._request("GET", "/v1/agency-proposals")
        return TypeAdapter(list[AgencyProposalDocument]).validate_json(response.content)

    def contact_points(self) -> list[ContactPointDocument]:
        """Return every contact point that the parties named, with those that ended."""
        response = self._request("GET", "/v1/contact-points")
        return TypeAdapter(list[ContactPointDocument]).validate_json(response.content)

    def key_proposals(self) -> list[KeyProposalDocument]:
        """Return the changes of keys that wait for another party."""
        response = self._request("GET", "/v1/key-proposals")
        return TypeAdapter(list[KeyProposalDocument]).validate_json(response.content)

    def absence(self, party: str) -> AbsenceReport:
        """Return a party's announced absences, and the decisions and publications without it."""
        return self._get(f"/v1/parties/{party}/absence", AbsenceReport)

    def ready(self) -> Readiness:
        """Return the node's readiness.

        Raises ``RefusedError`` if the node cannot serve yet.
        """
        return self._get("/ready", Readiness)
