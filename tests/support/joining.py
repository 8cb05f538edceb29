"""A fourth party in tests: the text by which it joins, its keys, and its statement."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc.jwk import OKPKey

from ledger.log.note import SignatureType
from ledger.procedure.amendments import text_digest, text_of
from ledger.procedure.protocol import Protocol
from ledger.signing import keys
from ledger.signing.accession_statement import sign_statement
from ledger.signing.country_key import FileCountryKey
from ledger.signing.key_possession import grant_of, request_of
from ledger.vocabulary.registration import (
    AccessionAccepted,
    NamedCheckpoint,
    PartyWithdrawalDeclared,
    PartyWithdrawalRevoked,
)
from tests.support.agencies import PAST
from tests.support.amending import amended
from tests.support.logs import signer

MK = "mk-nac"
MK_AGENCIES = {
    MK: "coordinator",
    "mk-node": "node",
    "mk-police": "police",
    "mk-social": "social_services",
}
NODE_ADDRESS = "https://node.example.mk"


@dataclass
class Joining:
    """The keys with which a country joins."""

    code: str = "MK"
    prefix: str = "mk"
    address: str = NODE_ADDRESS
    held: dict[str, OKPKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for agency in self.agencies:
            self.held.setdefault(agency, keys.generate())
        self.country_key = FileCountryKey.generate()
        self.witness = signer(f"test/witness-{self.prefix}", SignatureType.COSIGNATURE)

    @property
    def agencies(self) -> dict[str, str]:
        return {name.replace("mk", self.prefix): role for name, role in MK_AGENCIES.items()}

    @property
    def coordinator(self) -> str:
        return f"{self.prefix}-nac"

    def party(self, protocol: str, **changes: Any) -> dict[str, Any]:
        until = datetime.now(UTC) + timedelta(days=365)
        granted = [
            grant_of(
                request_of(self.held[agency], protocol=protocol, agency=agency),
                valid_from=PAST,
                valid_until=until,
            ).model_dump(mode="json", exclude_none=True)
            for agency in (self.coordinator, f"{self.prefix}-node")
        ]
        accession = {
            "keys": granted,
            "witness": str(self.witness.verifier),
            "country_key": str(self.country_key.public),
            "node": self.address,
        }
        names = {"sq": "Maqedonia e Veriut", "cnr": "Sjeverna Makedonija"}
        accession |= changes
        return {
            "code": self.code,
            "name": "North Macedonia",
            "names": names,
            "accession": accession,
        }

    def text(self, base: Protocol, **changes: Any) -> Protocol:
        """Return the next version of ``base``, with this party and its agencies."""
        told = text_of(base)
        parties = [one for one in told["parties"] if one["code"] != self.code]
        known = {one["id"] for one in told["agencies"]}
        new = [
            {"id": name, "name": name, "party": self.code, "role": role}
            for name, role in self.agencies.items()
            if name not in known
        ]
        return amended(
            base,
            parties=[*parties, self.party(base.id, **changes)],
            agencies=[*told["agencies"], *new],
            quorum=told["quorum"] | {"witnesses": 3, "coordinators": 3},
        )

    def statement(
        self,
        proposal: UUID,
        text: Protocol,
        checkpoint: NamedCheckpoint,
        key: OKPKey | None = None,
        **named: str,
    ) -> AccessionAccepted:
        """Return the act that records the party's acceptance in the history of a checkpoint."""
        digest = text_digest(text_of(text))
        signed = {
            "protocol": text.id,
            "digest": digest,
            "party": self.code,
            "agency": self.coordinator,
        } | named
        return AccessionAccepted(
            acted_at=PAST,
            proposal=proposal,
            digest=digest,
            party=self.code,
            checkpoint=checkpoint,
            statement=sign_statement(
                key or self.held[self.coordinator], proposal=proposal, **signed
            ),
        )


def leaving(party: str, day: date) -> PartyWithdrawalDeclared:
    """Return the act that declares that a party leaves."""
    return PartyWithdrawalDeclared(acted_at=PAST, party=party, day=day, reason="For the test.")


def staying(declaration: UUID) -> PartyWithdrawalRevoked:
    """Return the act that takes a declaration back."""
    return PartyWithdrawalRevoked(acted_at=PAST, declaration=declaration)
