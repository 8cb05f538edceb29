"""The auditor's script holds signed receipts and refusals against an export, as `verify` does."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from uuid import UUID, uuid4

import pytest

from api.services.decisions import SignedDecisions
from api.services.receipts import receipt_document
from ledger.application import Ledger
from ledger.log.note import NoteError
from ledger.log.signed_decision import DecisionFile, Refused, SignedDecision, action_digest, sign
from ledger.procedure.registry import AgreedPolicy
from ledger.refusals import Refusal
from ledger.replication.false_decisions import LedgerEvents, held_against
from ledger.signing import keys, signed_action
from ledger.signing.signed_action import SignedAction
from ledger.store.database import Database
from ledger.verification.policy_history import TrustedPolicies
from ledger.vocabulary.coordination import CasePrioritised
from ledger.vocabulary.picklists import Priority
from ledger.vocabulary.registration import AgencyRegistered, AgencyRetired, KeyRegistered
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.exports import export_of, recorded_policies
from tests.support.logs import Log, signer
from tests.support.parties import auditor_script

HOLDS, CANNOT_TELL, DOES_NOT_HOLD, IS_FALSE, NOT_COVERED = 0, 1, 3, 5, 6
Audit = Callable[[SignedDecision | str, str], tuple[int, str]]


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    yield from auditor_script("auditor_of_decisions")


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    own = Agencies(agencies.protocol, dict(agencies.keys))
    with Database(database) as pool:
        yield Log(ledger, pool, own)


@pytest.fixture
def decisions(log: Log) -> SignedDecisions:
    return SignedDecisions(log.ledger, [log.key], log.policy)


@pytest.fixture
def audit(
    script: ModuleType,
    log: Log,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Audit:
    """Runs the script on a decision and an export of the ledger: exit code, and what it printed."""

    def run(decision: SignedDecision | str, action: str) -> tuple[int, str]:
        jws = decision if isinstance(decision, str) else decision.jws
        file, export = tmp_path / "decision.json", tmp_path / "export"
        file.write_text(DecisionFile(action=action, decision=jws).model_dump_json())
        log.publication.step()
        export_of(log, export)
        (tmp_path / "policy").write_text(str(log.policy))
        monkeypatch.setattr(
            sys,
            "argv",
            ["verify.py", "decision", str(file), "--export", str(export),
             "--policy", str(tmp_path / "policy")],
        )  # fmt: skip
        code = script.main()
        printed = capsys.readouterr()
        assert bool(printed.out) is (code == HOLDS)
        return code, printed.out + printed.err

    return run


def made(log: Log, agency: str = "xk-dhtqnj", case_id: UUID | None = None) -> SignedAction:
    return signed_action.read(log.agencies.sign(agency, opening(), case_id or uuid4()))


def receipt(log: Log, decisions: SignedDecisions, action: SignedAction) -> SignedDecision:
    assert action.case_id is not None
    given = receipt_document(log.ledger.append(action, action.case_id, 0))
    signed = decisions.of(action.sd_jwt, given)
    assert signed is not None
    return SignedDecision.parse(signed)


def refusal(
    log: Log, decisions: SignedDecisions, action: SignedAction, version: int = 0
) -> SignedDecision:
    def append() -> None:
        if action.case_id is None:
            log.ledger.append_to_registry(action)
        else:
            log.ledger.append(action, action.case_id, version)

    with pytest.raises(Refusal):
        append()
    signed = decisions.refusal(action, action.case_id, version)
    assert signed is not None
    return SignedDecision.parse(signed.signed)


def falsified(log: Log, decision: SignedDecision, **changes: object) -> SignedDecision:
    """Another statement that the log's key signs."""
    return SignedDecision.parse(sign(decision.statement.model_copy(update=changes), log.key))


def test_a_receipt_of_a_dropped_action_is_evidence(
    log: Log, decisions: SignedDecisions, audit: Audit
) -> None:
    action, other = made(log), made(log)
    given = receipt(log, decisions, action)
    position = given.statement.size
    receipt(log, decisions, other)
    code, said = audit(given, action.sd_jwt)
    assert (code, "is the action, as the receipt says" in said) == (HOLDS, True), said
    for wrong, expected, words in (
        (falsified(log, given, position=position + 1), IS_FALSE, "is another one"),
        (falsified(log, given, recorded_at=START), IS_FALSE, "has other bytes"),
        (falsified(log, given, position=position + 2), NOT_COVERED, "and there are"),
        (falsified(log, given, digest=action_digest(other.sd_jwt)), DOES_NOT_HOLD, "another"),
        (sign(given.statement, signer()), DOES_NOT_HOLD, "no log key"),
        (given.jws.replace(".", "x", 1), DOES_NOT_HOLD, "no JWS"),
    ):
        code, said = audit(wrong, action.sd_jwt)
        assert (code, words in said) == (expected, True), said


def test_a_refusal_of_what_is_recorded_is_evidence(
    log: Log, decisions: SignedDecisions, audit: Audit
) -> None:
    action = made(log)
    honest = refusal(log, decisions, made(log, "xk-ombudsperson"))
    position = receipt(log, decisions, action).statement.size
    same = {"action": action.id, "digest": action_digest(action.sd_jwt), "case": action.case_id}
    code, said = audit(falsified(log, honest, **same, size=position, rule="x"), action.sd_jwt)
    assert (code, f"recorded at position {position}" in said) == (IS_FALSE, True), said
    # Before the action was recorded, only the procedure's rules tell whether the refusal is true.
    before = falsified(log, honest, **same, size=position - 1, rule="no-legal-basis")
    code, said = audit(before, action.sd_jwt)
    assert (code, "needs the procedure's rules" in said) == (CANNOT_TELL, True), said


def test_true_reasons_hold_and_the_same_reasons_of_a_good_action_are_evidence(
    log: Log, decisions: SignedDecisions, audit: Audit
) -> None:
    """By each reason that needs none of the procedure's rules."""
    agencies = log.agencies
    opened = made(log)
    receipt(log, decisions, opened)
    assert opened.case_id is not None
    honest: dict[str, tuple[SignedDecision, SignedAction]] = {}

    def refused(action: SignedAction, version: int = 0) -> None:
        decision = refusal(log, decisions, action, version)
        assert isinstance(decision.statement, Refused)
        assert decision.statement.rule not in honest
        honest[decision.statement.rule] = decision, action

    def signed(agency: str, key_of: str) -> SignedAction:
        return signed_action.read(
            signed_action.sign(
                opening(),
                agency=agency,
                key=agencies.keys[key_of],
                protocol=agencies.protocol.id,
                case_id=uuid4(),
            )
        )

    refused(made(log, "xk-ombudsperson"))
    refused(made(log, case_id=opened.case_id), 1)
    priority = CasePrioritised(acted_at=START, priority=Priority.HIGH)
    refused(
        signed_action.read(agencies.sign("xk-prosecution-prishtina", priority, opened.case_id)), 7
    )
    other = agencies.sign("xk-dhtqnj", opening(), uuid4(), opened.id)
    refused(signed_action.read(other))
    refused(signed("xk-dhtqnj", "me-police-thb"))
    agencies.keys["unknown"] = keys.generate()
    refused(signed("xk-dhtqnj", "unknown"))
    refused(signed("xk-nobody", "xk-dhtqnj"))
    good = made(log).sd_jwt
    header, payload, signature = good.split(".")
    broken = f"{header}.{payload}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    refused(signed_action.read(signed_action.parse(broken)))
    refused(log_vote(log))
    retired_agency(log)
    refused(signed("xk-new-shelter", "xk-new-shelter"))

    assert honest.keys() == {
        "role", "already-opened", "case-version", "action-id-reused", "key-of-another-agency",
        "unknown-key", "unknown-agency", "signature", "another-history", "retired-agency",
    }  # fmt: skip
    for rule, (decision, action) in honest.items():
        code, said = audit(decision, action.sd_jwt)
        assert code == HOLDS, (rule, said)
    size = log.ledger.head()
    action = made(log)
    vote = signed_action.read(log.agencies.sign("xk-nac", log.vote(log.policy_of(signer())), None))
    for rule, (decision, _) in honest.items():
        of = vote if rule == "another-history" else action
        lie = falsified(
            log,
            decision,
            action=of.id,
            digest=action_digest(of.sd_jwt),
            case=of.case_id,
            acted_on=0,
            size=size,
        )
        assert held_against(lie, of.sd_jwt, LedgerEvents(log.ledger)).untrue is not None, rule
        code, said = audit(lie, of.sd_jwt)
        assert (code, "events contradict it" in said) == (IS_FALSE, True), (rule, said)


def log_vote(log: Log) -> SignedAction:
    """A vote that names a checkpoint of another history."""
    vote = log.vote(log.policy_of(signer()))
    assert vote.checkpoint is not None
    elsewhere = vote.checkpoint.model_copy(update={"root": "0" * 64})
    vote = vote.model_copy(update={"checkpoint": elsewhere})
    return signed_action.read(log.agencies.sign("xk-nac", vote, None))


def retired_agency(log: Log) -> None:
    """A country registers an agency and its key, and retires it."""
    name = "xk-new-shelter"
    log.register(
        "xk-nac", AgencyRegistered(acted_at=PAST, agency=name, role="shelter", name="A shelter")
    )
    log.agencies.keys[name] = keys.generate()
    log.register("xk-nac", KeyRegistered(acted_at=PAST, grant=log.agencies.grant(name)))
    log.register("xk-nac", AgencyRetired(acted_at=PAST, agency=name))


def test_a_file_names_no_log_key_of_the_time_before_the_first_recorded_policy(
    log: Log, script: ModuleType
) -> None:
    """Nobody could verify it there, so that anybody could make up evidence."""
    log.later_keys.append(new := signer())
    log.adopt(policy := log.policy_of(new))
    log.publication.step()
    forged = json.loads(str(recorded_policies(log)))
    forged["periods"][0]["policy"] = str(log.policy_of(signer()))
    trust = script.Trust(script.Policy(str(policy)), json.dumps(forged))
    since = trust.periods[1][0]
    assert trust.of_decisions(since).trust == script.Policy(str(policy)).trust
    with pytest.raises(script.Failed, match="older than every policy"):
        trust.of_decisions(since - 1)
    periods = (AgreedPolicy(0, log.policy_of(signer())), AgreedPolicy(since, policy))
    believed = TrustedPolicies(periods, 1)
    assert believed.of_decisions(since) == policy
    with pytest.raises(NoteError, match="older than every policy"):
        believed.of_decisions(since - 1)
    assert TrustedPolicies.alone(policy).of_decisions(1) == policy
