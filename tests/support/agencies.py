"""Agencies with keys of their own, for tests that sign."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from joserfc.jwk import OKPKey

from ledger.application import Ledger
from ledger.procedure.amendments import text_of
from ledger.procedure.protocol import (
    COORDINATOR,
    KeyChange,
    Protocol,
    shipped_protocol,
    with_assumptions_adopted,
)
from ledger.signing import keys, signed_action
from ledger.signing.key_possession import grant_of, request_of
from ledger.signing.sd_jwt import SdJwt
from ledger.vocabulary import Action
from ledger.vocabulary.registration import (
    KeyChangeConfirmed,
    KeyGrant,
    KeyRegistered,
    ProtocolAdopted,
)

PAST = datetime(2025, 1, 1, tzinfo=UTC)


def adopted_protocol() -> Protocol:
    """Return the protocol that ships, whose parties adopted its assumed deadlines.

    A case may be closed for any reason, as tests of closed cases do at once.
    """
    without = {"closings": (), "withdrawal": None}
    return with_assumptions_adopted(shipped_protocol().model_copy(update=without))


@dataclass
class Agencies:
    """A key for every agency of a protocol."""

    protocol: Protocol = field(default_factory=adopted_protocol)
    keys: dict[str, OKPKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for agency in self.protocol.agencies:
            self.keys.setdefault(agency.id, keys.generate())

    def sign(
        self, agency: str, action: Action, case_id: UUID | None, action_id: UUID | None = None
    ) -> SdJwt:
        return signed_action.sign(
            action,
            agency=agency,
            key=self.keys[agency],
            protocol=self.protocol.id,
            case_id=case_id,
            action_id=action_id or uuid4(),
        )

    def grant(self, agency: str, key: OKPKey | None = None) -> KeyGrant:
        return self.grant_between(agency, PAST, datetime.now(UTC) + timedelta(days=365), key)

    def grant_between(
        self, agency: str, begins: datetime, ends: datetime, key: OKPKey | None = None
    ) -> KeyGrant:
        request = request_of(key or self.keys[agency], protocol=self.protocol.id, agency=agency)
        return grant_of(request, valid_from=begins, valid_until=ends)

    def adoption(self) -> SdJwt:
        coordinators = [a.id for a in self.protocol.agencies if a.role == COORDINATOR]
        adopted = ProtocolAdopted(
            acted_at=PAST,
            protocol=text_of(self.protocol),
            keys=tuple(self.grant(c) for c in coordinators),
        )
        return self.sign(coordinators[0], adopted, None)

    def begin(self, ledger: Ledger) -> None:
        """Adopt the protocol, and register every agency's key."""
        for signed in (self.adoption(), *self.registrations()):
            ledger.append_to_registry(signed_action.read(signed))

    def registrations(self) -> list[SdJwt]:
        """Every agency's key, each oversight body's confirmed by another country's coordinator."""
        signed = []
        for agency in self.protocol.agencies:
            if agency.role == COORDINATOR:
                continue
            own, other = self.coordinators_for(agency.id)
            registered = KeyRegistered(acted_at=PAST, grant=self.grant(agency.id))
            signed.append(self.sign(own, registered, None))
            if self.protocol.confirming_roles(agency.role, KeyChange.REGISTRATION):
                signed.append(self.confirmation(other, signed[-1]))
        return signed

    def confirmation(self, coordinator: str, of: SdJwt) -> SdJwt:
        """A coordinator's confirmation of a change of a key."""
        confirmed = KeyChangeConfirmed(acted_at=PAST, proposal=UUID(of.payload["jti"]))
        return self.sign(coordinator, confirmed, None)

    def coordinators_for(self, agency: str) -> tuple[str, str]:
        """The coordinator of an agency's country, and one of another country."""
        party = self.protocol.agencies_by_id[agency].party
        every = [a for a in self.protocol.agencies if a.role == COORDINATOR]
        own = next(a.id for a in every if a.party == party)
        return own, next(a.id for a in every if a.party != party)
