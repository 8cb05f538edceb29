"""A sitting's summary on paper: what its page tells, as a tagged PDF."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from api.http.access import Caller
from api.paper.printing.case_number import case_number
from api.paper.printing.glyphs import Line, shown
from api.paper.printing.typesetting import PageFrame, set_pages, template
from api.web.case_text import names
from api.web.meeting import MeetingAction, recorded
from api.web.rendering import Words
from projections.tables.meeting import Meeting, SharedCase

Shown = tuple[Line, ...]


def print_sitting(
    caller: Caller,
    sitting: Meeting,
    cases: Iterable[SharedCase],
    position: int,
    words: Words,
    now: datetime,
) -> bytes:
    """Print the actions on each case discussed, and the cases that were not.

    Raises ``NotRendered``.
    """
    text, things = words.texts.text, words.things
    named = names(caller.protocol, (), things)
    agency = things.agency(caller.agency)
    countries = ", ".join(things.country(party) for party in (sitting.own, sitting.other))
    every = tuple(cases)
    discussed = [one for one in every if one.discussed]
    left = [one for one in every if not one.discussed]
    content = {
        "about": [
            shown(text("print.by", agency=agency, moment=things.moment(now))),
            shown(text("print.stands", position=position)),
            shown(text("print.what_ledger")),
        ],
        "state": [
            [shown(text("countries")), shown(countries)],
            [shown(text("meeting.time")), shown(things.moment(sitting.since))],
        ],
        "cases": [
            {
                "heading": shown(_case(one, words)),
                "actions": [_action(a, words) for a in recorded(one.recorded, named, things)],
            }
            for one in discussed
        ],
        "not_reached": shown(text("meeting.not_reached")),
        "left": [shown(line) for line in _left(left, words)],
    }
    frame = PageFrame(
        language=things.known,
        title=text("meeting.summary"),
        number=countries,
        page=things.text("page", page="\0", pages="\0"),
        made_at=now,
        practice=things.practice_mark,
    )
    return set_pages(template("meeting_summary.typ"), frame, content)


def _case(one: SharedCase, words: Words) -> str:
    """Name a case by its whole number: on paper, there is no link to follow."""
    return f"{words.texts.text('case')} {case_number(one.view.case_id)}"


def _left(cases: Sequence[SharedCase], words: Words) -> Iterator[str]:
    if not cases:
        yield words.texts.text("meeting.all_discussed")
    for one in cases:
        stage, priority = (words.things.picked(v) for v in (one.view.stage, one.view.priority))
        yield f"{_case(one, words)}: {stage}, {words.texts.text('replay.priority')}: {priority}"


def _action(one: MeetingAction, words: Words) -> dict[str, object]:
    position = words.texts.text("replay.position", position=one.entry.position)
    return {
        "heading": shown(one.what),
        "by": shown(f"{one.who} · {words.things.moment(one.entry.acted_at)} · {position}"),
        "fields": [[shown(field.name), shown("\n".join(field.lines))] for field in one.fields],
    }
