"""A valid ledger of any size, made fast: really signed, by the rules, loaded by COPY.

Cases of 8 to 12 events (10 on average) over the three countries, many open at once, so that one
case's events lie apart as they do in a ledger that grew. What ``case-ledger verify`` asks of a
ledger holds of it: bytes, signatures, rules, order, tree.
"""

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from multiprocessing import get_context
from typing import Any
from uuid import UUID

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey
from psycopg import Connection

from ledger.events import event_bytes
from ledger.events.event_mapper import UnsealedEvent
from ledger.log.merkle import Frontier, TileHash, leaf_hash
from ledger.procedure.protocol import Protocol
from ledger.signing import sd_jwt, signed_action
from ledger.signing.keys import key_id
from ledger.system.identifiers import new_id
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import (
    CaseClosed,
    CasePrioritised,
    CaseReopened,
    ConsentGiven,
    Correction,
    InformationAcknowledged,
    InformationProvided,
    InformationRequested,
    JointActionAgreed,
    JointActionDone,
    MeetingHeld,
)
from ledger.vocabulary.identification import CaseOpened, VictimIdentified
from ledger.vocabulary.proceedings import Investigated
from ledger.vocabulary.protection import (
    BestInterestsAssessed,
    GuardianAppointed,
    ProtectionMeasureTaken,
    RiskAssessed,
    ServiceStarted,
    Sheltered,
)
from tests.support.agencies import Agencies

CASE_LENGTH = 10
"""Events of a case, on average over all :data:`VARIETY`."""
VARIETY = 18
"""Stories, each for every two countries."""
COHORT = 100 * VARIETY
"""Cases that are open at once."""
_START = datetime(2026, 1, 5, 8, tzinfo=UTC)
_CASE, _ACTION, _DIGESTS = UUID(int=1), UUID(int=2), "digests"
_COPY = """
COPY ledger.events (notification_id, originator_id, originator_version, topic, state, action_id,
    recorded_at, leaf_hash) FROM STDIN (FORMAT BINARY)
"""
_COPY_TYPES = ("int8", "uuid", "int8", "text", "bytea", "uuid", "timestamptz", "bytea")


@dataclass(frozen=True, slots=True)
class _Template:
    """One step of a case, ready but for what differs from case to case."""

    agency: str
    kind: str
    header: str
    payload: str
    digests: int
    refers_to: int | None
    """The step whose action it names."""


def _ref(step: int) -> UUID:
    return UUID(int=1000 + step)


def _by_role(agencies: Agencies, party: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for agency in agencies.protocol.agencies:
        if agency.party == party:
            found.setdefault(agency.role, agency.id)
    return found


def _adult(ours: dict[str, str], theirs: dict[str, str], at: Sequence[datetime]) -> list[Any]:
    home, abroad = _country(ours), _country(theirs)
    return [
        (ours["police"], CaseOpened(acted_at=at[0], age_group="adult", countries=(home, abroad),
            ground="police_action", indicators=("unaccompanied_child",))),
        (ours["police"], RiskAssessed(acted_at=at[1], risk_level="high")),
        (ours["police"], VictimIdentified(acted_at=at[2], status="PossibleVictimOfTrafficking",
            decided_by="Police", types_of_exploitation=("ForcedMarriage",))),
        (ours["shelter"], Sheltered(acted_at=at[3], shelter_kind="high_security",
            provider=ours["shelter"])),
        (ours["ngo"], ServiceStarted(acted_at=at[4], service="psychosocial",
            provider=ours["ngo"])),
        (ours["coordinator"], InformationRequested(acted_at=at[5], topics=("family",),
            addressee=theirs["coordinator"], purpose="identification",
            answer_by=(at[5] + timedelta(days=8)).date())),
        (theirs["coordinator"], InformationAcknowledged(acted_at=at[6], request=_ref(5))),
        (theirs["coordinator"], InformationProvided(acted_at=at[7], request=_ref(5),
            complete=True)),
        (ours["prosecutor"], Investigated(acted_at=at[8], state="opened")),
        (ours["prosecutor"], CasePrioritised(acted_at=at[9], priority="high")),
    ]  # fmt: skip


def _child(ours: dict[str, str], theirs: dict[str, str], at: Sequence[datetime]) -> list[Any]:
    home, abroad = _country(ours), _country(theirs)
    both = (ours["police"], theirs["police"])
    return [
        (ours["social_services"], CaseOpened(acted_at=at[0], age_group="child",
            countries=(home, abroad), ground="police_action",
            indicators=("unaccompanied_child",))),
        (ours["social_services"], GuardianAppointed(acted_at=at[1],
            guardian_kind="court_appointed")),
        (ours["social_services"], BestInterestsAssessed(acted_at=at[2], child_heard=True,
            outcome="further_assessment")),
        (ours["police"], RiskAssessed(acted_at=at[3], risk_level="medium")),
        (ours["prosecutor"], VictimIdentified(acted_at=at[4],
            status="PossibleVictimOfTrafficking", decided_by="Police",
            types_of_exploitation=("ForcedMarriage",))),
        (ours["shelter"], Sheltered(acted_at=at[5], shelter_kind="high_security",
            provider=ours["shelter"])),
        (ours["social_services"], ConsentGiven(acted_at=at[6], scopes=("assistance",),
            given_by="guardian", form="written", groups=("identity", "health"))),
        (ours["coordinator"], MeetingHeld(acted_at=at[7], host=home,
            countries=(home, abroad), agencies=both)),
        (ours["coordinator"], JointActionAgreed(acted_at=at[8], responsible=both,
            joint_action="family_tracing", due=(at[8] + timedelta(days=20)).date())),
        (theirs["police"], JointActionDone(acted_at=at[9], agreed_action=_ref(8),
            outcome="achieved")),
        (ours["ngo"], ServiceStarted(acted_at=at[10], service="psychosocial",
            provider=ours["ngo"])),
        (ours["prosecutor"], CasePrioritised(acted_at=at[11], priority="high")),
    ]  # fmt: skip


def _mistaken(ours: dict[str, str], theirs: dict[str, str], at: Sequence[datetime]) -> list[Any]:
    """Another country was asked by mistake, and leaves the case again."""
    return [
        (ours["police"], CaseOpened(acted_at=at[0], age_group="adult",
            countries=(_country(ours),), ground="police_action",
            indicators=("unaccompanied_child",))),
        (ours["police"], VictimIdentified(acted_at=at[1], status="PossibleVictimOfTrafficking",
            decided_by="Police", types_of_exploitation=("ForcedMarriage",))),
        (ours["coordinator"], InformationRequested(acted_at=at[2], topics=("family",),
            addressee=theirs["coordinator"], purpose="identification")),
        (ours["coordinator"], Correction(acted_at=at[3], corrects=_ref(2), effect="annulled",
            reason="wrong_case")),
        (ours["police"], RiskAssessed(acted_at=at[4], risk_level="low")),
        (ours["police"], ProtectionMeasureTaken(acted_at=at[5],
            measure="restraining_order")),
        (ours["coordinator"], CaseClosed(acted_at=at[6], reason="assistance_declined")),
        (ours["coordinator"], CaseReopened(acted_at=at[7], reason="new_information")),
    ]  # fmt: skip


_STORIES: Sequence[Callable[..., list[tuple[str, Action]]]] = (_adult, _child, _mistaken)


def _country(by_role: dict[str, str]) -> str:
    return by_role["police"][:2].upper()


class Maker:
    """Makes events of cases that the rules allow, signed by the agencies' own keys."""

    def __init__(self, agencies: Agencies) -> None:
        self._keys: dict[str, Ed25519PrivateKey] = {
            name: Ed25519PrivateKey.from_private_bytes(key.private_key.private_bytes_raw())
            for name, key in agencies.keys.items()
            if key.private_key is not None
        }
        self._cases = [
            [self._template(agencies, *step) for step in story(ours, theirs, moments)]
            for story in _STORIES
            for ours, theirs in permutations(
                [_by_role(agencies, party.code) for party in agencies.protocol.parties], 2
            )
            for moments in [[_START + timedelta(hours=n) for n in range(12)]]
        ]

    def events(self, cases: int, number: int | None = None) -> Iterator[UnsealedEvent]:
        """Up to ``number`` events of ``cases`` cases, the next step of each in turn."""
        # Neighbours have different stories, so that any prefix is of cases alike.
        kinds = [self._cases[index * 7 % len(self._cases)] for index in range(cases)]
        ids = [new_id() for _ in range(cases)]
        actions: list[list[UUID]] = [[] for _ in range(cases)]
        made = 0
        for step in range(max(map(len, self._cases))):
            for case in range(cases):
                if step >= len(kinds[case]):
                    continue
                if made == number:
                    return
                made += 1
                yield self._event(kinds[case][step], ids[case], step + 1, actions[case])

    def _event(
        self, template: _Template, case: UUID, version: int, actions: list[UUID]
    ) -> UnsealedEvent:
        action = new_id()
        payload = template.payload.replace(str(_CASE), str(case)).replace(str(_ACTION), str(action))
        if template.refers_to is not None:
            payload = payload.replace(
                str(_ref(template.refers_to)), str(actions[template.refers_to])
            )
        if template.digests:
            drawn = os.urandom(32 * template.digests)
            payload = payload.replace(
                _DIGESTS,
                '","'.join(_b64(drawn[n : n + 32]) for n in range(0, len(drawn), 32)),
            )
        actions.append(action)
        signed = f"{template.header}.{_b64(payload.encode())}"
        signature = self._keys[template.agency].sign(signed.encode())
        state = f"{signed}.{_b64(signature)}~".encode()
        return UnsealedEvent(case, version, template.kind, state, action)

    def _template(self, agencies: Agencies, agency: str, action: Action) -> _Template:
        digests = len(action.disclosable_fields())
        act = action.ledger_claims() | ({"_sd": [_DIGESTS]} if digests else {})
        claims = signed_action.ActionClaims(
            iss=agency,
            iat=int(action.acted_at.timestamp()),
            jti=_ACTION,
            protocol=agencies.protocol.id,
            case=_CASE,
            kind=action.kind,
            act=act,
            sd_alg="sha-256",
        )
        payload = claims.model_dump(mode="json", by_alias=True, exclude_none=True)
        header = {"typ": signed_action.TYPE, "kid": key_id(agencies.keys[agency])}
        issued = sd_jwt.issue(header, payload, (), agencies.keys[agency])
        encoded_header, encoded_payload, _ = issued.jwt.split(".")
        text = urlsafe_b64decode(encoded_payload + "==").decode()
        refers_to = next((n for n in range(12) if str(_ref(n)) in text), None)
        return _Template(agency, action.kind, encoded_header, text, digests, refers_to)


@dataclass(frozen=True, slots=True)
class _Part:
    """The part of a ledger that one process makes at once."""

    first: int
    number: int
    cases: int
    recorded_at: datetime


_maker: Maker | None = None
_connection: Connection[Any] | None = None


def _begin(protocol: Protocol, keys: dict[str, dict[str, Any]], owner: str) -> None:
    global _maker, _connection
    _maker = Maker(Agencies(protocol, {k: OKPKey.import_key(v) for k, v in keys.items()}))
    _connection = psycopg.connect(owner)
    # As the owner loads a backup: the whole is checked when all is there.
    _connection.execute("SET session_replication_role = replica")
    _connection.commit()


def _load(part: _Part) -> bytes:
    """Copy a part into its places. Returns the leaf hashes."""
    assert _maker is not None
    assert _connection is not None
    leaves = []
    with _connection.transaction(), _connection.cursor() as curs, curs.copy(_COPY) as copy:
        copy.set_types(_COPY_TYPES)
        for place, event in enumerate(_maker.events(part.cases, part.number)):
            recorded_at = part.recorded_at + timedelta(microseconds=place)
            state = event_bytes.seal(event.state.decode(), recorded_at)
            leaves.append(leaf_hash(state))
            copy.write_row(
                (
                    part.first + place,
                    event.originator_id,
                    event.originator_version,
                    event.topic,
                    state,
                    event.action_id,
                    recorded_at,
                    leaves[-1],
                )
            )
    return b"".join(leaves)


def grow(
    owner: str,
    agencies: Agencies,
    size: int,
    progress: Callable[[int], None] = lambda _: None,
    workers: int | None = None,
) -> None:
    """Bring a ledger that has adopted its protocol to ``size`` events, as its database's owner.

    Goes on from where it was interrupted.
    """
    with psycopg.connect(owner) as connection:
        tree, completed, recorded_at = _made_so_far(connection)
        progress(tree.size)
        parts = _parts(tree.size, size, recorded_at)
        count = workers or os.cpu_count() or 1
        keys = {name: key.as_dict(private=True) for name, key in agencies.keys.items()}
        with ProcessPoolExecutor(
            count,
            get_context("spawn"),
            initializer=_begin,
            initargs=(agencies.protocol, keys, owner),
        ) as pool:
            waiting: deque[Future[bytes]] = deque()
            for part in parts:
                waiting.append(pool.submit(_load, part))
                while len(waiting) > 2 * count:
                    tree, tiles = tree.extend(_leaves(waiting.popleft().result()))
                    completed += tiles
                    progress(tree.size)
            while waiting:
                tree, tiles = tree.extend(_leaves(waiting.popleft().result()))
                completed += tiles
                progress(tree.size)
        connection.execute("SET LOCAL session_replication_role = replica")
        with connection.cursor() as curs:
            curs.executemany(
                "INSERT INTO ledger.tree (level, index, hash) VALUES (%s, %s, %s)",
                [(tile.level, tile.index, tile.hash) for tile in completed],
            )
        last = connection.execute(
            "UPDATE ledger.head SET position = %s, frontier = %s, recorded_at ="
            " (SELECT recorded_at FROM ledger.events ORDER BY notification_id DESC LIMIT 1)"
            " RETURNING position = (SELECT max(notification_id) FROM ledger.events)"
            " AND position = (SELECT count(*) FROM ledger.events)",
            (tree.size, tree.to_bytes()),
        ).fetchone()
        if last is None or not last[0]:
            raise RuntimeError("the ledger that was made has gaps")


def _made_so_far(connection: Connection[Any]) -> tuple[Frontier, list[TileHash], datetime]:
    """Return the tree over all events up to the first gap. Remove the events beyond it."""
    head = connection.execute("SELECT position, recorded_at, frontier FROM ledger.head").fetchone()
    assert head is not None
    position, recorded_at, frontier = head
    tree, completed = Frontier.from_bytes(position, frontier), []
    with (
        connection.cursor() as curs,
        curs.copy(
            "COPY (SELECT notification_id, leaf_hash, recorded_at FROM ledger.events WHERE"
            f" notification_id > {position} ORDER BY notification_id) TO STDOUT (FORMAT BINARY)"
        ) as copy,
    ):
        copy.set_types(["int8", "bytea", "timestamptz"])
        whole = True
        for at, leaf, moment in copy.rows():
            if whole := whole and at == tree.size + 1:
                tree, tiles = tree.extend([leaf])
                completed += tiles
                recorded_at = moment
    connection.execute("SET session_replication_role = replica")
    connection.execute("DELETE FROM ledger.events WHERE notification_id > %s", (tree.size,))
    connection.execute("SET session_replication_role = origin")
    connection.commit()
    return tree, completed, recorded_at


def _parts(position: int, size: int, recorded_at: datetime) -> Iterator[_Part]:
    made = 0
    while position < size:
        number = min(size - position, COHORT * CASE_LENGTH)
        cases = -(-number // (CASE_LENGTH * VARIETY)) * VARIETY
        moment = recorded_at + timedelta(microseconds=made + 1)
        yield _Part(position + 1, number, cases, moment)
        made += number
        position += number


def _leaves(joined: bytes) -> list[bytes]:
    return [joined[n : n + 32] for n in range(0, len(joined), 32)]


def _b64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()
