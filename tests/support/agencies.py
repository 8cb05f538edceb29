"""Agencies with keys of their own, for tests that sign."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from joserfc.jwk import OKPKey

from ledger import keys, signing
from ledger.application import Ledger
from ledger.protocol import COORDINATOR, Protocol, shipped_protocol
from ledger.sd_jwt import SdJwt
from ledger.vocabulary import Action
from ledger.vocabulary.registration import KeyGrant, KeyRegistered, ProtocolAdopted

PAST = datetime(2025, 1, 1, tzinfo=UTC)


@dataclass
class Agencies:
    """A key for every agency of a protocol."""

    protocol: Protocol = field(default_factory=shipped_protocol)
    keys: dict[str, OKPKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for agency in self.protocol.agencies:
            self.keys.setdefault(agency.id, keys.generate())

    def sign(
        self, agency: str, action: Action, case_id: UUID | None, action_id: UUID | None = None
    ) -> SdJwt:
        return signing.sign(
            action,
            agency=agency,
            key=self.keys[agency],
            protocol=self.protocol.id,
            case_id=case_id,
            action_id=action_id or uuid4(),
        )

    def grant(self, agency: str, key: OKPKey | None = None) -> KeyGrant:
        return KeyGrant(
            agency=agency,
            key=keys.public_part(key or self.keys[agency]),
            valid_from=PAST,
            valid_until=datetime.now(UTC) + timedelta(days=365),
        )

    def adoption(self) -> SdJwt:
        coordinators = [a.id for a in self.protocol.agencies if a.role == COORDINATOR]
        adopted = ProtocolAdopted(
            acted_at=PAST,
            protocol=self.protocol.model_dump(mode="json", exclude_none=True),
            keys=tuple(self.grant(c) for c in coordinators),
        )
        return self.sign(coordinators[0], adopted, None)

    def begin(self, ledger: Ledger) -> None:
        """Adopt the protocol, and register every agency's key."""
        for signed in (self.adoption(), *self.registrations()):
            ledger.append_to_registry(signing.read(signed))

    def registrations(self) -> list[SdJwt]:
        coordinator = {a.party: a.id for a in self.protocol.agencies if a.role == COORDINATOR}
        return [
            self.sign(
                coordinator[a.party], KeyRegistered(acted_at=PAST, grant=self.grant(a.id)), None
            )
            for a in self.protocol.agencies
            if a.role != COORDINATOR
        ]
