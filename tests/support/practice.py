"""Cases that are played by the rules alone, and the right solution of every exercise."""

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from api.demo.practice.exercises import Exercise, ExerciseBook, Task, shipped_exercises
from api.demo.practice.situations import InventedPerson, action_of, situation
from ledger.events.act import Act
from ledger.procedure import case_rules
from ledger.procedure.agreement import Agreement
from ledger.procedure.case_fold import fold
from ledger.procedure.practice_protocol import practice_protocol
from ledger.procedure.protocol import shipped_protocol, with_assumptions_adopted
from ledger.vocabulary import CASE_ACTIONS, Action

BOOK = shipped_exercises()
PROTOCOL = practice_protocol(with_assumptions_adopted(shipped_protocol()))

SOLUTIONS: Mapping[int, Mapping[str, Mapping[str, Any]]] = {
    1: {
        "open": {
            "age_group": "child",
            "countries": ["XK"],
            "ground": "police_action",
            "indicators": ["early_or_arranged_marriage"],
        },
        "notify": {"country": "ME"},
        "send": {"form_number": 1, "addressee": "me-nac", "actions": ["@open", "@notify"]},
    },
    2: {
        "confirm": {"sent": "@form_1"},
        "manager": {
            "full_name": "Marko Primjer",
            "function": "Case manager",
            "institution": "Invented",
            "telephone_24h": "+382 20 000 000",
            "languages": ["cnr"],
        },
        "send": {
            "form_number": 2,
            "addressee": "xk-nac",
            "actions": ["@manager"],
            "answers": "@form_1",
        },
    },
    3: {
        "ask": {
            "addressee": "me-nac",
            "topics": ["identity", "family", "risk"],
            "purpose": "protection",
        },
        "send": {"form_number": 3, "addressee": "me-nac", "actions": ["@ask"]},
    },
    4: {
        "confirm": {"request": "@asked"},
        "trace": {"outcome": "found"},
        "assess": {"suitable": True},
        "answer": {"request": "@asked", "complete": True},
        "send": {"form_number": 4, "addressee": "xk-nac", "actions": ["@answer", "@assess"]},
    },
    5: {
        "assess": {"risk_level": "high"},
        "protect": {"measure": "police_protection"},
        "send": {"form_number": 5, "addressee": "me-nac", "actions": ["@assess", "@protect"]},
    },
    6: {
        "interests": {"outcome": "return_to_family", "child_heard": True},
        "consent": {
            "scopes": ["return"],
            "given_by": "guardian",
            "form": "written",
        },
        "send": {"form_number": 6, "addressee": "me-nac", "actions": ["@interests", "@consent"]},
    },
    7: {
        "request": {"destination": "ME"},
        "send": {"form_number": 7, "addressee": "me-nac", "actions": ["@request"]},
    },
    8: {
        "accept": {"receiving_agency": "me-csw-niksic"},
        "plan": {"plan_types": ["Education"]},
        "send": {
            "form_number": 8,
            "addressee": "xk-nac",
            "actions": ["@accept", "@plan"],
            "answers": "@form_7",
        },
        "agree": {"plan": "@plan"},
    },
    9: {
        "depart": {"escort": "police_and_social_worker"},
        "hand_over": {"receiving_agency": "me-border", "handed_over": ["documents"]},
        "take_over": {"handover": "@hand_over", "is_complete": True},
        "receive": {"in_person": True},
        "send": {"form_number": 9, "addressee": "me-border", "actions": ["@depart", "@receive"]},
    },
    10: {
        "annul": {"corrects": "@wrong_visit", "effect": "annulled", "reason": "wrong_case"},
        "visit": {"finding": "successfully_reintegrated"},
        "end": {"finding": "successfully_reintegrated", "agreed_by_person": True},
        "close": {"reason": "reintegrated"},
        "send": {"form_number": 10, "addressee": "xk-nac", "actions": ["@visit", "@close"]},
    },
}


class PlayedCase:
    """The case of an exercise, without keys and without a ledger."""

    def __init__(self, exercise: Exercise, now: datetime, book: ExerciseBook = BOOK) -> None:
        self.exercise, self._now = exercise, now
        self.acts: tuple[Act, ...] = ()
        self.ids: dict[str, UUID] = {}
        self._case = uuid4()
        person = InventedPerson.drawn(book, random.Random(exercise.number))
        for step in situation(exercise, book):
            self._take(step.name, step.agency, action_of(step, person, self.ids, now))

    def do(
        self, task: Task, values: Mapping[str, Any] | None = None, *, agency: str | None = None
    ) -> None:
        """Record the action of a task: the right solution, or that with other values."""
        right = SOLUTIONS[self.exercise.number][task.id]
        fields = {n: self._named(v) for n, v in {**right, **(values or {})}.items()}
        self._now += timedelta(minutes=1)
        action = CASE_ACTIONS[task.kind].model_validate({"acted_at": self._now, **fields})
        self._take(task.id, agency or task.agency, action)

    def _named(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._named(one) for one in value]
        is_name = isinstance(value, str) and value.startswith("@")
        return str(self.ids[value[1:]]) if is_name else value

    def _take(self, name: str, agency: str, action: Action) -> None:
        now = self._now
        act = Act(
            id=uuid4(),
            kind=action.kind,
            case_id=self._case,
            version=len(self.acts) + 1,
            position=len(self.acts) + 1,
            agency=agency,
            acted_at=action.acted_at,
            recorded_at=now,
            fields=action.ledger_claims(),
            key_id=agency,
            digests=frozenset(),
        )
        state = fold(self.acts, Agreement.of(PROTOCOL))
        history = {one.id: one for one in self.acts}
        case_rules.decide(state, history, act, PROTOCOL, now)
        self.acts = (*self.acts, act)
        self.ids[name] = act.id
