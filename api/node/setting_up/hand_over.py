"""The file that one side of the set-up hands to the others. People compare its fingerprint."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from api.runtime.settings import ORIGIN
from ledger.log.fingerprint import spoken
from ledger.log.note import NoteError, SignatureType, VerifierKey
from ledger.procedure.protocol import COORDINATOR, NODE, Protocol
from ledger.refusals import Refusal
from ledger.signing.key_possession import check_proof, grant_of
from ledger.signing.keys import write_private
from ledger.system.bounded_files import read_ordinary
from ledger.system.fsync import sync_directory
from ledger.vocabulary.registration import KeyRequest
from ledger.vocabulary.types import Country

_MAX_BYTES = 64 * 1024
_ANY = datetime(2000, 1, 1, tzinfo=UTC)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class HandOver(BaseModel):
    """The part that both sides' files have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str
    """The id of the protocol."""
    protocol_digest: Digest
    """SHA-256 of the protocol's content: every side sets up the same one."""
    origin: Annotated[str, Field(pattern=r"^[^\s+]+$", max_length=200)]
    """The name of the log in its checkpoints and keys."""
    address: Annotated[str, Field(pattern=ORIGIN, max_length=300)]
    """Where the other nodes reach this node."""
    log_key: Annotated[str, Field(max_length=400)]
    """The verifier key of the ledger node's log, as `case-ledger log key` prints it."""

    @property
    def fingerprint(self) -> str:
        """Return the digits that two people compare by telephone; they cover every field."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return spoken(hashlib.sha256(content.encode()).digest())

    def __str__(self) -> str:
        return self.model_dump_json(indent=1) + "\n"


class LedgerHandOver(HandOver):
    """The file that the ledger node's side hands to every country."""

    format: Literal["case-ledger ledger node 1"] = "case-ledger ledger node 1"
    audience: Annotated[str, Field(min_length=1, max_length=200)]
    """The ``aud`` of agencies' assertions."""
    policy: Annotated[str, Field(max_length=64 * 1024)] | None = None
    """The log policy (C2SP tlog-policy), once every country handed in its keys."""
    adoption: Digest | None = None
    """The leaf hash of the first event, once the protocol is adopted."""

    @property
    def is_complete(self) -> bool:
        return self.policy is not None and self.adoption is not None

    def check(self, protocol: Protocol) -> None:
        """Check that the file is of this protocol and has sound keys.

        A later text may differ from the one that the ledger node's side set up: the ledger has the
        amendments between them. Raises ``ValueError`` if the file does not fit.
        """
        if protocol.version == 1 or not self.is_complete:
            _check_protocol(self, protocol, "the ledger node")
        elif self.protocol != protocol.id:
            raise ValueError(f"the ledger node's file is for the protocol {self.protocol}")
        _check_key(self.log_key, self.origin, SignatureType.ED25519, "log_key")


class CountryHandOver(HandOver):
    """The file that a country's side hands to the ledger node's side."""

    format: Literal["case-ledger country node 1"] = "case-ledger country node 1"
    party: Country
    witness_key: Annotated[str, Field(max_length=400)]
    """The verifier key of the country's witness, as `case-ledger witness key` prints it."""
    node_key: KeyRequest
    """The key of the country's node agency, for its coordinator to register."""
    coordinators: Annotated[tuple[KeyRequest, ...], Field(max_length=8)] = ()
    """The keys of the country's coordinator, which the adoption of the protocol names."""

    def check(self, protocol: Protocol) -> None:
        """Check that the file is of this protocol and has sound keys.

        Raises ``ValueError`` if not.
        """
        _check_protocol(self, protocol, self.party)
        if self.party not in protocol.party_codes:
            raise ValueError(f"{self.party} is no party of {protocol.id}")
        name = f"{self.origin}/witness-{self.party.lower()}"
        _check_key(self.witness_key, name, SignatureType.COSIGNATURE, "witness_key")
        _check_request(self.node_key, protocol, self.party, NODE)
        for one in self.coordinators:
            _check_request(one, protocol, self.party, COORDINATOR)

    @property
    def witness_url(self) -> str:
        return f"{self.address}/witness/{self.party}"


def protocol_digest(protocol: Protocol) -> str:
    """Return the SHA-256 of a protocol's content, in hexadecimal digits."""
    content = protocol.model_dump(mode="json", exclude_none=True)
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def read_hand_over(path: Path) -> LedgerHandOver | CountryHandOver:
    """Read either side's file. Raises ``ValueError`` for anything else."""
    content = read_ordinary(path, _MAX_BYTES)
    model: type[LedgerHandOver] | type[CountryHandOver] = LedgerHandOver
    if b"case-ledger country node" in content:
        model = CountryHandOver
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, e["loc"])) or "the file" for e in error.errors()[:3])
        raise ValueError(
            f"{path} is no file that `case-ledger node init` of this version wrote ({wrong})"
        ) from None


def read_key_request(path: Path, protocol: Protocol, party: str, role: str) -> KeyRequest:
    """Read a public key with its proof. Raises ``ValueError`` unless it is of this role."""
    try:
        request = KeyRequest.model_validate_json(read_ordinary(path, _MAX_BYTES))
    except ValidationError:
        raise ValueError(
            f"{path} is no public key with its proof, as `case-ledger keys public AGENCY` writes"
        ) from None
    _check_request(request, protocol, party, role)
    return request


class Accepted:
    """The other sides' files whose fingerprints people compared, kept in a directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @property
    def ledger(self) -> LedgerHandOver | None:
        """Return the ledger node's file that was accepted last."""
        path = self._directory / "ledger.json"
        found = read_hand_over(path) if path.exists() else None
        return found if isinstance(found, LedgerHandOver) else None

    def countries(self) -> dict[str, CountryHandOver]:
        """Return the countries' files, by party."""
        found = map(read_hand_over, sorted(self._directory.glob("country-*.json")))
        return {one.party: one for one in found if isinstance(one, CountryHandOver)}

    def has(self, one: LedgerHandOver | CountryHandOver) -> bool:
        """Return whether exactly this content was accepted before."""
        if isinstance(one, LedgerHandOver):
            return self.ledger == one
        return self.countries().get(one.party) == one

    def keep(self, one: LedgerHandOver | CountryHandOver) -> None:
        """Keep a file whose fingerprint was compared."""
        name = "ledger.json"
        if isinstance(one, CountryHandOver):
            name = f"country-{one.party.lower()}.json"
        write_whole(self._directory / name, str(one))


def write_whole(path: Path, content: str) -> None:
    """Write a small file whole, for its owner alone, in place of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    write_private(beside, content.encode())
    beside.replace(path)
    sync_directory(path.parent)


def _check_protocol(one: HandOver, protocol: Protocol, whose: str) -> None:
    if one.protocol != protocol.id or one.protocol_digest != protocol_digest(protocol):
        raise ValueError(
            f"the file of {whose} is for another protocol, or another text of it, than this side"
            f" sets up ({protocol.id}): use the same protocol file and the same version of the"
            " program on every side"
        )


def _check_key(text: str, name: str, kind: SignatureType, field: str) -> None:
    try:
        key = VerifierKey.parse(text)
    except NoteError as error:
        raise ValueError(f"{field}: {error}") from error
    if key.type is not kind or key.name != name:
        raise ValueError(f"{field} is not the key of {name}")


def _check_request(request: KeyRequest, protocol: Protocol, party: str, role: str) -> None:
    agency = protocol.agencies_by_id.get(request.agency)
    if agency is None or agency.party != party or agency.role != role:
        raise ValueError(f"{request.agency} is not the {role} agency of {party}")
    try:
        check_proof(grant_of(request, valid_from=_ANY, valid_until=_ANY), protocol.id, "key")
    except Refusal as refusal:
        raise ValueError(f"the key of {request.agency}: {refusal.message}") from refusal
