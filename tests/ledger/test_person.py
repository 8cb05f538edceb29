"""Statements on the person: the one that counts, a child's safeguards, and their times."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.events.act import Act
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_state import CaseState
from ledger.procedure.legal_basis import reading_bases, release_bases
from ledger.procedure.statements import Statement, superseded
from ledger.refusals import Refusal
from ledger.vocabulary.action import field_adapter
from ledger.vocabulary.coordination import ConsentGiven, Correction
from ledger.vocabulary.identification import CaseOpened, VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import (
    AgeAssessed,
    IdentityRecorded,
    RectificationDeclined,
    RectificationRequested,
)
from ledger.vocabulary.picklists import AgeGroup, PersonField, StatementGround
from ledger.vocabulary.protection import GuardianAppointed, RiskAssessed
from ledger.vocabulary.return_and_inclusion import ReturnDecided
from projections.folds.expected_steps import owed_steps
from projections.folds.obligation_terms import ObligationKind
from projections.folds.obligations import Obligation, obligations
from projections.time.bitemporal import Moment, state_at
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.recorded_case import RecordedCase

AGENCIES = Agencies()
PROTOCOL = AGENCIES.protocol
AGREEMENT = Agreement.of(PROTOCOL)
POLICE, SOCIAL_WORK = "xk-dhtqnj", "xk-csw-prishtina"
LATER = START + timedelta(days=90)


def adult_case() -> RecordedCase:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(("XK", "ME")).model_copy(update={"age_group": AgeGroup.ADULT}))
    return case


def state(case: RecordedCase) -> CaseState:
    assert case.case is not None
    return case.case.state


def assessed(group: str, at: datetime = LATER, **more: Any) -> AgeAssessed:
    return AgeAssessed(
        acted_at=at, age_group=group, method="social_assessment", certainty="probable", **more
    )


def consent(at: datetime = START) -> ConsentGiven:
    return ConsentGiven(
        acted_at=at,
        scopes=("information_exchange",),
        given_by="person",
        form="written",
        groups=("identity",),
        recipients=("ME",),
    )


def guardian(at: datetime) -> GuardianAppointed:
    return GuardianAppointed(acted_at=at, guardian_kind="social_work_centre")


def identity(at: datetime, **more: Any) -> IdentityRecorded:
    fields = {"ground": "learned", "source": "document", "certainty": "probable", **more}
    return IdentityRecorded(acted_at=at, **fields)


def owed(case: RecordedCase) -> dict[tuple[ObligationKind, str], Obligation]:
    found = obligations(case.acts, AGREEMENT).by_id.values()
    return {(one.kind, one.action): one for one in found if one.closed is None}


def refused(case: RecordedCase, agency: str, action: Any) -> str:
    with pytest.raises(Refusal) as refusal:
        case.take(agency, action)
    return refusal.value.rule


def test_every_field_of_the_person_can_be_stated_anew_at_its_level() -> None:
    opened = set(CaseOpened.disclosable_fields())
    stated = {field.value for field in PersonField}
    personal = {name for name in opened if CaseOpened.level(name).group is not None}
    assert personal - stated == {"family_note"}  # a note, which another note answers
    for name in stated:
        assert IdentityRecorded.level(name) == CaseOpened.level(name)
        own, anew = (field_adapter(model, name) for model in (CaseOpened, IdentityRecorded))
        assert own.json_schema() == anew.json_schema()


def _act(kind: str, number: int, **fields: Any) -> Act:
    return Act(
        id=UUID(int=number),
        kind=kind,
        case_id=UUID(int=0),
        version=number,
        position=number,
        agency=POLICE,
        acted_at=START,
        recorded_at=START,
        fields=fields,
        key_id="",
        digests=frozenset(),
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("state", "retract", "annul")),
            st.sampled_from(("first_name", "birthdate")),
            st.integers(0, 20),
        ),
        max_size=12,
    )
)
@settings(max_examples=150)
def test_the_newest_statement_that_is_not_annulled_counts(
    steps: list[tuple[str, str, int]],
) -> None:
    """Told as simply as can be: the last word on a field among those that stand."""
    acts = [_act("case_opened", 1)]
    held = [Statement(acts[0].id, "first_name", "A"), Statement(acts[0].id, "address", "B")]
    words: list[tuple[UUID, str, bool]] = [(acts[0].id, "first_name", True)]
    gone: set[UUID] = set()
    for number, (what, field, which) in enumerate(steps, 2):
        if what == "annul":
            target = acts[which % len(acts)]
            if target.kind != "identity_recorded" or target.id in gone:
                continue
            gone.add(target.id)
            acts.append(_act("correction", number, corrects=str(target.id), effect="annulled"))
            continue
        acts.append(_act("identity_recorded", number))
        if what == "state":
            held.append(Statement(acts[-1].id, field, str(number)))
        else:
            held.append(Statement(acts[-1].id, "retracted", (field,)))
        words.append((acts[-1].id, field, what == "state"))
    ended = superseded({act.id: act for act in acts}, held)
    for field in ("first_name", "birthdate"):
        standing = [word for word in words if word[1] == field and word[0] not in gone]
        last = standing[-1] if standing else None
        counting = {one.action for one in held if one.field == field} - {
            action for action, name in ended if name == field
        }
        assert counting == ({last[0]} if last is not None and last[2] else set())
    assert (acts[0].id, "address") not in ended


def test_a_childs_safeguards_are_owed_from_the_assessment_on() -> None:
    case = adult_case()
    assert (ObligationKind.PROCEDURE, "guardian_appointed") not in owed(case)
    case.take(SOCIAL_WORK, assessed("child"))
    due = owed(case)[ObligationKind.PROCEDURE, "guardian_appointed"].due
    assert due == LATER + timedelta(days=1)  # not a day after the opening


def test_a_consent_of_a_child_who_counted_as_an_adult_is_shown_and_bears_nothing_new() -> None:
    case = adult_case()
    given_at = START + timedelta(hours=1)
    given_by = case.take(SOCIAL_WORK, consent(given_at))
    agency = PROTOCOL.agencies_by_id["xk-nac"]
    group, at = FieldGroup.IDENTITY, LATER + timedelta(days=1)

    def bases() -> set[UUID]:
        reading = reading_bases(state(case), PROTOCOL, agency, group, at)
        release = release_bases(state(case), PROTOCOL, agency, "ME", group, at)
        return {basis.action for basis in (*reading, *release)}

    assert bases() == {given_by}
    assert not state(case).lacks_safeguard(given_by)  # an adult lacks nothing
    case.take(SOCIAL_WORK, assessed("presumed_child"))
    assert state(case).unguarded[given_by].safeguards == ("guardian_appointed",)
    assert given_by in state(case).consents  # what was decided stays decided
    assert bases() == set()
    assert refused(case, SOCIAL_WORK, consent(at)) == "requires-guardian_appointed"
    case.take(SOCIAL_WORK, guardian(at))
    assert bases() == set()
    again = case.take(SOCIAL_WORK, consent(at + timedelta(hours=1)))
    assert bases() == {again}
    case.take(POLICE, assessed("adult", at + timedelta(days=1)))
    assert bases() == {given_by, again}


def test_no_step_rests_on_what_lacks_a_safeguard() -> None:
    case = adult_case()
    case.take(SOCIAL_WORK, consent(START).model_copy(update={"scopes": ("return",)}))
    for action in (guardian(LATER), assessed("child")):
        case.take(SOCIAL_WORK, action)
    case.take(POLICE, _risk(LATER))
    case.take(POLICE, _identified(LATER))
    assert refused(case, "xk-nac", _return(LATER)) == "safeguard-consent_return"


def _risk(at: datetime) -> Any:
    return RiskAssessed(acted_at=at, risk_level="low")


def _identified(at: datetime) -> Any:
    return VictimIdentified(
        acted_at=at,
        status="ActualVictimOfTrafficking",
        decided_by="Police",
        types_of_exploitation=("ForcedBegging",),
    )


def _return(at: datetime) -> Any:
    return ReturnDecided(acted_at=at, destination="ME", receiving_agency="me-csw-podgorica")


def test_who_came_of_age_needs_no_guardian() -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(("XK",)))
    assert (ObligationKind.PROCEDURE, "guardian_appointed") in owed(case)
    assert refused(case, SOCIAL_WORK, consent(LATER)) == "requires-guardian_appointed"
    case.take(SOCIAL_WORK, assessed("adult").model_copy(update={"method": "came_of_age"}))
    assert (ObligationKind.PROCEDURE, "guardian_appointed") not in owed(case)
    given_by = case.take(SOCIAL_WORK, consent(LATER + timedelta(hours=1)))
    assert given_by in state(case).consents


def test_an_annulled_assessment_never_was() -> None:
    case = adult_case()
    wrong = case.take(SOCIAL_WORK, assessed("child"))
    case.take(
        SOCIAL_WORK,
        Correction(acted_at=LATER, corrects=wrong, effect="annulled", reason="entry_error"),
    )
    assert (state(case).age_group, state(case).child_since) == (AgeGroup.ADULT, None)


def test_at_each_moment_the_age_group_is_the_one_of_then() -> None:
    case = adult_case()
    case.take(SOCIAL_WORK, assessed("child"))
    before = state_at(case.acts, AGREEMENT, Moment(valid_at=LATER - timedelta(days=1)))
    after = state_at(case.acts, AGREEMENT, Moment(valid_at=LATER))
    assert before is not None
    assert after is not None
    assert (before.age_group, after.age_group) == (AgeGroup.ADULT, AgeGroup.CHILD)


def test_lead_and_guardian_are_told_weeks_before_a_child_comes_of_age() -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(("XK",), of_age_from=date(2026, 7, 1)))
    case.take("xk-court-prishtina", guardian(START))

    def told() -> set[tuple[str | None, datetime | None, datetime | None]]:
        found = owed_steps(state(case), AGREEMENT, {act.id: act for act in case.acts})
        return {
            (one.step.agency, one.step.told_from, one.step.due)
            for one in found
            if one.kind is ObligationKind.COMING_OF_AGE
        }

    from_day, due = datetime(2026, 5, 6, tzinfo=UTC), datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC)
    assert told() == {(POLICE, from_day, due), ("xk-court-prishtina", from_day, due)}
    case.take(POLICE, identity(LATER, of_age_from=date(2026, 10, 1)))
    assert {one[1] for one in told()} == {datetime(2026, 8, 6, tzinfo=UTC)}
    case.take(SOCIAL_WORK, assessed("adult", datetime(2026, 10, 2, tzinfo=UTC)))
    assert told() == set()
    ended = obligations(case.acts, AGREEMENT).by_id.values()
    of_age = [one for one in ended if one.kind is ObligationKind.COMING_OF_AGE]
    assert [one.outcome for one in of_age] == ["done", "done"]


@pytest.mark.parametrize("answer", ["put right", "declined"])
def test_a_request_to_rectify_is_owed_an_answer_within_the_protocols_days(answer: str) -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(("XK", "ME")))
    request = case.take(SOCIAL_WORK, RectificationRequested(acted_at=START))
    step = owed(case)[ObligationKind.RECTIFICATION, "identity_recorded"]
    assert (step.debtor, step.debtor_agency) == ("XK", SOCIAL_WORK)
    assert step.due == START + timedelta(days=30)
    plain = identity(LATER, first_name="A")
    assert case.take(POLICE, plain)
    assert (ObligationKind.RECTIFICATION, "identity_recorded") in owed(case)
    if answer == "declined":
        no = RectificationDeclined(acted_at=LATER, request=request, reason="is_correct")
        assert refused(case, "me-nac", no) == "own-rectification"
        case.take(SOCIAL_WORK, no)
    else:
        yes = identity(LATER, ground="rectification", request=request, first_name="A")
        assert refused(case, "me-nac", yes) == "own-rectification"
        case.take(POLICE, yes)
    ended = obligations(case.acts, AGREEMENT).by_id[step.id]
    outcome = "declined" if answer == "declined" else "done"
    assert (ended.outcome, ended.state, ended.late) == (outcome, "discharged", True)


def test_a_rectification_names_its_request_and_nothing_else_does() -> None:
    case = RecordedCase(AGENCIES)
    case.take(POLICE, opening(("XK",)))
    bare = identity(LATER, ground=StatementGround.RECTIFICATION)
    assert refused(case, POLICE, bare) == "request-not-named"
    request = case.take(POLICE, RectificationRequested(acted_at=START))
    assert refused(case, POLICE, identity(LATER, request=request)) == "request-not-named"
    wrong = identity(LATER, ground="rectification", request=uuid4())
    assert refused(case, POLICE, wrong) == "no-such-request"
