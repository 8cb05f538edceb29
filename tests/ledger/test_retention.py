"""An erasure by retention is announced before it, can be stopped, and rests on no clock alone."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from ledger.log.cosigned_times import CosignedTimes, DatedCheckpoint
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import Protocol
from ledger.procedure.retention import is_to_be_announced, may_be_erased
from ledger.refusals import Refusal
from ledger.vocabulary.coordination import CaseClosed, CaseReopened, Correction
from ledger.vocabulary.erasure import (
    ErasureApproved,
    ErasureConfirmed,
    ErasureProposed,
    LegalHoldLifted,
    LegalHoldPlaced,
    RetentionAnnounced,
)
from ledger.vocabulary.picklists import (
    ClosureReason,
    CorrectionEffect,
    CorrectionReason,
    ErasureGround,
    HoldGround,
    ReopeningReason,
)
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.cosigned import policy
from tests.support.recorded_case import RecordedCase

DAY = timedelta(days=1)
CLOSED = START + DAY
OVER = CLOSED + timedelta(days=365, seconds=1)
"""A second passes between an act and its recording."""


@pytest.fixture
def case(agencies: Agencies) -> RecordedCase:
    """A closed case of Kosovo and Montenegro."""
    made = RecordedCase(agencies, second_persons=Agencies())
    made.take("xk-dhtqnj", opening(("XK", "ME")))
    made.take("xk-nac", CaseClosed(acted_at=CLOSED, reason=ClosureReason.NOT_A_VICTIM))
    return made


@pytest.fixture
def earlier(agencies: Agencies) -> RecordedCase:
    """The same in a ledger of the first edition, whose protocol knows no announcement."""
    content = agencies.protocol.model_dump(mode="json", exclude_none=True)
    del content["edition"], content["actions"]["retention_announced"]
    for rule in content["retention"]:
        del rule["grace_days"]
    made = RecordedCase(Agencies(Protocol.model_validate(content), agencies.keys))
    made.take("xk-dhtqnj", opening(("XK", "ME")))
    made.take("xk-nac", CaseClosed(acted_at=CLOSED, reason=ClosureReason.NOT_A_VICTIM))
    return made


def state_of(case: RecordedCase) -> CaseState:
    assert case.case is not None
    return case.case.state


def announced(
    case: RecordedCase, at: datetime, erase_from: datetime, **other: object
) -> RetentionAnnounced:
    closed_at = state_of(case).closed_at
    said: dict[str, object] = {"closed_at": closed_at, "kept_days": 365, **other}
    return RetentionAnnounced.model_validate({"acted_at": at, "erase_from": erase_from, **said})


def refused(case: RecordedCase, agency: str, action: object) -> str:
    with pytest.raises(Refusal) as refusal:
        case.take(agency, action)  # type: ignore[arg-type]
    return refusal.value.rule


def announce(case: RecordedCase, days_before: int = 40) -> UUID:
    at = OVER - days_before * DAY
    return case.take("xk-node", announced(case, at, max(OVER, at + 31 * DAY)))


def seen(*moments: datetime) -> CosignedTimes:
    """Checkpoints that cover the whole case, cosigned at these moments."""
    dated = [DatedCheckpoint(10_000, {"XK": moment, "ME": moment}) for moment in moments]
    return CosignedTimes(dated, policy("XK", "ME"))


def days(first: datetime, count: int) -> list[datetime]:
    return [first + n * DAY for n in range(count + 1)]


def may_erase(case: RecordedCase, *moments: datetime) -> bool:
    return may_be_erased(state_of(case), case.agencies.protocol, seen(*moments))


def test_no_country_confirms_an_erasure_that_was_not_announced(case: RecordedCase) -> None:
    confirm = ErasureConfirmed(acted_at=OVER + 400 * DAY)
    assert refused(case, "xk-node", confirm) == "not-announced"
    announce(case)
    early = ErasureConfirmed(acted_at=OVER - DAY)
    assert refused(case, "xk-node", early) == "retention"
    case.take("xk-node", ErasureConfirmed(acted_at=OVER + DAY))
    case.take("me-node", ErasureConfirmed(acted_at=OVER + DAY))
    erasure = state_of(case).erasure
    assert erasure is not None
    assert (erasure.confirmed, erasure.pending) == (("XK", "ME"), ())


def test_the_days_of_grace_begin_with_the_announcement(case: RecordedCase) -> None:
    late = OVER + 100 * DAY
    case.take("me-nac", announced(case, late, late + 30 * DAY))
    confirm = ErasureConfirmed(acted_at=late + 29 * DAY)
    assert refused(case, "xk-node", confirm) == "retention-grace"
    case.take("xk-node", ErasureConfirmed(acted_at=late + 30 * DAY))


def test_an_announcement_says_the_protocols_period_and_leaves_the_days_of_grace(
    case: RecordedCase,
) -> None:
    at = OVER - 40 * DAY
    for rule, action in {
        "retention": announced(case, at, OVER - DAY),
        "retention-rule": announced(case, at, OVER, kept_days=364),
        "no-such-closing": announced(case, at, OVER, closed_at=CLOSED - DAY),
        "retention-grace": announced(case, OVER, OVER + 29 * DAY),
        "retention-late": announced(case, at, OVER + 800 * DAY),
    }.items():
        assert refused(case, "xk-node", action) == rule
    assert refused(case, "xk-dhtqnj", announced(case, at, OVER)) == "role"
    assert state_of(case).retention is None


def test_a_coordinator_alone_announces_a_later_time(case: RecordedCase) -> None:
    announce(case)
    at = OVER - 35 * DAY
    never = announced(case, at, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert refused(case, "me-nac", never) == "retention-late"
    later = announced(case, at, OVER + 90 * DAY)
    assert refused(case, "xk-node", later) == "already-announced"
    assert refused(case, "xk-nac", announced(case, at, OVER)) == "already-announced"
    extension = case.take("me-nac", later)
    retention = state_of(case).retention
    assert retention is not None
    assert (retention.announcement, retention.by) == (extension, "me-nac")
    confirm = ErasureConfirmed(acted_at=OVER + 89 * DAY)
    assert refused(case, "xk-node", confirm) == "retention-grace"


def test_a_hold_ends_the_announcement_for_good(case: RecordedCase) -> None:
    announce(case)
    at = OVER - 10 * DAY
    hold = case.take(
        "me-court-podgorica", LegalHoldPlaced(acted_at=at, ground=HoldGround.PROCEEDINGS)
    )
    assert state_of(case).retention is None
    assert refused(case, "xk-node", announced(case, at, OVER + 40 * DAY)) == "legal-hold"
    # Nobody takes it back by calling it a mistake: that would bring the announcement back.
    annulled = Correction(
        acted_at=at,
        corrects=hold,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.ENTRY_ERROR,
        explanation="zqMistake",
    )
    assert refused(case, "me-nac", annulled) == "not-annullable"
    case.take("me-court-podgorica", LegalHoldLifted(acted_at=OVER + 400 * DAY, hold=hold))
    confirm = ErasureConfirmed(acted_at=OVER + 400 * DAY)
    assert refused(case, "xk-node", confirm) == "not-announced"
    assert not may_erase(case, *days(OVER, 400))


def test_reopening_and_closing_again_need_a_new_announcement(case: RecordedCase) -> None:
    announce(case)
    at = OVER - 10 * DAY
    case.take("xk-nac", CaseReopened(acted_at=at, reason=ReopeningReason.NEW_INFORMATION))
    case.take("xk-nac", CaseClosed(acted_at=at, reason=ClosureReason.NOT_A_VICTIM))
    assert state_of(case).retention is None


def test_an_announcement_is_withdrawn_before_the_erasure_and_not_after(case: RecordedCase) -> None:
    def withdrawn(announcement: UUID, at: datetime) -> Correction:
        return Correction(
            acted_at=at,
            corrects=announcement,
            effect=CorrectionEffect.ANNULLED,
            reason=CorrectionReason.ENTRY_ERROR,
            explanation="zqWithdrawn",
        )

    first = announce(case)
    case.take("xk-nac", withdrawn(first, OVER - 30 * DAY))
    assert state_of(case).retention is None
    at = OVER - 30 * DAY
    second = case.take("xk-node", announced(case, at, OVER + DAY))
    case.take("xk-node", ErasureConfirmed(acted_at=OVER + 2 * DAY))
    assert refused(case, "xk-nac", withdrawn(second, OVER + 3 * DAY)) == "not-annullable"


def test_two_persons_need_no_announcement(case: RecordedCase) -> None:
    at = CLOSED + DAY
    proposal = case.take(
        "xk-nac", ErasureProposed(acted_at=at, ground=ErasureGround.PERSONS_REQUEST)
    )
    order = case.take("xk-ombudsperson", ErasureApproved(acted_at=at, proposal=proposal))
    case.take("xk-node", ErasureConfirmed(acted_at=at, order=order))


def test_a_node_erases_by_cosigned_times_after_the_announcement(case: RecordedCase) -> None:
    at = OVER - 40 * DAY
    assert not may_erase(case, *days(at, 400))  # nothing was announced
    announce(case)
    assert not may_erase(case, *days(at, 39))
    assert may_erase(case, *days(at, 42))
    # A clock a year ahead, for a moment or still, adds one day and no more.
    assert not may_erase(case, at, at + 365 * DAY)
    assert not may_erase(case, *days(at, 20), at + 365 * DAY, at + 366 * DAY)
    assert not may_erase(case, *days(at, 20), at + 365 * DAY, at + 20 * DAY)


def test_an_erasure_is_announced_the_days_of_grace_before_the_end(case: RecordedCase) -> None:
    protocol = case.agencies.protocol
    assert not is_to_be_announced(state_of(case), protocol, OVER - 31 * DAY)
    assert is_to_be_announced(state_of(case), protocol, OVER - 29 * DAY)
    announce(case)
    assert not is_to_be_announced(state_of(case), protocol, OVER)


def test_an_earlier_ledger_is_judged_as_before_and_still_erases_by_no_clock(
    earlier: RecordedCase,
) -> None:
    protocol = earlier.agencies.protocol
    assert protocol.edition == 1
    assert {rule.grace_days for rule in protocol.retention} == {30}
    assert not may_erase(earlier, CLOSED, OVER + DAY)
    assert not may_erase(earlier, *days(CLOSED, 30), OVER + DAY, OVER + 2 * DAY)
    assert not may_erase(earlier, *days(OVER, 29))
    assert may_erase(earlier, *days(OVER, 31))
    # What its nodes erased without an announcement still verifies.
    earlier.take("xk-node", ErasureConfirmed(acted_at=OVER + DAY))
    assert state_of(earlier).is_erased


def test_a_hold_in_an_earlier_ledger_may_be_annulled_as_it_could_be(earlier: RecordedCase) -> None:
    hold = earlier.take(
        "xk-court-prishtina", LegalHoldPlaced(acted_at=OVER, ground=HoldGround.PROCEEDINGS)
    )
    earlier.take(
        "xk-nac",
        Correction(
            acted_at=OVER,
            corrects=hold,
            effect=CorrectionEffect.ANNULLED,
            reason=CorrectionReason.ENTRY_ERROR,
            explanation="zqMistake",
        ),
    )
    assert not state_of(earlier).holds
