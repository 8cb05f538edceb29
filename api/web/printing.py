"""A case's summary and its audit trail on paper: what their pages tell, as tagged PDFs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import JsonValue

from api.http.access import Caller
from api.paper.printing.case_number import case_number
from api.paper.printing.glyphs import Line, shown
from api.paper.printing.typesetting import PageFrame, set_pages, template
from api.web.case_text import DueStep, FieldText, TrailRow, Urgency
from api.web.refusal_text import fact
from api.web.rendering import Words
from ledger.procedure.protocol import OVERSIGHT
from projections.folds.case_view import CaseView, RequestView, StepView

Shown = tuple[Line, ...]
_NOTHING = "—"


@dataclass(frozen=True, slots=True)
class Printing:
    """The frame of a printed case: person, language, time, and last position."""

    caller: Caller
    words: Words
    at: datetime
    case: CaseView
    position: int
    rows: Sequence[TrailRow]
    named: Mapping[str, str]
    """The names of agencies and of the case's actions."""

    def summary(self, dues: Iterable[DueStep]) -> bytes:
        """Print the state of the case, and its actions.

        Raises ``NotRendered``.
        """
        texts, case = self.words.texts, self.case
        content = {
            "about": [*self._about(), shown(self._levels())],
            "texts": {name: shown(texts.text(text)) for name, text in _SUMMARY.items()},
            "state": [[shown(label), shown(value)] for label, value in self._state()],
            "due": [[shown(cell) for cell in self._due(one)] for one in dues],
            "facts": [[shown(label), shown(value)] for label, value in self._facts()],
            "requests": [self._request(one) for one in case.open_requests],
            "actions": [self._action(row) for row in self.rows],
        }
        frame = self._frame(texts.text("print.summary"))
        return set_pages(template("case_summary.typ"), frame, content)

    def trail(self) -> bytes:
        """Print every event of the case, with its changes.

        Raises ``NotRendered``.
        """
        texts = self.words.texts
        content = {
            "about": [shown(f"{texts.text('case')} {self._number}"), *self._about()],
            "head": [shown(texts.text(text)) for text in _TRAIL],
            "events": [self._event(row) for row in self.rows],
        }
        frame = self._frame(texts.text("tab.trail"), wide=True)
        return set_pages(template("audit_trail.typ"), frame, content)

    def _frame(self, title: str, *, wide: bool = False) -> PageFrame:
        things = self.words.things
        return PageFrame(
            language=things.known,
            title=title,
            number=self._number,
            page=things.text("page", page="\0", pages="\0"),
            made_at=self.at,
            practice=things.practice_mark,
            wide=wide,
        )

    @property
    def _number(self) -> str:
        return case_number(self.case.case_id)

    def _about(self) -> list[Shown]:
        text, things = self.words.texts.text, self.words.things
        agency = things.agency(self.caller.agency)
        return [
            shown(text("print.by", agency=agency, moment=things.moment(self.at))),
            shown(text("print.stands", position=self.position)),
        ]

    def _levels(self) -> str:
        agency, text = self.caller.agency, self.words.texts.text
        if agency.role == OVERSIGHT:
            return text("print.what_ledger")
        return text("print.what", country=self.words.things.country(agency.party))

    def _state(self) -> Iterator[tuple[str, str]]:
        text, things, case = self.words.texts.text, self.words.things, self.case
        yield things.text("case.number"), self._number
        yield text("stage"), things.picked(case.stage)
        yield text("replay.status"), things.picked(case.status)
        person = f"{things.picked(case.age_group)}, {things.picked(case.trafficking_status)}"
        yield text("case.person"), person
        yield text("replay.priority"), things.picked(case.priority)
        yield text("countries"), ", ".join(things.country(party) for party in case.parties)
        yield text("case.lead"), self._name(case.lead_agency)
        yield text("case.opened"), things.day(case.opened_at)

    def _due(self, one: DueStep) -> tuple[str, str, str]:
        text, things = self.words.texts.text, self.words.things
        what, due = things.owed(one.step.action), one.step.due
        if due is None and (guide := one.step.expected_by) is not None:
            day = things.due_day(guide, one.step.party)
            return what, text("due.assumed", day=day), self._owes(one.step)
        if due is None:
            return what, text("due.none"), self._owes(one.step)
        when = "due.late" if one.urgency is Urgency.LATE else "due.by"
        return what, text(when, day=things.due_day(due, one.step.party)), self._owes(one.step)

    def _owes(self, step: StepView) -> str:
        """Name the country that a step waits for: on paper, no reader is "your country"."""
        things = self.words.things
        country = things.country(step.party) if step.party else self.words.texts.text("turn.any")
        if step.agency is not None:
            return f"{country}: {self._name(step.agency)}"
        roles = ", ".join(things.role(role) for role in step.roles)
        return f"{country}: {roles}" if roles else country

    def _facts(self) -> tuple[tuple[str, str], ...]:
        """Return the facts in force. Facts of one action that have the same words are one."""
        things = self.words.things
        kinds = {row.entry.action_id: things.kind(row.entry.kind) for row in self.rows}
        told = []
        for name, held in self.case.facts.items():
            label = fact(name, self.words)
            # A fact without words of its own is told by the action that brought it.
            told.append(
                (
                    kinds.get(held.action, name) if label == name else label,
                    f"{self._since(held.since)}, {things.country(held.party)}",
                )
            )
        return tuple(dict.fromkeys(told))

    def _request(self, one: RequestView) -> list[Shown]:
        things = self.words.things

        def told(field: str, value: JsonValue) -> str:
            return ", ".join(things.value("information_requested", field, value, self.named))

        lines = [told("topics", list(one.topics)), told("purpose", one.purpose)]
        lines.append(self._since(one.since))
        if one.answer_by is not None:
            lines.append(f"{things.field('answer_by')}: {told('answer_by', one.answer_by)}")
        who = f"{self._name(one.by)} → {self._name(one.addressee)}"
        return [shown(who), shown("\n".join(lines))]

    def _action(self, row: TrailRow) -> dict[str, Any]:
        text, things, entry = self.words.texts.text, self.words.things, row.entry
        by = (
            f"{row.who}, {things.country(entry.party)} · {things.day(entry.acted_at)} · "
            f"{text('trail.recorded')} {things.moment(entry.recorded_at)}"
        )
        levels = (("level.ledger", row.fields), ("level.case", row.disclosed))
        return {
            "heading": shown(f"{entry.version}. {row.what}"),
            "by": shown(by),
            "notes": list(self._notes(row)),
            "levels": [[shown(text(name)), _told(fields)] for name, fields in levels if fields],
        }

    def _event(self, row: TrailRow) -> dict[str, Any]:
        things, entry = self.words.things, row.entry
        return {
            "version": shown(str(entry.version)),
            "position": shown(str(entry.position)),
            "recorded": shown(things.moment(entry.recorded_at)),
            "acted": shown(things.moment(entry.acted_at)),
            "agency": shown(row.who),
            "country": shown(things.country(entry.party)),
            "what": shown(row.what),
            "fields": _told(row.fields, "; "),
            "notes": list(self._notes(row)),
            "signature": shown(things.picked(entry.signature)),
            "key": shown(f"{entry.key_id[:12]}…"),
            "changes": [
                shown(f"{path}: {before} → {after}") for path, before, after in row.changes
            ],
        }

    def _notes(self, row: TrailRow) -> Iterator[Shown]:
        text = self.words.texts.text
        if row.answers is not None:
            yield shown(text("trail.answers", number=row.answers))
        if row.annulled:
            yield shown(text("trail.annulled"))
        if row.undone:
            yield shown(text("trail.undone"))
        if row.entry.mark is not None:
            yield shown(self.words.things.picked(row.entry.mark))

    def _since(self, moment: datetime) -> str:
        day = self.words.things.day(moment)
        return self.words.texts.text("print.since", day=day)

    def _name(self, agency: str) -> str:
        return self.named.get(agency, agency)


def _told(fields: Iterable[FieldText], between: str = "\n") -> list[list[Shown]]:
    return [[shown(one.name), shown(between.join(one.lines) or _NOTHING)] for one in fields]


_SUMMARY = {
    "due": "case.next",
    "nothing_due": "cases.nothing",
    "what": "trail.what",
    "by_when": "cases.when",
    "whose": "cases.whose",
    "facts": "print.facts",
    "requests": "board.requests",
    "none": "print.none",
    "actions": "trail.title",
}
_TRAIL = (
    "trail.number",
    "print.position",
    "trail.recorded_on",
    "trail.acted",
    "sign_in.agency",
    "trail.kind",
    "trail.signature",
    "trail.changes",
)
