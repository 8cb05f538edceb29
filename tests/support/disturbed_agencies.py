"""Agencies of three countries that act on cases together, and remember what they were told."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from uuid import UUID, uuid4

import httpx

from api.client import LedgerClient, RefusedError, WaitingError
from api.client.schemas import Receipt
from ledger.procedure.protocol import Protocol
from ledger.signing.sd_jwt import SdJwt
from ledger.vocabulary import Action
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import (
    DecisionMakingOrg,
    LegalBasis,
    Purpose,
    RiskLevel,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields
from tests.support.actions import START, opening

NOTE = "zqNobodysNote"
_LOCAL_FAILURE = 500


@dataclass
class Attempt:
    """One action that an agency handed in, and what it was told of it."""

    party: str
    agency: str
    case_id: UUID
    version: int
    """The case version that it acted on."""
    action: Action
    signed: SdJwt
    is_allowed: bool = True
    """Whether the rules allow it, where nobody else was faster."""
    receipt: Receipt | None = None
    refused_by: str | None = None
    told: list[str] = field(default_factory=list)
    """The answers in their order: what a failure is understood by."""

    @property
    def id(self) -> UUID:
        return UUID(self.signed.payload["jti"])

    @property
    def is_open(self) -> bool:
        """Return whether the agency has no outcome of the action yet."""
        return self.receipt is None and self.refused_by is None

    def digests(self, level: Level) -> set[str]:
        """The digests of the fields of one level."""
        return {
            one.digest
            for one in self.signed.disclosures
            if self.action.level(one.name).level is level
        }

    def of_group(self, group: FieldGroup) -> tuple[str, ...]:
        return tuple(
            one.digest
            for one in self.signed.disclosures
            if self.action.level(one.name).group is group
        )

    def send(self, client: LedgerClient) -> None:
        """Hand it in, for the first time or again."""
        try:
            self.receipt = client.send(self.signed, self.case_id, self.version)
            self.told.append(f"recorded at {self.receipt.position}")
        except WaitingError as error:
            self.told.append(f"waits: {error.outcome.state}")
        except httpx.TransportError as error:
            self.told.append(type(error).__name__)
        except RefusedError as error:
            problem = error.problem
            self.told.append(f"{problem.status} {problem.rule}: {problem.title} {problem.detail}")
            if problem.status < _LOCAL_FAILURE and problem.status != httpx.codes.TOO_MANY_REQUESTS:
                self.refused_by = problem.rule


@dataclass
class Story:
    """All attempts. What is released and acted on is known to have been recorded."""

    protocol: Protocol
    attempts: list[Attempt] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, attempt: Attempt) -> None:
        with self._lock:
            self.attempts.append(attempt)

    def recorded(self) -> list[Attempt]:
        with self._lock:
            return [one for one in self.attempts if one.receipt is not None]

    def opened(self) -> list[Attempt]:
        return [one for one in self.recorded() if one.action.kind == "case_opened"]

    def identified(self) -> Mapping[UUID, UUID]:
        """The recorded identification of each case that has one."""
        found = (one for one in self.recorded() if one.action.kind == "victim_identified")
        return {one.case_id: one.id for one in found}

    def has_tried(self, kind: str, case_id: UUID) -> bool:
        """Return whether an agency sent such an action on a case, whatever its outcome."""
        with self._lock:
            tried = [(one.action.kind, one.case_id) for one in self.attempts]
        return (kind, case_id) in tried

    def parties(self) -> Mapping[UUID, tuple[str, ...]]:
        """The countries of each case."""
        with self._lock:
            return {
                one.case_id: tuple(one.action.ledger_claims()["countries"])
                for one in self.attempts
                if one.action.kind == "case_opened"
            }

    def must_hold(self, party: str, recorded: Iterable[UUID]) -> set[tuple[UUID, str, str | None]]:
        """Return a country's required fields of recorded actions: action, digest, sender."""
        ids, parties = set(recorded), self.parties()
        must: set[tuple[UUID, str, str | None]] = set()
        for one in self.attempts:
            if one.id not in ids:
                continue
            if one.party == party:
                must |= {(one.id, d.digest, None) for d in one.signed.disclosures}
            elif party in parties[one.case_id]:
                must |= {(one.id, digest, one.party) for digest in one.digests(Level.CASE)}
            if isinstance(one.action, InformationReleased) and one.action.recipient == party:
                must |= {
                    (UUID(str(part.action)), digest, one.party)
                    for part in one.action.released
                    for digest in part.digests
                }
        return must


class Officer(threading.Thread):
    """One country's police: opens cases, acts on them and on others' cases, releases names."""

    def __init__(
        self, client: LedgerClient, party: str, story: Story, random: Random, acts: int
    ) -> None:
        super().__init__(name=client.agency)
        self.error: BaseException | None = None
        self._client = client
        self._party = party
        self._story = story
        self._random = random
        self._acts = acts
        self._versions: dict[UUID, int] = {}

    def run(self) -> None:
        try:
            with self._client:
                for _ in range(self._acts):
                    step = self._random.choice((self._open, self._identify, self._assess,
                                                self._assess, self._release))  # fmt: skip
                    if not step():
                        self._open()
        except BaseException as error:
            self.error = error

    def _send(
        self, action: Action, case_id: UUID, version: int, *, is_allowed: bool = True
    ) -> Attempt:
        signed = self._client.sign(action, case_id)
        agency = self._client.agency
        attempt = Attempt(
            self._party, agency, case_id, version, action, signed, is_allowed=is_allowed
        )
        self._story.add(attempt)
        attempt.send(self._client)
        if attempt.receipt is not None:
            self._versions[case_id] = attempt.receipt.case_version
        return attempt

    def _open(self) -> bool:
        others = [code for code in ("XK", "ME", "AL") if code != self._party]
        self._random.shuffle(others)
        countries = (self._party, *others[: self._random.choice((1, 1, 2))])
        opened = opening(countries, indicators_note=NOTE, first_name=NOTE, family_note=NOTE)
        self._send(opened, uuid4(), 0)
        return True

    def _identify(self) -> bool:
        identified_by = self._story.identified()
        for case in self._own():
            again = case.case_id in identified_by
            if again and self._random.random() < 0.7:
                continue
            identified = VictimIdentified(
                acted_at=START,
                status=TraffickingStatus.ACTUAL,
                decided_by=DecisionMakingOrg.POLICE,
                types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
                statement=NOTE,
            )
            # An earlier identification of which no outcome is known here may be recorded by now.
            is_first = not self._story.has_tried("victim_identified", case.case_id)
            self._send(identified, case.case_id, self._version(case), is_allowed=is_first)
            return True
        return False

    def _assess(self) -> bool:
        for case in self._joint():
            assessed = RiskAssessed(
                acted_at=START, risk_level=RiskLevel.HIGH, risk_factors=NOTE, threats=NOTE
            )
            self._send(assessed, case.case_id, self._version(case))
            return True
        return False

    def _release(self) -> bool:
        identified_by = self._story.identified()
        for case in self._own():
            if case.case_id not in identified_by:
                continue
            others = [c for c in self._story.parties()[case.case_id] if c != self._party]
            names = case.of_group(FieldGroup.IDENTITY)
            released = InformationReleased(
                acted_at=datetime.now(UTC),
                recipient=self._random.choice(others),
                groups=(FieldGroup.IDENTITY,),
                purpose=Purpose.PROTECTION,
                basis=LegalBasis.DUTY,
                basis_action=identified_by[case.case_id],
                released=(ReleasedFields(action=case.id, digests=names),),
            )
            self._send(released, case.case_id, self._version(case))
            return True
        return False

    def _own(self) -> list[Attempt]:
        """Cases that this agency opened, a few of the last ones, in any order."""
        own = [one for one in self._story.opened() if one.agency == self._client.agency][-4:]
        self._random.shuffle(own)
        return own

    def _joint(self) -> list[Attempt]:
        """Cases that this country is party to."""
        parties = self._story.parties()
        joint = [one for one in self._story.opened() if self._party in parties[one.case_id]][-6:]
        self._random.shuffle(joint)
        return joint

    def _version(self, case: Attempt) -> int:
        """The version that the agency acts on: by the node's view, or else by its own receipts."""
        known = self._versions.get(case.case_id, 1)
        if self._random.random() < 0.3:
            return known
        try:
            return max(known, self._client.case(case.case_id).view.version)
        except (RefusedError, httpx.TransportError):
            return known
