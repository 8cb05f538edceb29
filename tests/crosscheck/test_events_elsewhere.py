"""Whatever append accepts, every reader reads alike: ours, the auditor's, and the browser's.

Generated envelopes differ from what a model writes in types, nulls, letter case, repeated names,
escapes, order, spaces and extremes. Those that append refuses leave nothing behind; recorded past
append, as a hostile node would, they stop no reader of this program.
"""

import json
import os
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from random import Random
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.application import Ledger, environment
from ledger.events.event_mapper import UnsealedEvent
from ledger.refusals import Refusal
from ledger.signing import keys, signed_action
from ledger.signing.sd_jwt import SdJwt
from ledger.verification.evidence_reader import stored_rows
from ledger.verification.verification import ExpectedLedger, verify_ledger
from ledger.vocabulary import NOT_UNDERSTOOD
from ledger.vocabulary.picklists import ProtectionMeasureKind, RiskLevel
from ledger.vocabulary.protection import ProtectionMeasureTaken, RiskAssessed
from ledger.vocabulary.registration import KeyRegistered, ReadingsAnchored
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.event_readers import (
    HAS_NODE,
    Fact,
    by_auditor,
    by_browser,
    by_columns,
    by_definition,
    by_rebuild,
    by_replay,
    by_verification,
    by_views,
    entries_of,
    rows_from,
)

pytestmark = pytest.mark.skipif(not HAS_NODE, reason="Node.js is not installed")
ENVELOPES = int(os.environ.get("CASE_LEDGER_TEST_ENVELOPES", "300"))
SEED = int(os.environ.get("CASE_LEDGER_TEST_SEED", "0")) or Random().getrandbits(32)
POLICE, COORDINATOR, NODE, COURT = "xk-dhtqnj", "xk-nac", "xk-node", "xk-court-prishtina"
_Edit = Callable[[Random, dict[str, Any], dict[str, Any]], None]

CHANGED_ALREADY = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
VALUES: tuple[Any, ...] = (
    None, "", "1", "true", "null", True, False, 0, 1, 2, -1, 1.0, 1.5, 2**31, 2**53, 2**63, 10**30,
    253_402_300_799, 253_402_300_800, [], [None], {}, {"a": 1}, "\x00", "\ud800", "é\u2028\u202e",
    "9" * 5_000, "2026-11-29T10:00:00.170Z", "XK-DHTQNJ", "xk-dhtqnj ", "sha-256",
)  # fmt: skip
TIMES = (
    "2026-01-05T08:00:00Z", "2026-01-05T08:00:00.1Z", "2026-01-05T08:00:00.170Z",
    "2026-01-05T08:00:00.000Z", "2026-01-05T08:00:00.000001Z", "2026-01-05T08:00:00.999999Z",
    "0001-01-01T00:00:00Z", "1582-10-10T00:00:00Z", "2024-02-29T23:59:59.9Z",
    "2026-01-05T08:00:00.1234567Z", "2026-01-05T08:00:00.Z", "2026-01-05t08:00:00z",
    "2026-01-05T08:00:00+00:00", "2026-01-05T09:00:00+01:00", "2026-01-05 08:00:00Z",
    "2026-01-05T24:00:00Z", "2026-01-05T08:00:60Z", "2026-02-30T08:00:00Z",
    "0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z",
    "\uff12026-01-05T08:00:00Z", "2026-1-5T08:00:00Z", "1767600000", 1767600000,
)  # fmt: skip
DAYS = ("2027-01-01", "0001-01-01", "9999-12-31", "2027-1-1", "20270101", "2027-01-01T00:00:00",
    "2027-W01-1", 1767600000, "2027-02-29", None)  # fmt: skip


def id_forms(value: str) -> tuple[str, ...]:
    return (
        value.upper(), f"urn:uuid:{value}", f"{{{value}}}", value.replace("-", ""), f" {value}",
        value.replace("-", "\u2010"), value[:-1], value.capitalize(),
    )  # fmt: skip


def drop(random: Random, header: dict[str, Any], claims: dict[str, Any]) -> None:
    whole = random.choice((header, claims, claims["act"]))
    whole.pop(random.choice(list(whole)))


def add(random: Random, header: dict[str, Any], claims: dict[str, Any]) -> None:
    whole = random.choice((header, claims, claims["act"]))
    name = random.choice(("version", "nbf", "crit", "sub", "_sd_alg", "\ud800", "Kind", "act", ""))
    whole[name] = random.choice(VALUES)


def replace(random: Random, header: dict[str, Any], claims: dict[str, Any]) -> None:
    whole = random.choice((header, claims, claims, claims["act"]))
    whole[random.choice(list(whole))] = random.choice(VALUES)


def number(random: Random, _: dict[str, Any], claims: dict[str, Any]) -> None:
    if "entries" in claims["act"] and random.random() < 0.5:
        claims["act"]["entries"] = random.choice((2**53 - 1, 2**53, "7", 7.0, True, -7, None))
        return
    claims["iat"] = random.choice(
        (0, 1, -1, str(claims["iat"]), float(claims["iat"]), True, None, 253_402_300_799,
            253_402_300_800, 10**400, f" {claims['iat']}", f"{claims['iat']}.0")
    )  # fmt: skip


def identity(random: Random, _: dict[str, Any], claims: dict[str, Any]) -> None:
    name = random.choice(("jti", "case"))
    if name in claims:
        claims[name] = random.choice(id_forms(claims[name]))


def moment(random: Random, _: dict[str, Any], claims: dict[str, Any]) -> None:
    places = [(claims["act"], name) for name in ("acted_at", "until") if name in claims["act"]]
    if "grant" in claims["act"]:
        places += [(claims["act"]["grant"], name) for name in ("valid_from", "valid_until")]
    whole, name = random.choice(places)
    whole[name] = random.choice(TIMES)


def day(random: Random, _: dict[str, Any], claims: dict[str, Any]) -> None:
    if "review_by" in claims["act"]:
        claims["act"]["review_by"] = random.choice(DAYS)


def digests(random: Random, _: dict[str, Any], claims: dict[str, Any]) -> None:
    held = claims["act"].get("_sd")
    if held:
        held[0] = random.choice((held[-1], held[0][:-1] + "=", None, held[0].lower(), 1))


def nothing(_: Random, __: dict[str, Any], ___: dict[str, Any]) -> None:
    pass


EDITS: tuple[_Edit, ...] = (
    nothing, nothing, drop, add, replace, number, identity, moment, moment, day, digests,
)  # fmt: skip


def written(random: Random, content: Mapping[str, Any]) -> bytes:
    """The content as JSON, in one of the ways in which JSON may be written."""
    items = list(content.items())
    if random.random() < 0.3:
        random.shuffle(items)
    spaces = random.random() < 0.2
    text = json.dumps(
        dict(items),
        ensure_ascii=True if any_surrogate(content) else random.random() < 0.3,
        indent=random.choice((0, 2)) if spaces else None,
        separators=(" , ", " : ") if spaces else (",", ":"),
    )
    if random.random() < 0.05 and items:  # a name twice, with the same value or another
        name, value = random.choice(items)
        other = random.choice((value, "other"))
        text = text.rstrip().removesuffix("}") + f",{json.dumps(name)}:{json.dumps(other)}}}"
    if random.random() < 0.2:  # a letter as an escape: the same text by JSON
        text = text.replace('"iss"', '"\\u0069ss"').replace('"x', '"\\u0078')
    if random.random() < 0.03:
        text = random.choice(("\ufeff", "\n", " ")) + text
    return text.encode()


def any_surrogate(content: object) -> bool:
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def sealed(header: bytes, payload: bytes, key: Any) -> str:
    def encode(data: bytes) -> str:
        return urlsafe_b64encode(data).decode().rstrip("=")

    signed = f"{encode(header)}.{encode(payload)}"
    signature = key.get_op_key("sign").sign(signed.encode())
    return f"{signed}.{encode(signature)}~"


@dataclass
class Writer:
    """Makes envelopes that are nearly right, and hands them in."""

    ledger: Ledger
    agencies: Agencies
    random: Random
    cases: list[UUID] = field(default_factory=list)
    refused: list[tuple[UUID, str]] = field(default_factory=list)
    rules: Counter[str] = field(default_factory=Counter)
    began: int = 0
    """How many events there were before."""
    accepted: int = 0
    anchored: int = 0

    def honest(self) -> tuple[str, SdJwt]:
        """An action that append would accept, and its agency."""
        random = self.random
        case = random.choice(self.cases) if self.cases and random.random() < 0.7 else None
        which = random.randrange(6)
        if which == 0:
            self.anchored += 1
            anchor = ReadingsAnchored(acted_at=START, entries=self.anchored, head="0" * 64)
            return NODE, self.agencies.sign(NODE, anchor, None)
        if which == 1:
            grant = self.agencies.grant(POLICE, keys.generate())
            registration = KeyRegistered(acted_at=PAST, grant=grant)
            return COORDINATOR, self.agencies.sign(COORDINATOR, registration, None)
        if case is None:
            return POLICE, self.agencies.sign(POLICE, opening(), uuid4())
        if which == 2:
            measure = ProtectionMeasureTaken(
                acted_at=START,
                measure=ProtectionMeasureKind.RESTRAINING_ORDER,
                until=datetime(2027, 1, 1, tzinfo=UTC),
            )
            return COURT, self.agencies.sign(COURT, measure, case)
        risk = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH, review_by=date(2027, 1, 1))
        return POLICE, self.agencies.sign(POLICE, risk, case)

    def write(self) -> None:
        agency, sd = self.honest()
        header, claims = dict(sd.header), deepcopy(dict(sd.payload))
        case = UUID(claims["case"]) if "case" in claims else None
        for edit in self.random.choices(EDITS, k=self.random.choice((1, 1, 2))):
            with suppress(*CHANGED_ALREADY):
                edit(self.random, header, claims)
        text = sealed(
            written(self.random, header), written(self.random, claims), self.agencies.keys[agency]
        )
        try:
            action = signed_action.read(signed_action.parse(text))
            if case is None:
                self.ledger.append_to_registry(action)
            else:
                known = self.ledger.case(case)
                self.ledger.append(action, case, known.version if known else 0)
                self.cases = list({*self.cases, case})
            self.accepted += 1
        except Refusal as refusal:
            self.rules[refusal.rule] += 1
            self.refused.append((case or self.agencies.protocol.ledger_id, text))


@pytest.fixture
def writer(ledger: Ledger, agencies: Agencies) -> Writer:
    print(f"CASE_LEDGER_TEST_SEED={SEED}")
    made = Writer(ledger, agencies, Random(SEED), began=ledger.head())
    for _ in range(ENVELOPES):
        made.write()
    return made


def test_what_append_accepts_every_reader_reads_alike(writer: Writer, database: str) -> None:
    entries = entries_of(database)
    with psycopg.connect(database) as connection:
        report = verify_ledger(stored_rows(connection), ExpectedLedger(), workers=1)
    assert (report.findings, report.marks) == ((), ())
    told = by_definition(entries)
    assert len(told) == writer.began + writer.accepted
    assert NOT_UNDERSTOOD not in {fact.kind for fact in told.values()}
    for reader in (by_views, by_rebuild, by_columns, by_replay):
        assert reader(database) == told, reader.__name__
    assert by_verification(entries) == by_auditor(entries) == told
    assert by_browser(entries) == {position: (fact, True) for position, fact in told.items()}
    # The generator makes both, and refusals of every sort.
    assert writer.accepted > ENVELOPES / 8
    assert {"not-canonical", "model", "malformed-sd-jwt"} <= writer.rules.keys()


def test_what_append_refuses_stops_no_reader_where_it_is_recorded_all_the_same(
    writer: Writer, database: str
) -> None:
    versions = Counter(
        {case: known.version for case in writer.cases if (known := writer.ledger.case(case))}
    )
    versions[writer.agencies.protocol.ledger_id] = writer.ledger.adopted().version
    for originator, text in writer.refused:
        mark = signed_action.read_recorded(text).mark
        if mark is not None and mark.is_newer:
            continue  # every reader stops before it: the program must be updated
        versions[originator] += 1
        event = UnsealedEvent(originator, versions[originator], "some", text.encode(), uuid4())
        writer.ledger.rows.insert_events([event])
    entries = entries_of(database)
    told = by_definition(entries)
    assert NOT_UNDERSTOOD in {fact.kind for fact in told.values()}
    for reader in (by_views, by_rebuild, by_columns, by_replay):
        assert without_ids(reader(database)) == without_ids(told), reader.__name__
    assert by_verification(entries) == told
    with Ledger(environment(database)) as restarted:
        assert restarted.adopted().version == versions[writer.agencies.protocol.ledger_id]
        for case in writer.cases:
            known = restarted.case(case)
            assert known is not None
            assert known.version == versions[case]
            risk = RiskAssessed(acted_at=datetime.now(UTC), risk_level=RiskLevel.HIGH)
            signed = signed_action.read(writer.agencies.sign(POLICE, risk, case))
            restarted.append(signed, case, known.version)
    browsers = by_browser(entries)
    marks = {row.position: row.event().action.mark for row in rows_from(entries)}
    for position, fact in told.items():
        if fact.kind == NOT_UNDERSTOOD:
            continue
        (audited,) = by_auditor([entries[position - 1]]).values()
        shown, is_canonical = browsers[position] or (None, None)
        # The others know the envelope and the time of acting, and no other field of a kind.
        assert is_canonical or marks[position] is not None
        assert shown is not None
        if marks[position] is not None:  # of a time in another form, others show the text
            audited, shown, fact = (one._replace(acted_at="") for one in (audited, shown, fact))
        assert audited == shown == fact


def without_ids(facts: Mapping[int, Fact]) -> Mapping[int, Fact]:
    """The row of a hostile event may say another case and id than its bytes."""
    return {position: fact._replace(case=None, action_id="") for position, fact in facts.items()}
