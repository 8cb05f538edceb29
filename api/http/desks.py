"""The desk of an agency: its duties, arrivals, notes, reminders and flags.

Nothing here is shared: each agency reaches its own desk alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID, uuid5

from api.http.access import Caller, viewer_of_case
from api.node.node import Node
from api.paper.calendar_file import CalendarEntry
from api.paper.subject_access.wording import Wording
from api.runtime.readiness import check_may_record
from ledger.procedure.checks.taking_part import is_bound
from ledger.procedure.protocol import NODE
from ledger.refusals import Ground, Refusal
from ledger.vault.working_notes import MOST_CHARACTERS, Desk, WorkingNote, WorkingNotes
from ledger.vocabulary.case_reference import case_reference
from projections.folds.obligations import Obligation
from projections.tables.duty_lists import viewer_of

MOST_ENTRIES = 2_000
"""Of each sort, in one calendar."""
_MOST_REMINDERS = 500
_EVER = date.max


@dataclass(frozen=True, slots=True)
class DatedStep:
    """A step that is due on a day, or a reminder of that day."""

    day: date
    case_id: UUID
    obligation: Obligation | None = None
    reminder: WorkingNote | None = None


def desk_of(caller: Caller) -> Desk:
    """Return the desk of the caller's agency. Raises ``Refusal`` for a node."""
    if caller.agency.role == NODE:
        raise Refusal(
            Ground.NOT_ALLOWED, "nodes-copy-only", "A node copies events; people read cases."
        )
    return Desk(caller.agency.id)


def desk_viewer(caller: Caller) -> str:
    """Return whose view of cases the caller's lists are joined with. Raises for a node."""
    desk_of(caller)
    return viewer_of(caller.agency)


def bound(caller: Caller) -> bool:
    """Return whether the caller's agency sees only cases that it has to know of."""
    return is_bound(caller.agency, caller.protocol)


def notes_of(node: Node, caller: Caller) -> WorkingNotes:
    """Return the notes in the vault of the caller's country.

    Raises ``Refusal`` for a node, and (``no-vault-here``) where this node has no such vault.
    """
    desk_of(caller)
    if not node.vaults.has(caller.agency.party):
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "no-vault-here",
            "Notes are kept in the vault of the agency's country, which this node does not have.",
        )
    return node.vaults.of(caller.agency.party).notes


def check_case(node: Node, caller: Caller, case_id: UUID) -> None:
    """Check that the caller may keep something on a case.

    Raises ``Refusal``: ``unknown-case``, and ``another-countrys-case`` for oversight, whose country
    must be party to the case, so that the erasure reaches what is kept.
    """
    viewer = viewer_of_case(node, caller, case_id)
    if node.views.case(viewer, case_id) is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
        )
    if node.views.case(caller.agency.party, case_id) is None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "another-countrys-case",
            "The country of this agency is no party to the case, so its vault keeps nothing on it.",
        )


def add_note(node: Node, caller: Caller, case_id: UUID, text: str, day: date | None) -> WorkingNote:
    """Keep a note, or the reminder of a day. Raises ``Refusal``."""
    notes = notes_of(node, caller)
    check_case(node, caller, case_id)
    check_may_record(node.room.look())
    written = text.strip()
    if not written or len(written) > MOST_CHARACTERS or "\x00" in written:
        raise Refusal(
            Ground.INVALID,
            "note-text",
            f"A note has 1 to {MOST_CHARACTERS} characters.",
            "text",
        )
    return notes.add(desk_of(caller), case_id, written, day)


def reminders(
    node: Node, caller: Caller, first: date | None, last: date = _EVER
) -> Sequence[WorkingNote]:
    """Return the open reminders of the caller's agency in its country's cases, by day."""
    if not node.vaults.has(caller.agency.party):
        return ()
    return notes_of(node, caller).due(desk_of(caller), first, last, limit=_MOST_REMINDERS)


def dated_steps(
    node: Node, caller: Caller, first: date, last: date, now: datetime, words: Wording
) -> Sequence[DatedStep]:
    """Return what is due for the caller's agency on the days from ``first`` to ``last``, by day."""
    begin = words.end_of_due_day(first) - timedelta(days=2)
    end = words.end_of_due_day(last) + timedelta(days=2)
    owed = node.views.duties.between(
        caller.agency, desk_viewer(caller), begin, end, now, MOST_ENTRIES, is_bound=bound(caller)
    )
    steps = [
        DatedStep(words.local_due_day(one.due, one.debtor), one.case_id, obligation=one)
        for one in owed
        if one.due is not None
    ]
    steps += [
        DatedStep(one.day, one.case_id, reminder=one)
        for one in reminders(node, caller, first, last)
        if one.day is not None
    ]
    within = [one for one in steps if first <= one.day <= last]
    return sorted(within, key=lambda one: (one.day, one.reminder is not None, one.case_id))


def calendar_entries(steps: Sequence[DatedStep], words: Wording) -> Sequence[CalendarEntry]:
    """Return steps for a calendar of another program: reference, kind of step, day, no more.

    The text of a reminder stays here: a calendar may be anywhere. Each entry of a practice ledger
    says so, since a calendar program shows it among others.
    """
    entries = []
    mark = "" if words.practice_mark is None else f"{words.practice_mark}. "
    for one in steps:
        if one.obligation is not None:
            what, source = words.owed(one.obligation.action), one.obligation.id
        elif one.reminder is not None:
            what, source = words.text("calendar.reminder"), one.reminder.id
        else:
            continue
        entries.append(
            CalendarEntry(
                uuid5(source, "calendar"), one.day, f"{mark}{case_reference(one.case_id)}: {what}"
            )
        )
    return entries
