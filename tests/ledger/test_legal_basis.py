"""On what personal fields are released: until when a basis holds, and what it must name."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from ledger.events.event import ActionRecorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.case import Case, decide
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.verification.revalidation import DECIDED_WITHIN
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import ConsentGiven, InformationRequested
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    ConsentForm,
    ConsentGiver,
    ConsentScope,
    Danger,
    GuardianKind,
    InformationTopic,
    LegalBasis,
    Purpose,
    ShelterKind,
)
from ledger.vocabulary.protection import GuardianAppointed, Sheltered
from ledger.vocabulary.sharing import BreakGlassOpened, InformationReleased, ReleasedFields
from tests.support.actions import START, opening
from tests.support.agencies import Agencies

AGENCIES = Agencies()
SOCIAL_WORK = "xk-csw-prishtina"
LAST_DAY = (START + timedelta(days=10)).date()
AFTER = datetime(2026, 1, 16, tzinfo=UTC)
"""The consent below has expired at this moment, and not an instant before."""


@dataclass
class Told:
    """One child's case of two countries, decided without a database."""

    case_id: UUID = field(default_factory=uuid4)
    case: Case | None = None

    def act(
        self, agency: str, action: Action, now: datetime, not_before: datetime | None = None
    ) -> UUID:
        signed = signed_action.read(AGENCIES.sign(agency, action, self.case_id))
        decided = decide(
            self.case, signed, self.case_id, AGENCIES.protocol, now, not_before=not_before
        )
        event = ActionRecorded(
            self.case_id, decided.originator_version, signed, decided.originator_version, now
        )
        self.case = Case.projector(Agreement.of(AGENCIES.protocol))(self.case, [event])
        return signed.id

    def digest(self, action: UUID) -> str:
        assert self.case is not None
        return min(self.case.history[action].digests)


@pytest.fixture
def told() -> Told:
    made = Told()
    made.act("xk-dhtqnj", opening(("XK", "ME"), first_name="zq"), START)
    guardian = GuardianAppointed(acted_at=START, guardian_kind=GuardianKind.RELATIVE)
    made.act(SOCIAL_WORK, guardian, START)
    return made


def consent(*groups: FieldGroup) -> ConsentGiven:
    return ConsentGiven(
        acted_at=START,
        scopes=(ConsentScope.INFORMATION_EXCHANGE,),
        given_by=ConsentGiver.GUARDIAN,
        form=ConsentForm.WRITTEN,
        groups=groups,
        recipients=("ME",),
        expires=LAST_DAY,
    )


def release(
    told: Told, group: FieldGroup, of: UUID, basis: LegalBasis, on: UUID, acted_at: datetime = START
) -> InformationReleased:
    return InformationReleased(
        acted_at=acted_at,
        recipient="ME",
        groups=(group,),
        purpose=Purpose.PROTECTION,
        basis=basis,
        basis_action=on,
        released=(ReleasedFields(action=of, digests=(told.digest(of),)),),
    )


def test_a_basis_that_is_over_when_it_is_decided_is_over_whenever_it_is_said_to_be_done(
    told: Told,
) -> None:
    assert told.case is not None
    opened = next(iter(told.case.history))
    on = told.act(SOCIAL_WORK, consent(FieldGroup.IDENTITY), START)
    released = release(told, FieldGroup.IDENTITY, opened, LegalBasis.CONSENT, on)
    for now in (AFTER, AFTER + timedelta(days=300)):
        with pytest.raises(Refusal) as refused:
            told.act(SOCIAL_WORK, released, now)
        assert refused.value.rule == "no-legal-basis"
    told.act(SOCIAL_WORK, released, AFTER - timedelta(microseconds=1))


def test_what_was_decided_in_time_is_judged_so_by_every_copy(told: Told) -> None:
    """The time of recording comes after the decision: no copy may find fault with that."""
    assert told.case is not None
    opened = next(iter(told.case.history))
    on = told.act(SOCIAL_WORK, consent(FieldGroup.IDENTITY), START)
    released = release(told, FieldGroup.IDENTITY, opened, LegalBasis.CONSENT, on)
    recorded = AFTER + timedelta(seconds=2)
    told.act(SOCIAL_WORK, released, recorded, recorded - DECIDED_WITHIN)
    late = AFTER + DECIDED_WITHIN
    with pytest.raises(Refusal) as refused:
        told.act(SOCIAL_WORK, released, late, late - DECIDED_WITHIN)
    assert refused.value.rule == "no-legal-basis"


def test_access_in_danger_to_life_releases_nothing_once_it_is_over(told: Told) -> None:
    assert told.case is not None
    opened = next(iter(told.case.history))
    until = START + timedelta(hours=2)
    access = BreakGlassOpened(
        acted_at=START, danger=Danger.MISSING_CHILD, groups=(FieldGroup.IDENTITY,), until=until
    )
    on = told.act("xk-dhtqnj", access, START)
    released = release(told, FieldGroup.IDENTITY, opened, LegalBasis.DANGER_TO_LIFE, on)
    with pytest.raises(Refusal) as refused:
        told.act("xk-dhtqnj", released, until)
    assert refused.value.rule == "no-legal-basis"
    told.act("xk-dhtqnj", released, until - timedelta(seconds=1))


def test_whereabouts_leave_on_what_names_nothing_else_in_danger_too(told: Told) -> None:
    sheltered = Sheltered(
        acted_at=START, shelter_kind=ShelterKind.EMERGENCY, provider="xk-isf", address="zq"
    )
    of = told.act("xk-isf", sheltered, START)
    groups = (FieldGroup.IDENTITY, FieldGroup.WHEREABOUTS)
    for named, allowed in ((groups, False), ((FieldGroup.WHEREABOUTS,), True)):
        access = BreakGlassOpened(
            acted_at=START,
            danger=Danger.THREAT_TO_LIFE,
            groups=named,
            until=START + timedelta(hours=2),
        )
        on = told.act(SOCIAL_WORK, access, START)
        released = release(told, FieldGroup.WHEREABOUTS, of, LegalBasis.DANGER_TO_LIFE, on)
        if allowed:
            told.act(SOCIAL_WORK, released, START)
            continue
        with pytest.raises(Refusal) as refused:
            told.act(SOCIAL_WORK, released, START)
        assert refused.value.rule == "no-legal-basis"


def test_who_asks_for_personal_fields_names_the_basis(told: Told) -> None:
    asked = InformationRequested(
        acted_at=START,
        addressee="me-nac",
        topics=(InformationTopic.IDENTITY,),
        purpose=Purpose.PROTECTION,
        groups=(FieldGroup.IDENTITY,),
    )
    with pytest.raises(Refusal) as refused:
        told.act("xk-nac", asked, START)
    assert (refused.value.rule, refused.value.field) == ("basis-not-named", "act.basis")
    told.act("xk-nac", asked.model_copy(update={"basis": LegalBasis.CONSENT}), START)
    told.act("xk-nac", asked.model_copy(update={"groups": None}), START)
