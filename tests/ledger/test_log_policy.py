"""The log's policy as a recorded decision: who may, when it is in force, what it changes."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from ledger.application import Ledger
from ledger.log.note import SignatureType
from ledger.log.policy import Policy, TrustedWitness
from ledger.publication.publisher import AnotherKeyError, published
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import Report, verify_ledger
from tests.support.agencies import Agencies
from tests.support.logs import ORIGIN, Log, signer


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


def adopt(log: Log, agency: str, policy: Policy | str) -> int:
    return log.register(agency, log.vote(policy))


def report_of(log: Log, database: str, trusted: Policy | None = None) -> Report:
    with psycopg.connect(database) as connection:
        kept = kept_in(connection, trusted or log.policy)
        return verify_ledger(stored_rows(connection), kept, workers=1)


def test_a_policy_is_in_force_once_every_party_has_adopted_it(log: Log) -> None:
    new = log.policy_of(signer())
    adopt(log, "xk-nac", new)
    adopt(log, "me-nac", new)
    assert log.registry().policies == ()
    assert set(log.registry().proposed) == {"XK", "ME"}
    position = adopt(log, "al-nac", new)
    (agreed,) = log.registry().policies
    assert (agreed.since, str(agreed.policy)) == (position, str(new))
    assert log.registry().proposed == {}
    assert log.registry().policy_at(position - 1) is None
    assert log.registry().policy_at(position) == agreed.policy


def test_a_party_may_change_its_word_before_all_agree(log: Log) -> None:
    one, other = log.policy_of(signer()), log.policy_of(signer())
    adopt(log, "xk-nac", one)
    adopt(log, "me-nac", other)
    adopt(log, "xk-nac", other)
    adopt(log, "al-nac", one)
    assert log.registry().policies == ()
    adopt(log, "al-nac", other)
    assert str(log.registry().policies[0].policy) == str(other)


def test_what_is_no_decision_is_refused(log: Log) -> None:
    good = log.policy_of(signer())
    elsewhere = log.policy_of(signer("another.example/log"))
    quorumless = Policy((signer().verifier,), good.witnesses)
    attempts = {
        ("me-police-thb", str(good)): "coordinators-only",
        ("xk-node", str(good)): "coordinators-only",
        ("xk-nac", "log nonsense"): "log-policy",
        ("xk-nac", str(quorumless)): "log-policy",
        ("xk-nac", str(good).replace("quorum", "quorum\nquorum", 1)): "log-policy",
        (
            "xk-nac",
            str(good).replace("group parties 3", f"group parties {'0' * 5000}3"),
        ): "log-policy",
    }
    # Some readers would take the second log for a part of the comment.
    for end in ("\r", "\x0b", "\x1e", "\x85", "\u2028"):
        attempts["xk-nac", f"# agreed{end}{good}"] = "log-policy"
    for (agency, policy), rule in attempts.items():
        with pytest.raises(Refusal) as refused:
            adopt(log, agency, policy)
        assert refused.value.rule == rule, policy
    log.adopt(good)
    for policy, rule in ((elsewhere, "log-policy"), (good, "policy-known")):
        with pytest.raises(Refusal) as refused:
            adopt(log, "xk-nac", policy)
        assert refused.value.rule == rule
    adopt(log, "xk-nac", log.policy)
    with pytest.raises(Refusal) as refused:
        adopt(log, "xk-nac", log.policy)
    assert refused.value.rule == "policy-known"


def test_the_logs_key_is_rotated_by_what_is_recorded(log: Log, database: str) -> None:
    log.publication.step()
    new = signer()
    log.adopt(log.policy_of(new))
    # The old key does not count any more, and nobody signs with it.
    with pytest.raises(AnotherKeyError, match="names another log key"):
        log.publication.step()
    log.later_keys.append(new)
    standing = log.publication.step()
    assert standing.published == standing.signed == log.ledger.head()
    last = published(log.database)
    assert last is not None
    assert new.verifier.made(last[0].signatures[0])
    assert report_of(log, database).holds
    # A verifier who knows the new policy alone is content too.
    assert report_of(log, database, log.policy_of(new)).holds


def test_a_witness_key_is_rotated_too(log: Log) -> None:
    log.publication.step()
    log.witness_keys["ME"] = signer(f"{ORIGIN}/ME", SignatureType.COSIGNATURE)
    renewed = log.policy_of(log.key)
    before = replace(log, witness_keys=dict(log.witness_keys))
    log.adopt(renewed)
    standing = before.publication.step()
    assert standing.published == standing.signed
    last = published(log.database)
    assert last is not None
    assert renewed.check(last[0])[1].keys() == {"AL", "ME", "XK"}


def test_what_the_old_key_signs_later_is_found(log: Log, database: str) -> None:
    log.publication.step()
    log.later_keys.append(new := signer())
    log.adopt(log.policy_of(new))
    log.publication.step()
    position = log.register("xk-nac")
    text = log.note(position).text
    lines = [log.key.sign(text), *(k.sign(text) for k in log.witness_keys.values())]
    forged = log.note(position).with_signatures(lines)
    with psycopg.connect(database) as connection:
        for table, column in (("signed", "signed_at"), ("published", "published_at")):
            root = ", root" if table == "signed" else ""
            connection.execute(
                f"INSERT INTO log.{table} (size, note, {column}{root}) VALUES"
                f" (%s, %s, now(){', %s' if root else ''})",
                (position, str(forged), *([b"\x01" * 32] if root else [])),
            )
    (finding,) = report_of(log, database).findings
    assert (finding.first, finding.last) == (position, position)
    assert "not to be believed" in finding.what


def test_policies_that_do_not_follow_from_the_trusted_one_are_found(
    log: Log, database: str
) -> None:
    """An operator who makes a whole ledger up makes its parties' decisions up too."""
    log.later_keys.append(new := signer())
    log.adopt(log.policy_of(new))
    log.publication.step()
    elsewhere = {
        p: TrustedWitness(signer(f"w/{p}", SignatureType.COSIGNATURE).verifier) for p in "AB"
    }
    trusted = Policy.of(signer().verifier, elsewhere)
    findings = report_of(log, database, trusted).findings
    assert ["do not follow" in finding.what for finding in findings] == [True]


def test_the_decision_is_signed_by_the_coordinators_own_keys(log: Log) -> None:
    decision = log.decisions(log.policy_of(signer()))[0]
    head, _, rest = decision.partition(".")
    payload, _, signature = rest.partition(".")
    swapped = signature[:-3] + ("AA~" if not signature.endswith("AA~") else "BB~")
    with pytest.raises(Refusal) as refused:
        log.ledger.append_to_registry(
            signed_action.read(signed_action.parse(f"{head}.{payload}.{swapped}"))
        )
    assert refused.value.rule in ("signature", "malformed-sd-jwt")
