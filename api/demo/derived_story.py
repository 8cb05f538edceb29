"""A story of one case that is derived from a protocol's own rules, for protocols without one.

The planner walks a case from its opening to its closing: it takes the steps that the protocol
expects, then every further action that establishes something, each by an agency that the rules
accept. All values are invented: the first of each choice, and texts that say so.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from api.demo import DemoError
from api.paper.subject_access.value_shapes import Plain, shape
from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.available_actions import offer_of
from ledger.procedure.case_fold import fold
from ledger.procedure.case_state import CaseState
from ledger.procedure.disclosed_dates import check_disclosed_dates
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Protocol
from ledger.refusals import Refusal
from ledger.system.identifiers import new_id
from ledger.vocabulary import CASE_ACTIONS, Action
from ledger.vocabulary.action import field_adapter
from ledger.vocabulary.types import format_utc
from projections.folds.expected_steps import expected_steps

_OPENING, _CLOSING = "case_opened", "case_closed"
_TURNS_BACK = frozenset({"not_a_victim", "case_reopened"})
"""Actions that take back what a case has come to."""
_ASKING = ("information_requested", "meeting_held")
"""Actions between countries, which establish little and which the story is about."""
_TEXT = "Invented for the demonstration."
_MOST_STEPS = 80
_PERSON = frozenset({"first_name", "second_name", "birthdate", "citizenship"})
"""Optional fields that make a case's person known in the story."""
_AGE_YEARS = 12


@dataclass(frozen=True, slots=True)
class DerivedStep:
    """One action of the story."""

    agency: str
    action: Callable[[Mapping[str, UUID]], Action]
    """Made of the ids that earlier steps were recorded by, by the ids of the plan."""
    planned_id: UUID
    acted_at: datetime


def derived_story(protocol: Protocol, began: datetime) -> tuple[DerivedStep, ...]:
    """Return the steps of one case, from its opening by one party to its closing.

    ``began`` is when the case is opened; each further step is some hours later. Raises
    ``DemoError`` in one line if the rules let no case be opened, or not closed again.
    """
    planner = _Planner(protocol, began)
    if not planner.take([_OPENING]):
        raise DemoError(f"no story can be played by {protocol.id}: no role may open a case")
    while len(planner.acts) < _MOST_STEPS and planner.take(planner.next_kinds()):
        pass
    if not planner.take([_CLOSING]):
        raise DemoError(
            f"no story can be played by {protocol.id}: after {len(planner.acts)} actions its rules"
            " let no agency close the case"
        )
    return tuple(planner.steps)


class _Planner:
    """A case that is played by the rules alone, without keys and without a ledger."""

    def __init__(self, protocol: Protocol, began: datetime) -> None:
        self._protocol = protocol
        self._agreement = Agreement.of(protocol)
        self._case, self._now = new_id(), began
        self.acts: tuple[Act, ...] = ()
        self.steps: list[DerivedStep] = []

    def next_kinds(self) -> Sequence[str]:
        """Return the kinds to try now: what is expected, then what is new, in the rules' order."""
        state, taken = self._state(), {act.kind for act in self.acts}
        if state is None:
            return ()
        known = {act.id: act for act in self.acts}
        expected = [step.action for step in expected_steps(state, self._agreement, known)]
        asking = [kind for kind in _ASKING if kind not in taken]
        new = [
            kind
            for kind, rule in self._protocol.actions.items()
            if kind not in taken | _TURNS_BACK and rule.may_establish
        ]
        return tuple(dict.fromkeys([*expected, *asking, *new]))

    def take(self, kinds: Sequence[str]) -> bool:
        """Take the first action of ``kinds`` that the rules accept, by whichever agency may."""
        state, history = self._state(), {act.id: act for act in self.acts}
        self._now += timedelta(hours=7)
        for kind in kinds:
            for agency in self._agencies(kind, state):
                offer = offer_of(kind, state, history, agency, self._protocol, self._now, agency.id)
                if offer.refusal is not None:
                    continue
                for action in self._actions(kind, agency, offer.choices):
                    if self._accepted(agency, action, state, history):
                        return True
        return False

    def _state(self) -> CaseState | None:
        return fold(self.acts, self._agreement)

    def _agencies(self, kind: str, state: CaseState | None) -> Iterator[Agency]:
        """Yield the agencies that may take a kind, one party's after the other's.

        A child crosses the border in the story: what follows the departure is first the task of the
        country of destination.
        """
        parties = [party.code for party in self._protocol.parties]
        planned = state.planned_return if state is not None else None
        if planned is not None:
            parties.sort(key=lambda code: code != planned.destination)
        if state is not None and "departed" not in state.facts and "received" not in state.facts:
            parties.sort(key=lambda code: code not in state.parties[:1])
        for party, role in product(parties, self._protocol.actions[kind].roles):
            for agency in self._protocol.working_agencies:
                if (agency.party, agency.role) == (party, role) and not agency.international:
                    yield agency

    def _accepted(
        self,
        agency: Agency,
        action: Action,
        state: CaseState | None,
        history: Mapping[UUID, Act],
    ) -> bool:
        act = Act(
            id=new_id(),
            kind=action.kind,
            case_id=self._case,
            version=len(self.acts) + 1,
            position=len(self.acts) + 1,
            agency=agency.id,
            acted_at=self._now,
            recorded_at=self._now,
            fields=action.ledger_claims(),
            key_id=agency.id,
            digests=frozenset(),
        )
        try:
            case_rules.decide(state, history, act, self._protocol, self._now)
            check_disclosed_dates(action, state, self.acts)
        except Refusal:
            return False
        self.acts = (*self.acts, act)
        self.steps.append(DerivedStep(agency.id, _remade(action), act.id, self._now))
        return True

    def _actions(
        self,
        kind: str,
        agency: Agency,
        choices: Mapping[str, Sequence[str]],
    ) -> Iterator[Action]:
        """Yield actions of a kind with invented values.

        The first names the person, the second has the fields that must be, the third has all.
        """
        model = CASE_ACTIONS[kind]
        for optional in (_PERSON, frozenset[str](), frozenset(model.model_fields)):
            values: dict[str, Any] = {"acted_at": format_utc(self._now)}
            for name, info in model.model_fields.items():
                if name == "acted_at" or not (info.is_required() or name in optional):
                    continue
                for value in self._values(kind, name, agency, choices.get(name)):
                    try:
                        field_adapter(model, name).validate_python(value)
                    except ValidationError:
                        continue
                    values[name] = value
                    break
            try:
                yield model.model_validate(values)
            except ValidationError:
                continue

    def _values(
        self,
        kind: str,
        name: str,
        agency: Agency,
        offered: Sequence[str] | None,
    ) -> Iterator[Any]:
        """Yield values to try for a field: several where it has a list, then one."""
        items = list(self._items(kind, name, agency))
        if offered is not None:
            own_order = [one for one in items if one in offered]
            items = own_order or list(offered)
        yield items
        yield items[:1]
        yield from items

    def _items(self, kind: str, name: str, agency: Agency) -> Iterable[Any]:
        parties = [party.code for party in self._protocol.parties]
        others = [code for code in parties if code != agency.party]
        match shape(kind, name):
            case Plain.TEXT:
                return [_TEXT, "Invented", "invented", "1"]
            case Plain.NUMBER:
                return [1, 30, 365]
            case Plain.FLAG:
                return [True]
            case Plain.DATE if name == "birthdate":
                return [date(self._now.year - _AGE_YEARS, 6, 1).isoformat()]
            case Plain.DATE:
                return [(self._now + timedelta(days=20)).date().isoformat()]
            case Plain.MOMENT:
                return [format_utc(self._now)]
            case Plain.COUNTRY if kind == _OPENING and name == "countries":
                return [agency.party, *others[:1]]
            case Plain.COUNTRY:
                return [*(others[:1] if name == "destination" else [agency.party, *others[:1]])]
            case Plain.LANGUAGE:
                return ["eng"]
            case Plain.AGENCY if _is_of_own_country(kind, name):
                return [one.id for one in reversed(list(self._addressees(agency)))]
            case Plain.AGENCY:
                return [one.id for one in self._addressees(agency)]
            case Plain.ACTION:
                return [str(act.id) for act in self.acts]
            case Plain():
                return []
            case picklist:
                return [value.value for value in picklist]

    def _addressees(self, agency: Agency) -> Iterator[Agency]:
        """Yield agencies to name: the other parties' coordinators, then the rest."""
        working = [a for a in self._protocol.working_agencies if a.role not in (NODE, OVERSIGHT)]
        yield from sorted(
            working, key=lambda one: (one.party == agency.party, one.role != COORDINATOR)
        )


def _is_of_own_country(kind: str, name: str) -> bool:
    """Return whether a field names an agency of the country that takes the action."""
    receives = name == "receiving_agency" and "destination" not in CASE_ACTIONS[kind].model_fields
    return receives or name == "referred_to"


def _remade(action: Action) -> Callable[[Mapping[str, UUID]], Action]:
    """Return what makes an action again, with the ids by which earlier steps were recorded."""
    content = action.model_dump_json()

    def make(ids: Mapping[str, UUID]) -> Action:
        told = content
        for planned, recorded in ids.items():
            told = told.replace(planned, str(recorded))
        return type(action).model_validate_json(told)

    return make
