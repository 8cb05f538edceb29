"""Checks of dates that an action discloses, where the ledger node cannot see them.

The node of the agency's country applies these checks before it keeps the disclosures and passes the
signed action on, and an import before it records a row. No message repeats a date.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, timedelta, tzinfo

from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.dates import ADULT_AT_YEARS, OLDEST_YEARS, quarter_of
from ledger.refusals import Refusal, invalid
from ledger.vocabulary.action import Action
from ledger.vocabulary.identification import CaseOpened
from ledger.vocabulary.inclusion import ReintegrationMonitored
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import AgeGroup, AgeMethod, DateDoubt, PersonField
from ledger.vocabulary.return_and_inclusion import (
    ReturnAccepted,
    ReturnDecided,
    ReturnPostponed,
    ReturnRequested,
    TravelDocumentIssued,
)

_VERY_OLD_YEARS = 100
_MARGIN = timedelta(days=1)
"""A child may be born in another zone than that of the agency."""

_STATED_BEFORE = timedelta(days=2 * 365)
"""For so long before a coming of age a form and an import state its quarter by themselves."""

_DOUBTS: Mapping[DateDoubt, str] = {
    DateDoubt.ADULT_BY_BIRTHDATE: "By the birth date the person is an adult, not a child.",
    DateDoubt.CHILD_BY_BIRTHDATE: "By the birth date the person is a child, not an adult.",
    DateDoubt.OLDER_THAN_100: f"By the birth date the person is older than {_VERY_OLD_YEARS}.",
}


def check_disclosed_dates(
    action: Action, state: CaseState | None, earlier: Iterable[Act] = (), zone: tzinfo = UTC
) -> None:
    """Check the dates of a whole action against each other and against its case.

    ``state`` is the case's state before the action, ``earlier`` are the case's actions. ``zone`` is
    the time zone of the agency's party: a day of an act is the day there. Raises
    ``Refusal`` with the rule and the field. A contradiction that may be true is refused until the
    action confirms it.
    """
    match action:
        case CaseOpened():
            _opened(action, zone)
        case IdentityRecorded():
            _identity(action, state, earlier, zone)
        case AgeAssessed():
            _age(action, zone)
        case TravelDocumentIssued():
            _not_over(action, "valid_until", action.valid_until, zone)
        case ReturnDecided() | ReturnRequested() | ReturnAccepted() | ReturnPostponed():
            _not_over(action, "planned_for", action.planned_for, zone)
        case ReintegrationMonitored():
            _not_over(action, "next_visit", action.next_visit, zone)


def years_old(born: date, on: date) -> int:
    """Return the age in whole years on a day."""
    return on.year - born.year - ((on.month, on.day) < (born.month, born.day))


def comes_of_age(born: date) -> date:
    """Return the day on which a person comes of age; 1 March for one born on 29 February."""
    try:
        return born.replace(year=born.year + ADULT_AT_YEARS)
    except ValueError:
        return date(born.year + ADULT_AT_YEARS, 3, 1)


def quarter_to_state(born: date, on: date) -> date | None:
    """Return the quarter in which a child comes of age, if that is near enough to be stated.

    Every country reads the quarter. So it is stated only where the coming of age may fall into the
    time of the case.
    """
    day = comes_of_age(born)
    return quarter_of(day) if on < day <= on + _STATED_BEFORE else None


def _opened(action: CaseOpened, zone: tzinfo) -> None:
    if action.birthdate is None:
        return
    _birth(action, action.birthdate, zone)
    age = years_old(action.birthdate, action.acted_at.astimezone(zone).date())
    if action.age_group is AgeGroup.CHILD and age >= ADULT_AT_YEARS:
        raise invalid(
            "adult-by-birthdate",
            "By the birth date the person was an adult: correct the birth date, or choose adult or"
            " presumed child.",
            "age_group",
        )
    if action.age_group is AgeGroup.ADULT and age < ADULT_AT_YEARS:
        raise invalid(
            "child-by-birthdate",
            "By the birth date the person was a child: correct the birth date, or choose child.",
            "age_group",
        )
    if action.age_group is AgeGroup.PRESUMED_CHILD and age >= ADULT_AT_YEARS:
        _confirmed(action.confirmed, DateDoubt.ADULT_BY_BIRTHDATE)
    _old(action.confirmed, age)
    _quarter(action.of_age_from, action.birthdate)


def _identity(
    action: IdentityRecorded, state: CaseState | None, earlier: Iterable[Act], zone: tzinfo
) -> None:
    stated = [field for field in PersonField if getattr(action, field.value) is not None]
    if not stated and not action.retracted:
        raise invalid("nothing-stated", "State at least one field, or retract one.", "retracted")
    for field in action.retracted or ():
        if field in stated:
            raise invalid(
                "stated-and-retracted", "A field is either stated or retracted.", "retracted"
            )
    if action.birthdate is None:
        return
    _birth(action, action.birthdate, zone)
    acts = list(earlier)
    annulled = annulled_ids(acts)
    standing = [act.acted_at.astimezone(zone).date() for act in acts if act.id not in annulled]
    if standing and min(standing) + _MARGIN < action.birthdate:
        raise invalid(
            "act-before-birth",
            "An action of this case took place before this birth date; check the date.",
            "birthdate",
        )
    age = years_old(action.birthdate, action.acted_at.astimezone(zone).date())
    if state is not None and state.is_child and age >= ADULT_AT_YEARS:
        _confirmed(action.confirmed, DateDoubt.ADULT_BY_BIRTHDATE)
    if state is not None and not state.is_child and age < ADULT_AT_YEARS:
        _confirmed(action.confirmed, DateDoubt.CHILD_BY_BIRTHDATE)
    _old(action.confirmed, age)
    _quarter(action.of_age_from, action.birthdate)


def _age(action: AgeAssessed, zone: tzinfo) -> None:
    low, high, year = action.age_from, action.age_to, action.birth_year
    if low is not None and high is not None and low > high:
        raise invalid("age-range", "The lower age is above the upper one.", "age_to")
    is_adult = action.age_group is AgeGroup.ADULT
    if action.method is AgeMethod.CAME_OF_AGE and not is_adult:
        raise invalid("came-of-age", "Who came of age is an adult.", "age_group")
    if year is not None:
        # By the year alone the person has one of two ages.
        elder = action.acted_at.astimezone(zone).year - year
        if elder < 0:
            raise invalid("birth-in-future", "The year of birth is in the future.", "birth_year")
        if elder > OLDEST_YEARS:
            raise _too_long_ago("birth_year")
        if is_adult and elder < ADULT_AT_YEARS:
            raise _contradicts("birth_year")
        if action.age_group is AgeGroup.CHILD and elder - 1 >= ADULT_AT_YEARS:
            raise _contradicts("birth_year")
        if action.of_age_from is not None and action.of_age_from.year != year + ADULT_AT_YEARS:
            raise _of_age_differs()
    if is_adult and high is not None and high < ADULT_AT_YEARS:
        raise _contradicts("age_to")
    if action.age_group is AgeGroup.CHILD and low is not None and low >= ADULT_AT_YEARS:
        raise _contradicts("age_from")


def _birth(action: CaseOpened | IdentityRecorded, born: date, zone: tzinfo) -> None:
    on = action.acted_at.astimezone(zone).date()
    if born > on + _MARGIN:
        raise invalid(
            "birth-in-future",
            "The birth date is later than the time of the act; check both.",
            "birthdate",
        )
    if years_old(born, on) > OLDEST_YEARS:
        raise _too_long_ago("birthdate")


def _too_long_ago(field: str) -> Refusal:
    return invalid(
        "birth-too-long-ago",
        f"The birth is more than {OLDEST_YEARS} years ago; check the year.",
        field,
    )


def _contradicts(field: str) -> Refusal:
    return invalid(
        "age-differs", "This contradicts whether the person is a child or an adult.", field
    )


def _old(confirmed: Iterable[DateDoubt] | None, age: int) -> None:
    if age > _VERY_OLD_YEARS:
        _confirmed(confirmed, DateDoubt.OLDER_THAN_100)


def _confirmed(confirmed: Iterable[DateDoubt] | None, doubt: DateDoubt) -> None:
    """Check that the action confirms a contradiction. Raises ``Refusal`` if it does not."""
    if doubt in (confirmed or ()):
        return
    raise invalid(
        f"unconfirmed-{doubt.value.replace('_', '-')}",
        f"{_DOUBTS[doubt]} Correct it, or confirm that it is right.",
        "confirmed",
    )


def _quarter(of_age_from: date | None, born: date) -> None:
    if of_age_from is not None and of_age_from != quarter_of(comes_of_age(born)):
        raise _of_age_differs()


def _of_age_differs() -> Refusal:
    return invalid(
        "of-age-differs",
        "By the birth the person comes of age in another quarter; correct one of them.",
        "of_age_from",
    )


def _not_over(action: Action, field: str, until: date | None, zone: tzinfo) -> None:
    if until is not None and until < action.acted_at.astimezone(zone).date():
        raise invalid("ends-before-it-begins", "This day was over at the time of the act.", field)
