"""The ledger node's signed decisions: what counts as one, and when the events contradict it."""

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from api.services.decisions import SignedDecisions
from api.services.receipts import receipt_document
from ledger.application import Ledger
from ledger.log.checkpoint import Checkpoint
from ledger.log.note import SignatureType, SignerKey
from ledger.log.policy import Policy
from ledger.log.signed_decision import (
    DecisionError,
    DecisionFile,
    Recorded,
    Refused,
    SignedDecision,
    Statement,
    action_digest,
    recorded,
    sign,
)
from ledger.procedure.subject_ids import act_subject
from ledger.refusals import Refusal
from ledger.replication.false_decisions import (
    LedgerEvents,
    NotCoveredError,
    RowsOfExport,
    held_against,
)
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from ledger.vocabulary.registration import ContactPointNamed, Office
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.amending import amended, proposal

LOG = SignerKey("log.example/test", SignatureType.ED25519, Ed25519PrivateKey.generate())
OTHER = SignerKey("log.example/test", SignatureType.ED25519, Ed25519PrivateKey.generate())
POLICY = Policy((LOG.verifier,), {})


def action_of(agencies: Agencies, case_id: UUID, agency: str = "xk-dhtqnj") -> SignedAction:
    return signed_action.read(agencies.sign(agency, opening(), case_id))


def receipt(action: SignedAction, position: int = 3) -> Recorded:
    digest = action_digest(action.sd_jwt)
    return recorded(LOG.name, action.id, digest, position, datetime.now(UTC), bytes(32))


@pytest.fixture
def decisions(ledger: Ledger) -> SignedDecisions:
    return SignedDecisions(ledger, [LOG], POLICY)


def refused(
    ledger: Ledger, decisions: SignedDecisions, action: SignedAction, version: int
) -> SignedDecision:
    """The signed refusal of an action that the ledger refuses."""
    assert action.case_id is not None
    with pytest.raises(Refusal) as refusal:
        ledger.append(action, action.case_id, version)
    signed = decisions.refusal(action, action.case_id, version)
    assert signed is not None
    assert signed.rule == refusal.value.rule
    decision = SignedDecision.parse(signed.signed)
    decision.verify(POLICY)
    return decision


def named_under(agencies: Agencies, action_id: UUID) -> SignedAction:
    """A contact point that is named under an id."""
    named = ContactPointNamed(
        acted_at=START, agency="xk-dhtqnj", function="Head", languages=("sqi",),
        office=Office(telephone="+383 39 000 000"),
    )  # fmt: skip
    return signed_action.read(agencies.sign("xk-nac", named, None, action_id))


def falsified(decision: SignedDecision, **changes: object) -> SignedDecision:
    """Another statement that the log's key signs."""
    return SignedDecision.parse(sign(decision.statement.model_copy(update=changes), LOG))


def test_only_the_logs_key_and_exactly_one_form_make_a_decision(agencies: Agencies) -> None:
    action = action_of(agencies, uuid4())
    jws = sign(receipt(action), LOG)
    SignedDecision.parse(jws).verify(POLICY)
    for wrong in (sign(receipt(action), OTHER), tampered(jws), unsigned(jws)):
        with pytest.raises(DecisionError):
            SignedDecision.parse(wrong).verify(POLICY)
    header, payload, signature = jws.split(".")
    of_action = action.sd_jwt.removesuffix("~")
    of_an_action = encoded({"alg": "Ed25519", "typ": signed_action.TYPE, "kid": "k"})
    for malformed in (
        "", "a.b", f"{jws}~", f"{jws}=", jws.replace(".", "~", 1), of_action, jws[:-1], "x" * 5000,
        f"{header}.{payload}.", f"{encoded({'alg': 'none'})}.{payload}.{signature}",
        f"{of_an_action}.{payload}.{signature}",
    ):  # fmt: skip
        with pytest.raises(DecisionError):
            SignedDecision.parse(malformed).verify(POLICY)


def encoded(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def tampered(jws: str) -> str:
    """The same signature under another position."""
    header, payload, signature = jws.split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return f"{header}.{encoded(content | {'position': 4})}.{signature}"


def unsigned(jws: str) -> str:
    return jws.rpartition(".")[0] + "." + encoded("x" * 48)[:86]


def test_a_decision_of_another_log_or_size_is_not_believed(agencies: Agencies) -> None:
    action = action_of(agencies, uuid4())
    elsewhere = SignerKey("log.example/other", SignatureType.ED25519, LOG.private)
    with pytest.raises(DecisionError):
        SignedDecision.parse(sign(receipt(action), elsewhere)).verify(POLICY)
    with pytest.raises(DecisionError, match="at size 3"):
        SignedDecision.parse(sign(receipt(action), LOG)).verify(Policy((OTHER.verifier,), {}))


def test_a_checkpoints_signature_is_no_decisions_and_the_other_way_round(
    agencies: Agencies,
) -> None:
    jws = sign(receipt(action_of(agencies, uuid4())), LOG)
    header, payload, _ = jws.split(".")
    text = str(Checkpoint(LOG.name, 3, bytes(32)))
    assert text.endswith("\n")
    assert "\n" not in f"{header}.{payload}"
    of_checkpoint = base64.urlsafe_b64encode(LOG.private.sign(text.encode())).rstrip(b"=").decode()
    with pytest.raises(DecisionError):
        SignedDecision.parse(f"{header}.{payload}.{of_checkpoint}").verify(POLICY)


def test_what_the_ledger_node_signs_is_true(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    """A receipt, refusals by the rules, by the version, by the key, and of an id that is used."""
    action = action_of(agencies, case_id := uuid4())
    sent = str(agencies.sign("xk-dhtqnj", opening(), uuid4()))
    given = receipt_document(ledger.append(action, case_id, 0))
    signed = decisions.of(action.sd_jwt, given)
    assert signed == decisions.of(action.sd_jwt, given)  # the same again, the same bytes
    assert signed is not None
    made = [(SignedDecision.parse(signed), action.sd_jwt)]
    again = action_of(agencies, case_id)
    made.append((refused(ledger, decisions, again, 1), again.sd_jwt))
    made.append((refused(ledger, decisions, again, 0), again.sd_jwt))
    prosecutor = action_of(agencies, uuid4(), "xk-ombudsperson")
    made.append((refused(ledger, decisions, prosecutor, 0), prosecutor.sd_jwt))
    reused = signed_action.read(agencies.sign("xk-dhtqnj", opening(), other := uuid4(), action.id))
    assert other != case_id
    made.append((refused(ledger, decisions, reused, 0), reused.sd_jwt))
    key = agencies.keys["me-police-thb"]
    foreign = signed_action.read(
        signed_action.sign(
            opening(), agency="xk-dhtqnj", key=key, protocol=agencies.protocol.id, case_id=uuid4()
        )
    )
    made.append((refused(ledger, decisions, foreign, 0), foreign.sd_jwt))
    priority = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    ahead = signed_action.read(agencies.sign("xk-prosecution-prishtina", priority, case_id))
    made.append((refused(ledger, decisions, ahead, 7), ahead.sd_jwt))
    taken = signed_action.read(agencies.sign("xk-dhtqnj", opening(), action.id))
    made.append((refused(ledger, decisions, taken, 0), taken.sd_jwt))
    reserved = action_of(agencies, act_subject(agencies.protocol.ledger_id, action.id))
    made.append((refused(ledger, decisions, reserved, 0), reserved.sd_jwt))
    of_case = named_under(agencies, case_id)
    with pytest.raises(Refusal):
        ledger.append_to_registry(of_case)
    signed_refusal = decisions.refusal(of_case, None, 0)
    assert signed_refusal is not None
    made.append((SignedDecision.parse(signed_refusal.signed), of_case.sd_jwt))
    rules = {d.statement.rule for d, _ in made if isinstance(d.statement, Refused)}
    assert {"action-id-reused", "case-version", "already-opened"} <= rules
    assert {"case-id-taken", "case-id-form", "action-id-of-case"} <= rules
    ledger.append(
        signed_action.read(signed_action.parse(sent.partition("~")[0] + "~")), _case(sent), 0
    )
    export = RowsOfExport(ledger.rows.select_rows(0, 10**6))
    for decision, bare in made:
        for events in (LedgerEvents(ledger), export):
            assert held_against(decision, bare, events).untrue is None, decision.statement


def _case(sent: str) -> UUID:
    case_id = signed_action.read(signed_action.parse(sent)).case_id
    assert case_id is not None
    return case_id


def test_a_false_decision_is_found_by_anybody_with_the_events(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    action = action_of(agencies, case_id := uuid4())
    size = ledger.head()
    honest = refused(ledger, decisions, action_of(agencies, case_id, "xk-ombudsperson"), 0)
    of_action = {"action": action.id, "digest": action_digest(action.sd_jwt), "case": case_id}
    refusal = falsified(honest, **of_action, size=size, rule="role", acted_on=0)
    events = LedgerEvents(ledger)
    found = held_against(refusal, action.sd_jwt, events).untrue
    assert found == f"the rules accept the action on the first {size} events"
    given = receipt_document(ledger.append(action, case_id, 0))
    signed = decisions.of(action.sd_jwt, given)
    assert signed is not None
    written = SignedDecision.parse(signed)
    moved = {"recorded_at": given.recorded_at + timedelta(seconds=1)}
    export = RowsOfExport(ledger.rows.select_rows(0, 10**6))
    for events in (LedgerEvents(ledger), export):
        # It was refused before it was recorded: that alone contradicts nothing, but the rules do.
        assert held_against(refusal, action.sd_jwt, events).untrue == found
        later = falsified(refusal, size=given.position)
        assert "is recorded at position" in str(held_against(later, action.sd_jwt, events).untrue)
        dropped = falsified(written, position=given.position - 1)
        assert "another one" in str(held_against(dropped, action.sd_jwt, events).untrue)
        backdated = falsified(written, **moved)
        assert "other bytes" in str(held_against(backdated, action.sd_jwt, events).untrue)
        taken = falsified(refusal, rule="case-id-taken")
        assert "has the other's id" in str(held_against(taken, action.sd_jwt, events).untrue)
        reused = falsified(refusal, rule="action-id-reused", size=given.position - 1)
        assert "has this action's id" in str(held_against(reused, action.sd_jwt, events).untrue)
        with pytest.raises(NotCoveredError):
            held_against(falsified(written, position=given.position + 1), action.sd_jwt, events)
        with pytest.raises(DecisionError):
            held_against(written, action_of(agencies, case_id).sd_jwt, events)


def test_no_refusal_is_signed_of_what_is_recorded_or_accepted_by_now(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    action = action_of(agencies, case_id := uuid4())
    assert decisions.refusal(action, case_id, 0) is None
    ledger.append(action, case_id, 0)
    assert decisions.refusal(action, case_id, 5) is None
    assert SignedDecisions(ledger, [OTHER], POLICY).refusal(action, case_id, 5) is None


def test_an_id_that_is_used_while_a_refusal_is_decided_makes_no_false_refusal(
    ledger: Ledger,
    decisions: SignedDecisions,
    agencies: Agencies,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = action_of(agencies, uuid4())
    assert first.case_id is not None
    other = signed_action.read(agencies.sign("xk-dhtqnj", opening(), case_id := uuid4(), first.id))
    standing_at = ledger.rows.standing_at

    def recorded_just_after(originators: Sequence[UUID]) -> tuple[int, dict[UUID, int]]:
        standing = standing_at(originators)
        monkeypatch.setattr(ledger.rows, "standing_at", standing_at)
        ledger.append(first, _case(first.sd_jwt), 0)
        return standing

    monkeypatch.setattr(ledger.rows, "standing_at", recorded_just_after)
    signed = decisions.refusal(other, case_id, 0)
    assert signed is not None
    assert signed.rule == "action-id-reused"
    decision = SignedDecision.parse(signed.signed)
    assert held_against(decision, other.sd_jwt, LedgerEvents(ledger)).untrue is None


def test_an_action_on_the_protocols_own_id_gets_a_signed_refusal(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    """Its node would send it again for ever."""
    action = action_of(agencies, agencies.protocol.ledger_id)
    decision = refused(ledger, decisions, action, 0)
    export = RowsOfExport(ledger.rows.select_rows(0, 10**6))
    for events in (LedgerEvents(ledger), export):
        assert held_against(decision, action.sd_jwt, events).untrue is None


@pytest.mark.parametrize("text", ["", "{}", '{"action": "x", "decision": "y"}', "[" * 9999])
def test_a_file_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DecisionError):
        DecisionFile.parse(text)


def test_a_statement_holds_nothing_else(agencies: Agencies) -> None:
    statement: Statement = receipt(action_of(agencies, uuid4()))
    jws = sign(statement, LOG)
    header, payload, signature = jws.split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    for changed in (content | {"name": "x"}, content | {"outcome": "maybe"}, {}, [content]):
        with pytest.raises(DecisionError):
            SignedDecision.parse(f"{header}.{encoded(changed)}.{signature}")


def test_a_ledger_node_of_an_older_program_tells_no_lie(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    """It refuses a text that it cannot read. Of any other action it may not say so."""
    with patch("ledger.procedure.protocol.LATEST_EDITION", 99):
        text = amended(agencies.protocol, edition=99)
        proposed = signed_action.read(agencies.sign("xk-nac", proposal(text), None))
    signed = decisions.refusal(proposed, None, 0)
    assert signed is not None
    assert signed.rule == "unknown-version"
    decision, events = SignedDecision.parse(signed.signed), LedgerEvents(ledger)
    held = held_against(decision, proposed.sd_jwt, events)
    assert (held.untrue, held.is_outdated) == (None, False)
    with patch("ledger.procedure.protocol.LATEST_EDITION", 99):
        held = held_against(decision, proposed.sd_jwt, events)
    assert (held.untrue, held.is_outdated) == (None, True)
    action = action_of(agencies, uuid4())
    refusal = refused(ledger, decisions, action, 7)
    lie = falsified(refusal, rule="unknown-version", acted_on=0)
    held = held_against(lie, action.sd_jwt, LedgerEvents(ledger))
    assert held.untrue is not None
    assert not held.is_outdated


def test_a_ledger_node_that_refuses_what_the_adopted_text_names_lies(
    ledger: Ledger, decisions: SignedDecisions, agencies: Agencies
) -> None:
    """Its program has read the adopted text, so it reads a text that names nothing new."""
    text = amended(agencies.protocol, title="Another title", roles={
        **agencies.protocol.roles, "of_tomorrow": "A role that the parties name"
    })  # fmt: skip
    proposed = signed_action.read(agencies.sign("xk-nac", proposal(text), None))
    honest = refused(ledger, decisions, action_of(agencies, uuid4()), 7)
    lie = falsified(
        honest,
        rule="unknown-version",
        action=proposed.id,
        digest=action_digest(proposed.sd_jwt),
        case=None,
        acted_on=0,
    )
    held = held_against(lie, proposed.sd_jwt, LedgerEvents(ledger))
    assert held.untrue is not None
    assert not held.is_outdated
