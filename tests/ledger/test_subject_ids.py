"""The ids of cases, of actions, and of what lies in a vault outside all cases."""

from dataclasses import replace
from uuid import UUID, uuid4, uuid5

import pytest

from ledger.procedure.subject_ids import (
    act_subject,
    check_case_id,
    check_ids_apart,
    is_reserved,
)
from ledger.refusals import Refusal
from ledger.signing.signed_action import SignedAction, read
from ledger.vocabulary.registration import ContactCardGiven
from tests.support.actions import opening
from tests.support.agencies import PAST, Agencies

LEDGER = UUID("7cf2ff4c-66a8-5ef2-b0ff-6d05a9d0c6a5")


def test_the_id_of_an_acts_fields_is_one_that_no_case_can_have() -> None:
    acts = [uuid4() for _ in range(50)]
    subjects = {act_subject(LEDGER, act) for act in acts}
    assert len(subjects) == len(acts)
    assert all(map(is_reserved, subjects))
    assert act_subject(LEDGER, acts[0]) == act_subject(LEDGER, acts[0])
    assert act_subject(uuid4(), acts[0]) not in subjects
    for subject in subjects:
        with pytest.raises(Refusal, match="version 8"):
            check_case_id(subject, uuid4())
    for usual in (uuid4(), uuid5(LEDGER, "1"), UUID(int=5), UUID(int=8 << 76)):
        check_case_id(usual, uuid4())
    with pytest.raises(Refusal, match="the action that opens it"):
        check_case_id(acts[0], acts[0])


def test_neither_takes_the_id_of_the_other(agencies: Agencies) -> None:
    case, act = uuid4(), uuid4()

    def rule(action: SignedAction, edition: int, cases: set[UUID], actions: set[UUID]) -> str:
        try:
            check_ids_apart(action, edition, LEDGER, cases.__contains__, actions.__contains__)
        except Refusal as refusal:
            return refusal.rule
        return "accepted"

    opened = read(agencies.sign("xk-dhtqnj", opening(), case))
    given = ContactCardGiven(acted_at=PAST, contact=uuid4(), full_name="zqName")
    card = replace(read(agencies.sign("xk-nac", given, None)), id=act)
    assert rule(opened, 2, {act}, {act}) == "accepted"
    assert rule(opened, 2, set(), {case}) == "case-id-taken"
    assert rule(opened, 1, set(), {case}) == "accepted"
    assert rule(card, 2, {case}, {act}) == "accepted"
    assert rule(card, 2, {act}, set()) == "action-id-of-case"
    assert rule(card, 2, {act_subject(LEDGER, act)}, set()) == "action-id-of-case"
    assert rule(card, 1, {act}, set()) == "accepted"
