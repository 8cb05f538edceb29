"""The second pair of eyes: which approvals count, for the rules, copies and the auditor alike."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from joserfc.jwk import OKPKey

from api.paper import protocol_changes
from api.paper.subject_access.wording import Wording
from api.web.agreement import other_rules
from ledger.log.signed_decision import DecisionFile
from ledger.procedure.amendments import text_of
from ledger.procedure.deciding import decide_on_case, decide_on_protocol
from ledger.procedure.protocol import (
    NewerTextError,
    Protocol,
    check_known,
    shipped_protocol,
)
from ledger.procedure.protocol_changes import changes
from ledger.procedure.registry import Registry, SignatureState, registry_of
from ledger.refusals import Refusal
from ledger.signing import approval, keys, sd_jwt, signed_action
from ledger.signing.sd_jwt import with_disclosures, without_disclosures
from ledger.verification.revalidation import Revalidation, inspect
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies, adopted_protocol
from tests.support.amending import amended
from tests.support.auditor import auditor_names
from tests.support.event_readers import HAS_NODE, by_browser, signatures_by_browser
from tests.support.recorded import BEGAN, MemoryLedger

POLICE, COORDINATOR, THEIRS, SOCIAL = "xk-dhtqnj", "xk-nac", "me-csw-niksic", "xk-csw-prishtina"
ASKED = {"actions": ["case_opened"], "roles": ["police"], "parties": ["XK"], "within_days": 7}


@dataclass
class Office:
    """An agency with an author, two colleagues, the author's second key, and a system."""

    ledger: MemoryLedger
    author: OKPKey
    second: OKPKey
    colleague: OKPKey
    gone: OKPKey
    abroad: OKPKey

    @property
    def registry(self) -> Registry:
        return registry_of(row.event() for row in self.ledger.acts())

    def signed(self, key: OKPKey | None = None, case: UUID | None = None) -> sd_jwt.SdJwt:
        return signed_action.sign(
            opening(acted_at=BEGAN),
            agency=POLICE,
            key=key or self.author,
            protocol=self.ledger.agencies.protocol.id,
            case_id=case or uuid4(),
            signed_at=self.ledger.now,
        )

    def approve(self, signed: object, key: OKPKey, **changed: object) -> str:
        given = approval.sign(str(signed), agency=POLICE, key=key, signed_at=self.ledger.now)
        if changed:
            parsed = sd_jwt.parse(f"{given}~")
            given = sd_jwt.issue(
                {"typ": parsed.header["typ"], "kid": parsed.header["kid"]},
                {**parsed.payload, **changed},
                (),
                key,
            ).jwt
        return given

    def decided(self, text: str, later: timedelta = timedelta(0)) -> str | None:
        """Decide on a text by the rules. Returns the rule that refuses it."""
        try:
            action = signed_action.read(signed_action.parse(text))
            decide_on_case(action, None, 0, self.registry, self.ledger.now + later)
        except Refusal as refusal:
            return refusal.rule
        return None


@pytest.fixture(scope="module")
def office() -> Office:
    protocol = Protocol.model_validate(text_of(adopted_protocol()) | {"approvals": [ASKED]})
    ledger = MemoryLedger(Agencies(protocol))
    ledger.begin()
    author, colleague, gone, abroad = (uuid4() for _ in range(4))
    made: list[OKPKey] = []

    def register(agency: str, member: UUID, by: str) -> OKPKey:
        key = keys.generate()
        act = KeyRegistered(acted_at=PAST, grant=ledger.agencies.grant(agency, key), member=member)
        ledger.put(ledger.agencies.sign(by, act, None).without_disclosures(), protocol.ledger_id)
        made.append(key)
        return key

    office = Office(
        ledger,
        register(POLICE, author, COORDINATOR),
        register(POLICE, author, COORDINATOR),
        register(POLICE, colleague, COORDINATOR),
        register(POLICE, gone, COORDINATOR),
        register(THEIRS, abroad, "me-nac"),
    )
    revoked = KeyRevoked(acted_at=PAST, key_id=keys.key_id(office.gone))
    ledger.put(
        ledger.agencies.sign(COORDINATOR, revoked, None).without_disclosures(), protocol.ledger_id
    )
    return office


def test_an_action_counts_with_the_approval_of_a_second_member_alone(office: Office) -> None:
    signed = office.signed()
    bare, other = str(signed), office.signed()
    system = office.ledger.agencies.keys[POLICE]

    def by(key: OKPKey, **changed: object) -> str:
        return approval.approved(bare, office.approve(bare, key, **changed))

    forged = office.approve(bare, office.colleague)
    head, payload, _ = forged.split(".")
    other_signature = office.approve(other, office.colleague).rpartition(".")[2]
    of_system = str(office.signed(system))
    old, ahead = int((office.ledger.now - timedelta(days=8)).timestamp()), 10**9 * 2
    refused = {
        "nobody": (bare, "approval-missing"),
        "the author": (by(office.author), "approval-by-author"),
        "the author's second key": (by(office.second), "approval-by-author"),
        "a key that was revoked": (by(office.gone), "approval-key"),
        "another agency": (by(office.abroad), "approval-of-another-agency"),
        "in another agency's name": (
            by(office.colleague, iss=COORDINATOR),
            "approval-of-another-agency",
        ),
        "a system": (by(system), "approval-without-member"),
        "of a system's action": (
            approval.approved(of_system, office.approve(of_system, office.colleague)),
            "approval-without-member",
        ),
        "an unknown key": (by(keys.generate()), "approval-key"),
        "of another action": (
            approval.approved(bare, office.approve(other, office.colleague)),
            "approval-of-another-action",
        ),
        "another id": (by(office.colleague, action=str(uuid4())), "approval-of-another-action"),
        "another text": (by(office.colleague, sd_hash="A" * 43), "approval-of-another-action"),
        "another protocol": (by(office.colleague, protocol="x"), "approval-of-another-action"),
        "too old": (by(office.colleague, iat=old), "approval-too-old"),
        "of the future": (by(office.colleague, iat=ahead), "approval-in-future"),
        "another signature": (
            approval.approved(bare, f"{head}.{payload}.{other_signature}"),
            "approval-signature",
        ),
        "one claim more": (by(office.colleague, more=1), "approval-malformed"),
        "a number as text": (by(office.colleague, iat="1"), "approval-malformed"),
        "no JWT": (approval.approved(bare, "a.b"), "approval-malformed"),
        "two": (by(office.colleague) + "~" + forged, "malformed-sd-jwt"),
    }
    found = {name: office.decided(text) for name, (text, _) in refused.items()}
    assert found == {name: rule for name, (_, rule) in refused.items()}
    good = by(office.colleague)
    assert office.decided(good) is None
    assert office.decided(good, later=timedelta(days=8)) == "approval-too-old"
    for text, fits in ((without_disclosures(good), True), (f"{signed.jwt}~disclosed", False)):
        try:
            DecisionFile(action=text, decision="x")
        except ValueError:
            assert not fits
        else:
            assert fits
    assert without_disclosures(good) == f"{signed.jwt}~{good.rpartition('~')[2]}"
    assert with_disclosures(f"{signed.jwt}~x", ["d"]) == f"{signed.jwt}~d~x"


def test_where_the_text_asks_for_none_an_approval_is_refused(office: Office) -> None:
    """Programs without approvals read such a ledger: it must have none."""
    colleague = office.signed(office.colleague)
    other_role = signed_action.sign(
        opening(acted_at=BEGAN), agency=SOCIAL, key=office.ledger.agencies.keys[SOCIAL],
        protocol=office.ledger.agencies.protocol.id, case_id=uuid4(),
        signed_at=office.ledger.now,
    )  # fmt: skip
    given = office.approve(other_role, office.colleague)
    assert office.decided(str(other_role)) is None
    assert office.decided(approval.approved(str(other_role), given)) == "approval-not-asked"
    act = office.ledger.agencies.adoption()
    text = approval.approved(str(act), office.approve(act, office.colleague))
    approved = signed_action.read(signed_action.parse(text))
    with pytest.raises(Refusal, match="asks for no approval"):
        decide_on_protocol(approved, office.registry, BEGAN, office.ledger.root)
    assert office.decided(str(colleague)) == "approval-missing"


def test_copies_and_the_auditor_refuse_what_the_rules_refuse(office: Office) -> None:
    """Whatever a ledger node records past the rules, every reader finds the same fault."""
    names = auditor_names()
    case = uuid4()
    signed = office.signed(case=case)
    bare = str(signed)

    def texts() -> Iterator[tuple[str, bool]]:
        for key in (office.author, office.second, office.gone, office.abroad):
            yield approval.approved(bare, office.approve(bare, key)), False
        other = office.signed()
        yield approval.approved(bare, office.approve(other, office.colleague)), False
        yield bare, False
        old = int((office.ledger.now - timedelta(days=8)).timestamp())
        yield approval.approved(bare, office.approve(bare, office.colleague, iat=old)), False
        yield approval.approved(bare, office.approve(bare, office.colleague)), True

    for text, holds in texts():
        ledger = MemoryLedger(office.ledger.agencies, list(office.ledger.recorded))
        ledger.now, ledger.versions = office.ledger.now, dict(office.ledger.versions)
        event = ledger.put(without_disclosures(text), case)
        replay, audited = Revalidation(), names["Registry"]()
        for row in ledger.recorded[:-1]:
            assert list(replay.judge(row.position, inspect(row), ledger.root)) == []
            audited.take(row.position, names["event_of"](row.state))
        last = ledger.recorded[-1]
        problems = list(replay.judge(last.position, inspect(last), ledger.root))
        assert bool(problems) is not holds, problems
        if holds:
            audited.take(last.position, names["event_of"](last.state))
            recorded_at = event.recorded_at
            assert recorded_at is not None
            assert event.position is not None
            action = event.action
            state = office.registry.signature_state(action, recorded_at, event.position)
            assert state is SignatureState.VALID
            member = office.registry.keys[keys.key_id(office.colleague)].member
            assert office.registry.approver_of(action) == member
            assert action.digests == signed_action.read(signed).digests
            if HAS_NODE:
                (fact,) = by_browser([last.state]).values()
                assert fact[0].action_id == str(action.id)
        else:
            with pytest.raises(names["Failed"]):
                audited.take(last.position, names["event_of"](last.state))


@pytest.mark.skipif(not HAS_NODE, reason="needs Node")
def test_a_browser_calls_an_event_signed_only_with_an_approval_of_it(office: Office) -> None:
    """A ledger node that records past the rules does not get a page to call the event signed."""
    signed, other = office.signed(), office.signed()
    ledger = MemoryLedger(office.ledger.agencies, list(office.ledger.recorded))
    ledger.now, ledger.versions = office.ledger.now, dict(office.ledger.versions)
    given = {
        "a colleague": office.approve(signed, office.colleague),
        "of another action": office.approve(other, office.colleague),
        "of another text": office.approve(signed, office.colleague, sd_hash="A" * 43),
        "the author": office.approve(signed, office.author),
        "the author's second key": office.approve(signed, office.second),
        "a system": office.approve(signed, office.ledger.agencies.keys[POLICE]),
    }
    for one in given.values():
        ledger.put(without_disclosures(approval.approved(str(signed), one)), uuid4())
    ends = signatures_by_browser([row.state for row in ledger.recorded])[-len(given) :]
    assert dict(zip(given, ends, strict=True)) == dict.fromkeys(given, "does not verify") | {
        "a colleague": "valid"
    }


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"actions": ["case_closed", "no_such"]}, "no rule of"),
        ({"actions": ["document_added"]}, "not kept in a draft"),
        ({"roles": ["senate"]}, "not declared"),
        ({"roles": ["node"]}, "no members"),
        ({"parties": ["RS"]}, "not parties"),
        ({"within_days": 0}, "greater than or equal"),
    ],
)
def test_a_text_asks_only_for_what_can_be_approved(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        amended(adopted_protocol(), approvals=[ASKED | changed])


def test_the_part_is_told_in_words_and_left_out_where_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = shipped_protocol()
    assert "approvals" not in text_of(before)
    after = amended(before, approvals=[ASKED])
    with pytest.raises(ValueError, match="edition 2"):
        Protocol.model_validate(text_of(before) | {"approvals": [ASKED], "edition": 1})
    (adopted,) = changes(before, after)
    (dropped,) = changes(after, amended(before))
    told: Callable[[str], str] = lambda one: " / ".join(  # noqa: E731
        protocol_changes.sentence(change, Wording(one)) for change in (adopted, dropped)
    )
    for language in ("en", "sq", "cnr"):
        assert "{" not in told(language)
    assert "colleague" in told("en")
    (in_force,) = set(other_rules(after, Wording("en"))) - set(other_rules(before, Wording("en")))
    assert "colleague" in in_force  # the page of the agreement
    known = {name: one for name, one in Protocol.model_fields.items() if name != "approvals"}
    monkeypatch.setattr(Protocol, "model_fields", known)
    with pytest.raises(NewerTextError, match="approvals"):  # a program without the part
        check_known(json.loads(json.dumps(text_of(after))))
