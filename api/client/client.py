"""A typed client: builds, signs and appends an agency's actions, and reads its cases."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import UUID, uuid4

import httpx
from httpx_sse import connect_sse
from joserfc.jwk import OKPKey
from pydantic import BaseModel, TypeAdapter, ValidationError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from api.client.assertion import make_assertion
from api.client.bounded_answers import AS_IT_IS, bounded, bounded_client, read_bounded
from api.client.schemas import (
    AbsenceReport,
    Acknowledgements,
    AgencyWithKeys,
    Case,
    CasePage,
    DuplicateAssessment,
    DuplicateDocument,
    DuplicatePage,
    ErasedCase,
    ErasedPage,
    Event,
    EventPage,
    KeyProposalDocument,
    MissingParcels,
    ObligationPage,
    OutboxPage,
    Outcome,
    OutcomePage,
    ParcelDocument,
    ParcelPage,
    ParcelsTakenOut,
    PersonalField,
    ProtocolDocument,
    Readiness,
    ReadingPage,
    ReadingRequest,
    ReadingResult,
    Receipt,
    Reciprocity,
    ResponseTimesOf,
    RetainedCase,
    RetentionPage,
    SentDigest,
    SentDigests,
    SettledOutcomes,
    StatedSubmissions,
    SubjectAccessRequest,
    SubmissionPage,
    TrailPage,
)
from api.client.schemas.problem import ProblemDetails
from api.client.trace_context import pass_on
from ledger.log.signed_decision import HEADER
from ledger.signing import signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.vocabulary import Action
from ledger.vocabulary.duplicates import Finding
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import CaseStatus, LegalBasis, Priority, Purpose, Stage
from ledger.vocabulary.sharing import InformationReleased, ReleasedFields
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.expected_steps import ObligationKind
from projections.folds.obligations import Obligation, ObligationState
from projections.reports.accountability import Dimension
from projections.time.bitemporal import Moment
from projections.time.case_diff import CaseDifference
from projections.time.ledger_at import LedgerMoment

CREATED, ACCEPTED = 201, 202
UNREADABLE = "http"
"""The rule of an error that came without the problem details of a node."""
SILENCE_SECONDS = 90.0
"""A stream on which nothing came for so long, no keep-alive either, is lost."""
FOLLOW_PAUSE_SECONDS = 10.0
"""The longest pause before a lost stream is opened again."""
_random = random.SystemRandom()
D = TypeVar("D", bound=BaseModel)
T = TypeVar("T", Receipt, Outcome)
P = TypeVar("P", CasePage, ErasedPage, ObligationPage, RetentionPage, TrailPage)


class RefusedError(Exception):
    """The ledger refused; ``problem`` says which rule, and what to do."""

    def __init__(self, problem: ProblemDetails, decision: str | None = None) -> None:
        super().__init__(f"{problem.status} {problem.rule}: {problem.detail or problem.title}")
        self.problem = problem
        self.decision = decision
        """The refusal as the ledger node signed it, where the rules refused an action. Not
        verified here: see :mod:`ledger.log.signed_decision`."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A receipt, and the decision that the ledger node signed with it, where it came along."""

    receipt: Receipt
    decision: str | None
    """Not verified here: see :mod:`ledger.log.signed_decision`."""


class WaitingError(Exception):
    """The action waits in the node's outbox; its outcome can be asked for later."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(f"action {outcome.action_id} waits for the ledger node")
        self.outcome = outcome


class LedgerClient:
    """One agency's client of one node. Every request carries an assertion of its own.

    A request that met no answer is sent again, for up to ``patience`` seconds: an
    action keeps its id, so that it is recorded once.
    """

    def __init__(
        self,
        base_url: str,
        *,
        agency: str,
        key: OKPKey,
        protocol: str,
        audience: str = "case-ledger",
        patience: float = 30.0,
        transport: httpx.BaseTransport | None = None,
        heard: Callable[[Mapping[str, str]], None] | None = None,
    ) -> None:
        """``heard`` is called with the headers of each answer."""
        self.agency = agency
        self._key = key
        self._protocol = protocol
        self._audience = audience
        self._patience = patience
        self._http = (
            bounded_client(base_url=base_url)
            if transport is None
            else httpx.Client(base_url=base_url, transport=transport, headers=AS_IT_IS)
        )
        if heard is not None:
            self._http.event_hooks = {"response": [lambda response: heard(response.headers)]}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def sign(self, action: Action, case_id: UUID | None, action_id: UUID | None = None) -> SdJwt:
        """``action`` as this agency signs it."""
        return signed_action.sign(
            action,
            agency=self.agency,
            key=self._key,
            protocol=self._protocol,
            case_id=case_id,
            action_id=action_id or uuid4(),
        )

    def open_case(self, action: Action, case_id: UUID | None = None) -> Receipt:
        """Open a case with its first action. Raises ``RefusedError``."""
        return self.append(action, case_id or uuid4(), 0)

    def append(
        self, action: Action, case_id: UUID, case_version: int, action_id: UUID | None = None
    ) -> Receipt:
        """Sign ``action``, taken on ``case_version``, and record it. Raises ``RefusedError``."""
        return self.send(self.sign(action, case_id, action_id), case_id, case_version)

    def send(self, signed: SdJwt | str, case_id: UUID, case_version: int) -> Receipt:
        """Record what was signed before; the same again gives the same receipt."""
        return self.submit(signed, case_id, case_version).receipt

    def submit(self, signed: SdJwt | str, case_id: UUID | None, case_version: int) -> Answered:
        """Record what was signed before, on a case or on the protocol, with the signed receipt.

        Raises ``RefusedError``, ``WaitingError``, and ``httpx.RemoteProtocolError`` for an answer
        that is no node's: then it is not known whether the action is recorded.
        """
        if case_id is None:
            return self._post("/v1/protocol/actions", signed, {})
        condition = {"If-Match": f'"{case_version}"'} if case_version else {"If-None-Match": "*"}
        return self._post(f"/v1/cases/{case_id}/actions", signed, condition)

    def append_to_registry(self, action: Action) -> Receipt:
        """Record an act on the protocol itself. Raises ``RefusedError``."""
        return self.send_to_registry(self.sign(action, None))

    def send_to_registry(self, signed: SdJwt | str) -> Receipt:
        """Record an act on the protocol that was signed before. Raises ``RefusedError``."""
        return self.submit(signed, None, 0).receipt

    def case(
        self,
        case_id: UUID,
        *,
        as_of_position: int | None = None,
        as_of_time: datetime | None = None,
        valid_at: datetime | None = None,
        at_least: int | None = None,
    ) -> Case:
        """One case as this agency's country sees it, now, as it was known, or as it was."""
        params = {
            "as_of_position": as_of_position,
            "as_of_time": as_of_time and as_of_time.isoformat(),
            "valid_at": valid_at and valid_at.isoformat(),
            "at_least": at_least,
        }
        return self._get(f"/v1/cases/{case_id}", Case, params)

    def difference(self, case_id: UUID, before: Moment, after: Moment) -> CaseDifference:
        """What is different of a case between two moments, and why."""
        params = {
            f"{name}_{part}": value.isoformat() if isinstance(value, datetime) else value
            for name, moment in (("from", before), ("to", after))
            for part, value in asdict(moment).items()
        }
        return self._get(f"/v1/cases/{case_id}/difference", CaseDifference, params)

    def ledger_moment(self, moment: Moment) -> LedgerMoment:
        """The whole ledger as it was known at a moment, in numbers."""
        params = {
            "as_of_position": moment.position,
            "as_of_time": moment.time and moment.time.isoformat(),
        }
        return self._get("/v1/ledger/moment", LedgerMoment, params)

    def cases(
        self,
        *,
        status: CaseStatus | None = None,
        stage: Stage | None = None,
        priority: Priority | None = None,
        lead_agency: str | None = None,
        awaits_us: bool | None = None,
        page: int = 100,
    ) -> Iterator[CaseView]:
        """Every case of this agency's country that fits, the last opened first."""
        params = {
            "status": status,
            "stage": stage,
            "priority": priority,
            "lead_agency": lead_agency,
            "awaits_us": awaits_us,
            "limit": page,
        }
        for found in self._pages("/v1/cases", CasePage, params, "before"):
            yield from found.cases

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
        """All that is held on a person, for that person: JSON, or a PDF."""
        response = self._request(
            "POST",
            f"/v1/cases/{case_id}/subject-access",
            params={"format": "pdf" if pdf else "json"},
            content=SubjectAccessRequest.model_validate({"language": language}).model_dump_json(),
            headers={"Content-Type": "application/json"},
        )
        return response.content

    def readings(self, case_id: UUID) -> ReadingPage:
        """Who asked for the person's personal fields in this agency's country."""
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
        """Cases that may be of a person whose case another country opened too."""
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

    def obligations(
        self,
        *,
        party: str | None = None,
        creditor: str | None = None,
        agency: str | None = None,
        kind: ObligationKind | None = None,
        state: ObligationState | None = None,
        case_id: UUID | None = None,
        overdue: bool = False,
        as_of: datetime | None = None,
        at_least: int | None = None,
        page: int = 200,
    ) -> Iterator[Obligation]:
        """Every obligation that fits, in the cases of this coordinator's country.

        The last opened first, or with ``overdue`` the longest overdue, now or ``as_of`` a moment.
        """
        params = {
            "party": party,
            "creditor": creditor,
            "agency": agency,
            "kind": kind,
            "state": state,
            "case_id": case_id,
            "overdue": overdue,
            "as_of": as_of and as_of.isoformat(),
            "at_least": at_least,
            "limit": page,
        }
        for found in self._pages("/v1/obligations", ObligationPage, params, "after"):
            yield from found.obligations

    def response_times(
        self, by: Iterable[Dimension] = (), *, as_of: datetime | None = None
    ) -> ResponseTimesOf:
        """How fast obligations were discharged, by country and kind or other dimensions."""
        params = {"by": list(by), "as_of": as_of and as_of.isoformat()}
        return self._get("/v1/accountability/response-times", ResponseTimesOf, params)

    def reciprocity(self, *, as_of: datetime | None = None) -> Reciprocity:
        """What this coordinator's country and each other one owe each other."""
        params = {"as_of": as_of and as_of.isoformat()}
        return self._get("/v1/accountability/reciprocity", Reciprocity, params)

    def trail(self, case_id: UUID, *, at_least: int | None = None) -> Iterator[TrailEntry]:
        """The audit trail of a case, from its opening."""
        yield from self._trail(f"/v1/cases/{case_id}/trail", at_least)

    def protocol_trail(self, *, at_least: int | None = None) -> Iterator[TrailEntry]:
        """The audit trail of the protocol: its adoption and its keys."""
        yield from self._trail("/v1/protocol/trail", at_least)

    def events(self, after: int = 0, *, limit: int = 500) -> EventPage:
        """A page of events by position."""
        return self._get("/v1/events", EventPage, {"after": after, "limit": limit})

    def follow(self, after: int = 0, *, lost: Callable[[], None] = lambda: None) -> Iterator[Event]:
        """Yield the events after a position as they come, without end.

        A connection that is lost, such as by a restart of the node, is opened again after the last
        event that came. ``lost`` is called each time before that. Raises ``RefusedError`` where the
        node refuses for good, such as once this agency's key is revoked.
        """
        position, attempts = after, 0
        while True:
            opened_at = time.monotonic()
            try:
                for event in self._stream(position):
                    position = event.position
                    yield event
            except (httpx.TransportError, RefusedError) as error:
                if not _no_answer(error):
                    raise
            if time.monotonic() - opened_at > FOLLOW_PAUSE_SECONDS:
                attempts = 0
            lost()
            longest = min(FOLLOW_PAUSE_SECONDS, 0.1 * 2**attempts)
            time.sleep(longest * (0.5 + _random.random() / 2))
            attempts += 1

    def _stream(self, after: int) -> Iterator[Event]:
        """Yield events for as long as one connection holds."""
        headers = {**self._authorization(), "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(15.0, read=SILENCE_SECONDS)
        with connect_sse(
            self._http, "GET", "/v1/events", headers=headers, timeout=timeout
        ) as stream:
            if stream.response.is_error:
                raise RefusedError(_problem(read_bounded(stream.response)))
            for message in stream.iter_sse():
                # The library yields a message for each keep-alive comment, with no data.
                if message.data:
                    yield Event.model_validate_json(message.data)

    def agencies(self) -> list[AgencyWithKeys]:
        """Every agency of the protocol, with its keys."""
        response = self._request("GET", "/v1/agencies")
        return TypeAdapter(list[AgencyWithKeys]).validate_json(response.content)

    def key_proposals(self) -> list[KeyProposalDocument]:
        """Return the changes of keys that wait for another party."""
        response = self._request("GET", "/v1/key-proposals")
        return TypeAdapter(list[KeyProposalDocument]).validate_json(response.content)

    def absence(self, party: str) -> AbsenceReport:
        """Return what was announced, decided and published without a party."""
        return self._get(f"/v1/parties/{party}/absence", AbsenceReport)

    def protocol(self) -> ProtocolDocument:
        """The protocol that the ledger adopted."""
        return self._get("/v1/protocol", ProtocolDocument)

    def proof(self, position: int) -> str:
        """A receipt of the event at ``position`` that verifies offline (C2SP tlog-proof)."""
        return self._request("GET", f"/log/proof/{position}").text

    def signed_head(self, after: int, wait: float = 0) -> str:
        """What the log signed of more than ``after`` events, or last, once ``wait`` is over."""
        params = {"after": after, "wait": wait}
        return self._request("GET", "/v1/log/head", params=params).text

    def checkpoint(self) -> str:
        """The last checkpoint that a quorum of witnesses cosigned."""
        return self._request("GET", "/log/checkpoint").text

    def policies(self, *sizes: int) -> str:
        """Return the policies that the parties adopted, with what proves them: not verified here.

        ``sizes`` are of checkpoints older than the trusted policy that are to be proved too.
        """
        return self._request("GET", "/log/policies", params={"size": list(sizes)}).text

    def outcome(self, action_id: UUID) -> Outcome:
        """What became of an action that was handed in at this node."""
        return self._get(f"/v1/outbox/{action_id}", Outcome)

    def outbox(self) -> OutboxPage:
        """What was handed in last at this node, and what became of it."""
        return self._get("/v1/outbox", OutboxPage)

    def send_parcel(self, parcel: ParcelDocument) -> None:
        """Hand in a parcel for another country's node; for a node alone."""
        self._send_document("/v1/mailbox/parcels", parcel)

    def parcels(
        self, limit: int = 20, after: Sequence[str] = (), ids: Sequence[UUID] = ()
    ) -> ParcelPage:
        """The parcels that wait for this node's country.

        ``after`` has the place that this node has looked at last for a sender, as ``XK:12``;
        ``ids`` asks for these parcels alone.
        """
        params: dict[str, Any] = {"limit": limit}
        if after:
            params["after"] = list(after)
        if ids:
            params["id"] = [str(one) for one in ids]
        return self._get("/v1/mailbox/parcels", ParcelPage, params)

    def acknowledge_parcels(self, signed: Sequence[str]) -> int:
        """Hand in acknowledgements of parcels. Returns how many parcels left by them."""
        document = Acknowledgements(acknowledgements=tuple(signed))
        response = self._send_document("/v1/mailbox/acknowledgements", document)
        return ParcelsTakenOut.model_validate_json(response.content).parcels

    def parcel_outcomes(self, limit: int = 100) -> OutcomePage:
        """What became of the parcels that this node's country handed in."""
        return self._get("/v1/mailbox/outcomes", OutcomePage, {"limit": limit})

    def settle_outcomes(self, places: Sequence[int]) -> None:
        """Say that these outcomes were written down here."""
        self._send_document("/v1/mailbox/outcomes/settled", SettledOutcomes(places=tuple(places)))

    def missing_parcels(self, sent: Sequence[SentDigest]) -> tuple[UUID, ...]:
        """Which of these parcels the mailbox does not have."""
        response = self._send_document("/v1/mailbox/missing", SentDigests(sent=tuple(sent)))
        return MissingParcels.model_validate_json(response.content).missing

    def state_submissions(self, statements: Sequence[str]) -> SubmissionPage:
        """Hand signed statements on waiting actions to another country's node; for a node alone."""
        sent = StatedSubmissions(statements=tuple(statements))
        response = self._send_document("/v1/submissions", sent)
        return SubmissionPage.model_validate_json(response.content)

    def submissions(self, limit: int = 200) -> SubmissionPage:
        """Return what other countries' nodes stated that they handed in."""
        return self._get("/v1/submissions", SubmissionPage, {"limit": limit})

    def ready(self) -> Readiness:
        """Whether the node can serve. Raises ``RefusedError`` where it cannot yet."""
        return self._get("/ready", Readiness)

    def _trail(self, path: str, at_least: int | None) -> Iterator[TrailEntry]:
        for page in self._pages(path, TrailPage, {"at_least": at_least}, "after"):
            yield from page.entries

    def _pages(self, path: str, model: type[P], params: dict[str, Any], cursor: str) -> Iterator[P]:
        """Every page of a list; ``cursor`` is the parameter that takes what a page calls next."""
        page = self._get(path, model, params)
        yield page
        while page.next is not None:
            page = self._get(path, model, {**params, cursor: page.next})
            yield page

    def _get(self, path: str, model: type[D], params: dict[str, Any] | None = None) -> D:
        present = {name: value for name, value in (params or {}).items() if value is not None}
        return model.model_validate_json(self._request("GET", path, params=present).content)

    def _send_document(self, path: str, document: BaseModel) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return self._request("POST", path, content=document.model_dump_json(), headers=headers)

    def _post(self, path: str, signed: SdJwt | str, condition: dict[str, str]) -> Answered:
        headers = {"Content-Type": "application/sd-jwt", **condition}
        response = self._request("POST", path, content=str(signed), headers=headers)
        decision = response.headers.get(HEADER)
        if response.status_code == ACCEPTED:
            outcome = _answer(Outcome, response)
            return Answered(*self._await(_about(signed, outcome), decision))
        if response.status_code != CREATED:
            raise _no_node(response)
        return Answered(_about(signed, _answer(Receipt, response)), decision)

    def _await(self, outcome: Outcome, decision: str | None) -> tuple[Receipt, str | None]:
        """Ask for the outcome of an action that waits in the node's outbox, while patient."""
        deadline = time.monotonic() + self._patience
        while outcome.receipt is None:
            if outcome.problem is not None:
                raise RefusedError(outcome.problem, decision)
            if time.monotonic() > deadline:
                raise WaitingError(outcome)
            time.sleep(0.1)
            response = self._request("GET", f"/v1/outbox/{outcome.action_id}")
            outcome, decision = _answer(Outcome, response), response.headers.get(HEADER)
        return outcome.receipt, decision

    def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **content: Any
    ) -> httpx.Response:
        for attempt in Retrying(
            retry=retry_if_exception(_no_answer),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0, jitter=0.1),
            reraise=True,
        ):
            with attempt:
                # A new assertion each time: the last one may have been used.
                sent = {**(headers or {}), **self._authorization()}
                response = bounded(self._http, method, path, headers=sent, **content)
                if response.is_error:
                    raise RefusedError(_problem(response), response.headers.get(HEADER))
                return response
        raise AssertionError("unreachable: the last attempt raises")

    def _authorization(self) -> dict[str, str]:
        assertion = make_assertion(self.agency, self._key, self._audience)
        headers = {"Authorization": f"Bearer {assertion}"}
        pass_on(headers)
        return headers


def _answer(model: type[D], response: httpx.Response) -> D:
    """Read an answer to a signed action. Raises ``httpx.RemoteProtocolError`` for another's."""
    try:
        return model.model_validate_json(response.content)
    except ValidationError:
        raise _no_node(response) from None


def _about(signed: SdJwt | str, answer: T) -> T:
    """The same answer, which must be about this action. Raises ``httpx.RemoteProtocolError``."""
    if answer.action_id != _action_id(signed):
        raise httpx.RemoteProtocolError("the answer is about another action")
    return answer


def _action_id(signed: SdJwt | str) -> UUID:
    return signed_action.read_recorded(str(signed).partition("~")[0] + "~").id


def _no_node(response: httpx.Response) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(
        f"the answer ({response.status_code}) is no receipt of a node; it may be a proxy's"
    )


def _no_answer(error: BaseException) -> bool:
    if isinstance(error, RefusedError):
        return error.problem.status in (429, 502, 503, 504)
    return isinstance(error, httpx.TransportError)


def _problem(response: httpx.Response) -> ProblemDetails:
    try:
        return ProblemDetails.model_validate_json(response.content)
    except ValidationError:
        return ProblemDetails(
            type="about:blank",
            title=response.reason_phrase,
            status=response.status_code,
            rule=UNREADABLE,
        )
