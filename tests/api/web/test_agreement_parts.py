"""The parts of the agreement page: rules in words, versions, and what each party has said."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from api.paper.subject_access.wording import wording
from api.web.agreement import access, deadlines, duties, other_rules, proposal_rows, rights
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import Amendment, AmendmentState, text_digest, text_of
from ledger.procedure.protocol import Protocol, shipped_protocol
from tests.support.amending import amended
from tests.support.joining import Joining

WORDS = wording("en")


def amendment(text: Protocol, accepted: str, **more: object) -> Amendment:
    required = frozenset({one.code for one in text.parties})
    return Amendment(
        proposal=UUID(int=1),
        version=text.version,
        text=text,
        recorded=text_of(text),
        digest=text_digest(text_of(text)),
        reason="For the test.",
        earliest_day=None,
        by="xk-nac",
        party="XK",
        proposed_at=40,
        recorded_at=datetime(2026, 1, 5, tzinfo=UTC),
        required=required,
        accepted=frozenset(accepted.split()),
        **more,  # type: ignore[arg-type]
    )


def test_every_rule_of_the_text_is_told() -> None:
    protocol = shipped_protocol()
    told = [right for _, own in rights(protocol, WORDS) for right in own]
    assert len(told) == len(protocol.actions)
    (returned,) = (one for one in told if one.action == WORDS.kind("return_decided"))
    assert WORDS.kind("guardian_appointed") in returned.first_for_child
    assert len(deadlines(protocol, WORDS)) == len(protocol.expected)
    cells = dict(access(protocol, WORDS))
    assert WORDS.role("oversight") not in cells
    read, *_ = cells[WORDS.role("border_police")]
    assert len(read) == 1
    assert len(duties(protocol, WORDS)) == len(protocol.duties)
    rules = " ".join(other_rules(protocol, WORDS))
    for retention in protocol.retention:
        assert f"erased {retention.days} days" in rules
    assert "after 14 days of notice" in rules


def test_each_party_s_answer_is_told() -> None:
    agreement = Agreement.of(shipped_protocol())
    text = amended(shipped_protocol(), title="Another title")

    def answers(one: Amendment) -> dict[str, str]:
        (row,) = proposal_rows(agreement, [one], WORDS)
        assert row.changes
        return dict(row.answers)

    assert answers(amendment(text, "XK ME")) == {
        "AL": "missing", "ME": "accepted", "XK": "accepted",
    }  # fmt: skip
    declined = {"state": AmendmentState.DECLINED, "closed_at": 42}
    assert answers(amendment(text, "XK", declined_by="ME", **declined))["ME"] == "declined"
    assert answers(amendment(text, "XK", declined_by="XK", **declined))["XK"] == "withdrawn"


def test_a_text_that_only_a_later_program_reads_has_no_differences() -> None:
    text = amended(shipped_protocol(), title="Another title")
    unread = replace(amendment(text, "XK"), text=None)
    (row,) = proposal_rows(Agreement.of(shipped_protocol()), [unread], WORDS)
    assert row.changes == ()
    assert dict(row.answers)["ME"] == "missing"


def test_a_party_that_joins_is_named() -> None:
    text = Joining().text(shipped_protocol())
    one = amendment(text, "XK ME AL", joining=frozenset({"MK"}))
    (row,) = proposal_rows(Agreement.of(shipped_protocol()), [one], WORDS)
    assert row.joining == ("MK",)
    assert dict(row.answers)["MK"] == "missing"
