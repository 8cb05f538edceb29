"""The same duties on the ``eventsourcing`` library, written in the plain way of its documentation.

An aggregate with ``@event`` methods, an application that gets it from the repository, calls a
method and saves it, the library's PostgreSQL module, and its cipher. It verifies the signature,
checks each disclosure against its digest, decides by a few rules, seals disclosures with
AES-256-GCM, and stores durably with the version that it expects.

It does less than this project: one key for all persons, disclosures beside the event instead of
vaults with roles of their own, the keys of one time, no tree, and a table of rules instead of an
agreement that changes.
"""

import hashlib
import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.cryptography import AESCipher
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError
from eventsourcing.utils import Environment
from joserfc import jws
from joserfc.jwk import OKPKey

from benchmarks.peers import servers
from benchmarks.peers.eventsourcing_recorder import connection_words, states
from benchmarks.peers.peer import ALONE, EIGHT, MANY, Given, Workload
from benchmarks.peers.servers import Servers
from tests.support.agencies import Agencies

_DATABASE = "bench_same_duties"
_CACHED = 1000
_OFFICES = frozenset({"police", "prosecutor", "social_services", "coordinator", "ngo"})
_MAY = {
    "case_opened": _OFFICES,
    "risk_assessed": _OFFICES | {"shelter"},
    "sheltered": frozenset({"shelter"}),
    "guardian_appointed": frozenset({"social_services", "court"}),
    "consent_given": _OFFICES,
    "information_requested": _OFFICES,
    "information_acknowledged": _OFFICES,
    "information_provided": _OFFICES,
    "meeting_held": frozenset({"coordinator"}),
    "case_prioritised": frozenset({"prosecutor", "coordinator"}),
}
"""The roles that may take each action."""


class NotAllowedError(Exception):
    """The action is not signed rightly, or the rules do not allow it."""


class Case(Aggregate):
    """The state of one case, as far as the rules read it."""

    @event("Opened")
    def __init__(self, case_id: UUID, action: Mapping[str, Any]) -> None:
        self.case_id = case_id
        self.countries = set(action["act"]["countries"])
        self.taken = {action["jti"]}
        self.asked: dict[str, str] = {}

    @staticmethod
    def create_id(case_id: UUID, **_: object) -> UUID:
        return case_id

    @event("ActionTaken")
    def take(self, action: Mapping[str, Any]) -> None:
        self.taken.add(action["jti"])
        if action["kind"] == "information_requested":
            self.asked[action["jti"]] = action["act"]["addressee"]
        elif action["kind"] == "information_provided":
            del self.asked[action["act"]["request"]]

    def check(self, action: Mapping[str, Any], party: str) -> None:
        """Check that the state of the case allows the action. Raises ``NotAllowedError``."""
        if action["jti"] in self.taken:
            raise NotAllowedError("this action is recorded already")
        if party not in self.countries:
            raise NotAllowedError("this country does not take part in the case")
        answers = action["kind"] in ("information_acknowledged", "information_provided")
        if answers and self.asked.get(action["act"]["request"]) != action["iss"]:
            raise NotAllowedError("nobody asked this agency")


class Cases(Application[UUID]):
    """Takes signed actions in."""

    def __init__(self, env: Mapping[str, str], agencies: Agencies) -> None:
        super().__init__(env)
        self._sealing = AESCipher(Environment(env={"CIPHER_KEY": AESCipher.create_key(32)}))
        self._agencies = agencies.protocol.agencies_by_id
        self._keys = {
            agency: OKPKey.import_key(key.as_dict(private=False))
            for agency, key in agencies.keys.items()
        }

    def act(self, sent: str, case_id: UUID, version: int) -> None:
        """Record an action on ``version`` of a case. Raises ``NotAllowedError``."""
        jwt, *disclosures = sent.split("~")[:-1]
        action = self._verified(jwt)
        agency = self._agencies[action["iss"]]
        if agency.role not in _MAY.get(action["kind"], ()):
            raise NotAllowedError("this role may not take this action")
        if action["case"] != str(case_id):
            raise NotAllowedError("this action is on another case")
        recorded = {**action, "jwt": jwt, "sealed": self._sealed(action, disclosures)}
        if version == 0:
            self.save(Case(case_id=case_id, action=recorded))
            return
        case: Case = self.repository.get(case_id)
        if case.version != version:
            raise IntegrityError("the case has another version")
        case.check(action, agency.party)
        case.take(action=recorded)
        self.save(case)

    def _verified(self, jwt: str) -> dict[str, Any]:
        claimed = json.loads(_decoded(jwt.split(".")[1]))
        signed = jws.deserialize_compact(jwt, self._keys[claimed["iss"]], algorithms=["Ed25519"])
        found: dict[str, Any] = json.loads(signed.payload)
        return found

    def _sealed(self, action: Mapping[str, Any], disclosures: Sequence[str]) -> dict[str, str]:
        """Return each disclosure under its digest, sealed. Raises ``NotAllowedError``."""
        digests = set(action["act"].get("_sd", ()))
        sealed = {}
        for encoded in disclosures:
            digest = urlsafe_b64encode(hashlib.sha256(encoded.encode()).digest()).rstrip(b"=")
            if digest.decode() not in digests:
                raise NotAllowedError("a disclosure is not among the signed ones")
            json.loads(_decoded(encoded))
            sealed[digest.decode()] = b64encode(self._sealing.encrypt(encoded.encode())).decode()
        return sealed


class SameDuties:
    """The application with a pool of as many connections as there are writers."""

    name = "eventsourcing, same duties"
    about = (
        "an Application with an Aggregate, as the library's documentation writes them: signature"
        " verified, a table of rules, disclosures under AES-256-GCM by one key beside the event,"
        f" version unique in a case; {_CACHED:,} aggregates cached"
    )
    workloads: Sequence[Workload] = (ALONE, EIGHT, MANY)
    verifies = True

    def __init__(self, given: Servers, agencies: Agencies) -> None:
        self._server = given.embedded
        self.server = self._server.name
        self._agencies = agencies
        self._cases: Cases | None = None

    def available(self) -> str | None:
        return self._server.available()

    def version(self) -> str:
        return f"eventsourcing {metadata.version('eventsourcing')}"

    def open(self, writers: int) -> None:
        conninfo = servers.create_database(self._server.conninfo, _DATABASE)
        words = connection_words(conninfo)
        self._cases = Cases(
            {
                "PERSISTENCE_MODULE": "eventsourcing.postgres",
                **{f"POSTGRES_{name.upper()}": value for name, value in words.items()},
                "POSTGRES_PASSWORD": "",
                "POSTGRES_POOL_SIZE": str(writers),
                "AGGREGATE_CACHE_MAXSIZE": str(_CACHED),
            },
            self._agencies,
        )

    def durability(self) -> str:
        return servers.durable_settings(self._server.conninfo)

    def append(self, writer: int, events: Sequence[Given]) -> None:  # noqa: ARG002
        assert self._cases is not None
        for one in events:
            self._cases.act(one.sent, one.case_id, one.version - 1)

    def read(self) -> Iterator[bytes]:
        assert self._cases is not None
        return states(self._cases.recorder)

    def close(self) -> None:
        if self._cases is not None:
            self._cases.close()
            self._cases = None
        servers.drop_database(self._server.conninfo, _DATABASE)


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
