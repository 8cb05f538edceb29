"""What the API answers with: frozen models, from which the OpenAPI document is made."""

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from api.client.problem import ProblemDetails
from api.client.trouble import Effect
from api.exchange.parcel_standing import ParcelsStanding, Side
from api.paper.subject_access.wording import Language
from ledger import application
from ledger.events.act import Act
from ledger.procedure.erasures import ErasedData
from ledger.procedure.protocol import KeyChange, Party, Role
from ledger.replication import submissions
from ledger.replication.mailbox import MailboxOutcome
from ledger.replication.outbox import OutboxState
from ledger.store.event_rows import RecordedRow
from ledger.vault.access_log import Reading
from ledger.vault.disclosures import Held
from ledger.vault.duplicates import store as duplicates
from ledger.vault.duplicates.messages import Finding
from ledger.vault.duplicates.tokens import Agreement
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, LegalBasis, Purpose, VoteSubject
from ledger.vocabulary.registration import PublicKey
from ledger.vocabulary.types import AgencyId, Country, Name, UtcDatetime
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView, HoldView
from projections.folds.obligations import Obligation
from projections.reports.accountability import Balance, ResponseTimes

LeafHash = Annotated[str, Field(description="RFC 6962 leaf hash of the event, base64")]


class Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Receipt(Document):
    """Proof that an action is recorded, durably."""

    action_id: UUID
    case_id: UUID
    position: int
    case_version: int
    recorded_at: UtcDatetime
    leaf_hash: LeafHash

    @classmethod
    def of(cls, receipt: application.Receipt) -> "Receipt":
        return cls(
            action_id=receipt.action_id,
            case_id=receipt.case_id,
            position=receipt.position,
            case_version=receipt.case_version,
            recorded_at=receipt.recorded_at,
            leaf_hash=_base64(receipt.leaf_hash),
        )


class DisclosedFields(Document):
    """What an action's own country holds of its ``case`` fields."""

    action_id: UUID
    fields: Mapping[str, JsonValue]
    damaged: tuple[str, ...] = ()
    """Fields that do not open at their place: somebody changed the vault's rows."""


class Case(Document):
    """A case as the caller's country sees it."""

    view: CaseView
    disclosed: tuple[DisclosedFields, ...]


class ReadingRequest(Document):
    """Which personal fields are to be opened, and what for."""

    groups: Annotated[tuple[FieldGroup, ...], Field(min_length=1, max_length=8)]
    purpose: Purpose
    basis: LegalBasis | None = None
    """The legal basis, where a certain one is meant. Danger to life is always named."""


class PersonalField(Document):
    """One personal field that was opened."""

    action_id: UUID
    kind: str
    agency: AgencyId
    """Who recorded it."""
    field: str
    group: FieldGroup
    value: JsonValue
    digest: str
    """What the agency signed; a release names fields by it."""
    received_from: str | None
    """The country that released it, where it was another's."""

    @classmethod
    def of(cls, held: Held, act: Act) -> "PersonalField":
        if held.group is None:
            raise ValueError(f"{held.field} is no personal field")
        return cls(
            action_id=held.action_id,
            kind=act.kind,
            agency=act.agency,
            field=held.field,
            group=held.group,
            value=held.value,
            digest=held.digest,
            received_from=held.received_from,
        )


class ReadingResult(Document):
    """What was opened, and the entry in the access log that says so."""

    reading: Reading
    fields: tuple[PersonalField, ...]
    presentations: tuple[str, ...]
    """The same fields as SD-JWTs (RFC 9901), one for each action, as its agency signed them:
    any SD-JWT verifier checks them with that agency's public key."""
    damaged: tuple[DisclosedFields, ...] = ()
    """Fields that do not open at their place, by action: somebody changed the vault's rows."""
    erased: ErasedData | None = None
    """When and why what this country held on the person was erased, if it was."""


class RetentionStatus(StrEnum):
    """How a closed case stands to the end of its period of retention."""

    KEPT = "kept"
    """The period is not over, and nothing is announced."""
    DUE = "due"
    """The period is over, and no erasure is announced."""
    ANNOUNCED = "announced"
    HELD = "held"
    """A legal hold stops any erasure."""
    ERASED = "erased"
    """This country's vault has erased it, and its confirmation is on its way."""


class RetainedCase(Document):
    """A closed case whose period of retention ends or is over."""

    case_id: UUID
    status: RetentionStatus
    closure: ClosureReason | None
    closed_at: UtcDatetime | None
    kept_days: int
    grace_days: int
    """For so many days an erasure stands announced before it."""
    period_ends: UtcDatetime
    erase_from: UtcDatetime | None
    """Nothing is erased before this moment, nor before witnesses have cosigned it."""
    announcement: UUID | None
    announced_at: UtcDatetime | None
    announced_by: AgencyId | None
    holds: tuple[HoldView, ...]
    confirmed_by: tuple[Country, ...]
    """The countries that have confirmed the erasure."""


class RetentionPage(Document):
    """Cases whose period of retention ends, the earliest first."""

    cosigned_until: UtcDatetime | None
    """The time that a quorum of witnesses cosigned last. Periods count by it."""
    cases: tuple[RetainedCase, ...]
    next: str | None


class ErasedCase(Document):
    """A case of whose person this country's vault holds nothing any more."""

    case_id: UUID
    erased: ErasedData
    confirmed_by: tuple[Country, ...]
    pending: tuple[Country, ...]


class ErasedPage(Document):
    """What this country's vault erased, the last first."""

    cases: tuple[ErasedCase, ...]
    next: UtcDatetime | None


class SubjectAccessRequest(Document):
    """In which language the person is to have the file: Albanian, Montenegrin or English."""

    language: Language


class ReadingPage(Document):
    """Entries of the access log, the first one first."""

    readings: tuple[Reading, ...]
    changed: tuple[int, ...] = ()
    """The numbers of entries on this person that do not hold: somebody changed the log."""


class DuplicateDocument(Document):
    """A case of the caller's country, and one of another country that may be the same person's."""

    id: UUID
    """The same in both countries."""
    case_id: UUID
    country: Country
    """The other country."""
    reference: UUID
    """What the other country's case is called between the two; it is no case's id."""
    other_case_id: UUID | None
    """The other country's case, where the caller's country is party to it."""
    agrees: tuple[Agreement, ...]
    """In what the two agree."""
    strength: int
    """Of 100."""
    found_at: UtcDatetime
    state: duplicates.DuplicateState
    finding: Finding | None
    """What the caller's country found out."""
    assessed_at: UtcDatetime | None
    other_finding: Finding | None
    """What the other country found out."""
    other_assessed_at: UtcDatetime | None

    @classmethod
    def of(cls, found: duplicates.Duplicate) -> "DuplicateDocument":
        return cls(
            id=found.match.id,
            case_id=found.case_id,
            country=found.match.other,
            reference=found.match.other_reference,
            other_case_id=found.other_case_id,
            agrees=found.match.agrees,
            strength=found.strength,
            found_at=found.found_at,
            state=found.state,
            finding=found.finding,
            assessed_at=found.assessed_at,
            other_finding=found.other_finding,
            other_assessed_at=found.other_assessed_at,
        )


class DuplicatePage(Document):
    """Duplicates, the last one found first."""

    duplicates: tuple[DuplicateDocument, ...]


class DuplicateAssessment(Document):
    """What the coordinator found out."""

    finding: Finding


class CasePage(Document):
    """Cases, newest first."""

    cases: tuple[CaseView, ...]
    next: int | None
    """Give this as ``before`` for the next page; ``None`` at the end."""


class ObligationPage(Document):
    """Obligations: the last opened first, or the longest overdue."""

    obligations: tuple[Obligation, ...]
    next: UUID | None
    """Give this as ``after`` for the next page; ``None`` at the end."""


class ResponseTimesOf(Document):
    """How fast obligations were discharged, as it stood at a moment."""

    as_of: UtcDatetime
    response_times: tuple[ResponseTimes, ...]


class Reciprocity(Document):
    """What countries owe each other, as it stood at a moment."""

    as_of: UtcDatetime
    balances: tuple[Balance, ...]


class TrailPage(Document):
    """A case's audit trail, from its opening."""

    entries: tuple[TrailEntry, ...]
    next: int | None
    """Give this as ``after`` for the next page; ``None`` at the end."""


class Event(Document):
    """One event, with the exact bytes that are hashed and signed."""

    position: int
    case_id: UUID
    case_version: int
    action_id: UUID
    kind: str
    recorded_at: UtcDatetime
    leaf_hash: LeafHash
    entry: str

    @classmethod
    def of(cls, row: RecordedRow) -> "Event":
        return cls(
            position=row.position,
            case_id=row.originator_id,
            case_version=row.version,
            action_id=row.action_id,
            kind=row.kind,
            recorded_at=row.recorded_at,
            leaf_hash=_base64(row.leaf_hash),
            entry=row.state.decode("ascii"),
        )


class EventPage(Document):
    """Events by position."""

    events: tuple[Event, ...]
    next: int
    """Give this as ``after`` to go on, now or later."""


class AgencyKey(Document):
    id: str
    key: PublicKey
    """The public key, as a JWK (RFC 8037)."""
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    revoked_at: UtcDatetime | None
    compromised_since: UtcDatetime | None


class AgencyWithKeys(Document):
    """An agency of the protocol, and the keys it may sign or has signed with."""

    id: AgencyId
    name: Name
    party: str
    role: Role
    city: Name | None
    keys: tuple[AgencyKey, ...]


class KeyProposalDocument(Document):
    """A change of a key that waits until another party has confirmed or declined it."""

    id: UUID
    """The id of the action that proposed the change."""
    change: KeyChange
    key_id: str
    agency: AgencyId
    """The agency whose key it is."""
    by: AgencyId
    """The agency that proposed the change."""
    compromised_since: UtcDatetime | None
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    yours: bool
    """Whether the caller may confirm it."""


class AnnouncedAbsence(Document):
    """An absence that another party announced."""

    id: UUID
    subjects: tuple[VoteSubject, ...]
    by: AgencyId
    """The agency that announced it."""
    position: int
    announced_at: UtcDatetime
    counts_from: UtcDatetime
    """Since when the party counts as absent for votes on these subjects."""
    ended_at: int | None
    """The position of the act by which the party ended it."""


class DecisionWithout(Document):
    """A log policy that the other parties adopted without a party."""

    position: int
    recorded_at: UtcDatetime | None
    without: tuple[Country, ...]
    policy: str
    """What is in force from the next event on (C2SP tlog-policy)."""


class MissedPublications(Document):
    """Published checkpoints, one after the other, without a party's cosignature."""

    first: int
    """The size of the first one."""
    last: int
    count: int
    began_at: UtcDatetime
    ended_at: UtcDatetime
    covered_by: int | None
    """The size that the party's witness cosigned next, which vouches for these; ``None`` so far."""


class AbsenceReport(Document):
    """What was announced, decided and published without a party, as this node has recorded it."""

    party: Country
    announced: tuple[AnnouncedAbsence, ...]
    decided: tuple[DecisionWithout, ...]
    published: tuple[MissedPublications, ...]


class ProtocolDocument(Document):
    """The protocol that this ledger adopted."""

    id: str
    title: Name
    version: int
    ledger_id: UUID
    parties: tuple[Party, ...]
    roles: Mapping[str, str]
    rules: Mapping[str, JsonValue]
    """For each kind of action: who may take it, what it requires, establishes and ends."""


class Outcome(Document):
    """What became of an action that was handed in at a country's node."""

    action_id: UUID
    agency: AgencyId
    case_id: UUID | None
    case_version: int
    """The version that the agency acted on."""
    state: OutboxState
    received_at: UtcDatetime
    decided_at: UtcDatetime | None
    receipt: Receipt | None = None
    """Once it is recorded, and verified in this node's own copy of the ledger."""
    problem: ProblemDetails | None = None
    """Why it was refused, if it was."""


class StatedSubmissions(Document):
    """Statements that a country's node signed on actions that wait."""

    statements: Annotated[
        tuple[Annotated[str, Field(max_length=submissions.MAX_CHARACTERS)], ...],
        Field(min_length=1, max_length=100),
    ]


class SubmissionDocument(Document):
    """That another country's node handed an action in, and what this node's copy has of it."""

    party: Country
    action_id: UUID
    digest: str
    """SHA-256 of the signed action without disclosures, base64url."""
    submitted_at: UtcDatetime
    """When it came to that country's node, by that node's word."""
    received_at: UtcDatetime
    """When the statement came to this node first."""
    position: int | None
    """Where the action is recorded; ``null`` while this node's copy has no such action."""
    recorded_at: UtcDatetime | None
    statement: str
    """The statement as the other node signed it."""

    @classmethod
    def of(cls, kept: submissions.KeptSubmission) -> "SubmissionDocument":
        return cls(**dataclasses.asdict(kept))


class SubmissionPage(Document):
    """Statements of other countries' nodes."""

    submissions: tuple[SubmissionDocument, ...]


class OutboxPage(Document):
    """Actions that were handed in, the last one first."""

    outcomes: tuple[Outcome, ...]


class ParcelDocument(Document):
    """What one country's node sends another through the ledger node, which cannot open it."""

    id: UUID
    sender: Country
    recipient: Country
    sealed: Annotated[str, Field(max_length=1_500_000)]
    """HPKE (RFC 9180) to the recipient's country key, base64."""


Place = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""The place of a parcel or an outcome in the mailbox; later ones have higher numbers."""


class WaitingParcel(ParcelDocument):
    """A parcel that waits for its recipient's acknowledgement."""

    place: Place


class ParcelStanding(Document):
    """How much waits of one country for another, and since when."""

    sender: Country
    recipient: Country
    parcels: int
    oldest_at: UtcDatetime


class ParcelPage(Document):
    """Parcels that wait: the first one of each sender first, then the second ones."""

    parcels: tuple[WaitingParcel, ...]
    standing: tuple[ParcelStanding, ...]
    """All that waits for the caller's country, by sender."""


class Acknowledgements(Document):
    """What a country's node signed on parcels that it fetched."""

    acknowledgements: Annotated[
        tuple[Annotated[str, Field(max_length=4096)], ...], Field(min_length=1, max_length=100)
    ]
    """Compact JWS (RFC 7515), of the type ``parcel-acknowledgement+jwt``."""


class ParcelsTakenOut(Document):
    """How many parcels left the mailbox by the caller's acknowledgements."""

    parcels: int


class ParcelLeft(Document):
    """What became of a parcel that the caller's country handed in."""

    place: Place
    parcel: UUID
    outcome: MailboxOutcome
    acknowledgement: str | None = None
    """What the recipient's node signed; there is none for one that expired or was lost."""


class OutcomePage(Document):
    """What became of parcels, the first one first, as far as it was not settled."""

    outcomes: tuple[ParcelLeft, ...]


class SettledOutcomes(Document):
    """Outcomes that the sender has, and that the mailbox need not keep."""

    places: Annotated[tuple[Place, ...], Field(min_length=1, max_length=1000)]


class SentDigest(Document):
    """A parcel that was handed in."""

    parcel: UUID
    digest: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    """SHA-256 of its sealed bytes, in hexadecimal."""


class SentDigests(Document):
    """Parcels that a sender asks about."""

    sent: Annotated[tuple[SentDigest, ...], Field(min_length=1, max_length=1000)]


class MissingParcels(Document):
    """Parcels that neither wait nor have an outcome: they are to be sent again."""

    missing: tuple[UUID, ...]


class Following(Document):
    """How a country's node stands to the ledger node that it copies from."""

    ledger_url: str
    reachable: bool
    heard_at: UtcDatetime | None
    """When the ledger node answered last."""
    trouble: str | None
    waiting: int
    """How many actions of its agencies have no outcome yet."""
    waiting_since: UtcDatetime | None = None
    """Since when the first of them waits."""
    own_seconds: float | None = None
    """The median time until an own action of the last day was in this node's copy."""
    others_seconds: float | None = None
    """The median time from signing to recording of other countries' last actions."""
    others_recorded_since: int = 0
    """How many of other countries' last actions were recorded since ``waiting_since``."""


class Health(Document):
    status: str
    version: str
    """The version of the program that answers."""


class ReadinessTrouble(Document):
    """One thing that is wrong with a node."""

    rule: str
    effect: Effect
    message: str


class ParcelsWaiting(Document):
    """Parcels of one country for another that were not acknowledged, as this node sees them."""

    side: Side
    sender: Country
    recipient: Country
    parcels: int
    oldest_at: UtcDatetime

    @classmethod
    def of(cls, standing: ParcelsStanding) -> "ParcelsWaiting":
        return cls(**dataclasses.asdict(standing))


class Readiness(Document):
    """Whether this node can serve, and where it stands."""

    status: str
    protocol: str
    head: int
    """The last position of the ledger."""
    views: Mapping[str, int]
    """The position that each view stands at."""
    published: int
    """The size of the last checkpoint that a quorum of witnesses cosigned."""
    witnesses: Mapping[str, int]
    """The size that each witness cosigned last, as this node knows it."""
    following: Following | None = None
    """``None`` on the ledger node."""
    worked_at: UtcDatetime | None
    """When the process that follows, publishes and folds said anything last: seconds ago."""
    parcels: tuple[ParcelsWaiting, ...] = ()
    """What waits between countries: at the mailbox, by the sender, and by the recipient."""
    troubles: tuple[ReadinessTrouble, ...] = ()
    """What the operator should look at, though the node is ready."""


def etag(case_version: int, content: bytes | None = None) -> str:
    """Return the tag of a case at a version, for ``If-Match``.

    With ``content``, what a caller is shown of the case, the tag differs for other content: what
    another country disclosed may arrive while the version stays the same.
    """
    if content is None:
        return f'"{case_version}"'
    return f'"{case_version}.{hashlib.sha256(content).hexdigest()[:22]}"'


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
