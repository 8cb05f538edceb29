"""A sitting in words and addresses: where its pages are, its forms, and what was recorded in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from urllib.parse import urlencode

from api.paper.subject_access.wording import Wording
from api.web.case_text import FieldText, Urgency, names_of, told, urgency
from api.web.forms import ActionForm, form
from api.web.refusal_text import fact, reason
from api.web.rendering import Words
from ledger.procedure.available_actions import Offer
from ledger.procedure.protocol import NODE, OVERSIGHT, Protocol
from ledger.vocabulary.types import format_utc
from projections.folds.audit_trail import TrailEntry
from projections.folds.obligations import Obligation
from projections.tables.meeting import JOINT_ACTION, MEETING, RECORDED, Meeting

CARRIED = ("host", "countries", "agencies", "participants")
"""Fields of a meeting that are the same for each case of a sitting."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One of the forms on a case's page."""

    kind: str
    form: ActionForm | None
    """``None`` where the rules refuse the action whatever is recorded in the sitting."""
    why: str | None
    """The reason for which it is not possible now: before the meeting, or at all."""
    preset: Mapping[str, Sequence[str]]
    after_meeting: bool
    """Whether it becomes possible by the meeting of this sitting."""


@dataclass(frozen=True, slots=True)
class MeetingAction:
    """One action of a sitting in words."""

    entry: TrailEntry
    what: str
    who: str
    fields: tuple[FieldText, ...]


def address(sitting: Meeting, *parts: object) -> str:
    """Return the address of a page of a sitting, with its moment, and nothing of a person."""
    path = "/".join(("/meeting", sitting.other, *(str(part) for part in parts)))
    return f"{path}?{urlencode({'since': format_utc(sitting.since)})}"


def draft(sitting: Meeting, agency: str) -> str:
    """Return the name under which a browser keeps the list of the people present."""
    return f"{agency}/sitting/{sitting.other}/{format_utc(sitting.since)}"


def recordings(
    sitting: Meeting, offered: Mapping[str, Offer], met: bool, protocol: Protocol, words: Words
) -> Sequence[Recording]:
    """Return the forms of the actions to record on a case.

    ``met`` says whether the meeting on the case is recorded.
    """
    both = (sitting.own, sitting.other)
    agencies = tuple(
        a.id
        for a in protocol.working_agencies
        if a.party in both and a.role not in (NODE, OVERSIGHT)
    )
    choices = {"host": both, "countries": both, "agencies": agencies, "responsible": agencies}
    named = {a.id: words.things.agency(a) for a in protocol.agencies}
    return [
        _recording(
            kind,
            replace(offered[kind], choices={**offered[kind].choices, **choices}),
            form_of=lambda offer: form(
                offer.kind, offer, named, protocol, words.things, own=sitting.own
            ),
            preset={"countries": both} if kind == MEETING else {},
            met=met,
            words=words,
        )
        for kind in RECORDED
    ]


def _recording(
    kind: str,
    offer: Offer,
    *,
    form_of: Callable[[Offer], ActionForm],
    preset: Mapping[str, Sequence[str]],
    met: bool,
    words: Words,
) -> Recording:
    refusal, waits = offer.refusal, kind == JOINT_ACTION
    if waits and refusal is not None and refusal.rule == f"requires-{MEETING}":
        refusal = None  # the meeting of this sitting brings it about
    why = None
    if refusal is not None:
        why = reason(refusal, words)
    elif waits and not met:
        why = words.texts.text("why.requires", fact=fact(MEETING, words))
    return Recording(kind, form_of(offer) if refusal is None else None, why, preset, waits)


def recorded(
    entries: Sequence[TrailEntry], named: Mapping[str, str], words: Wording
) -> tuple[MeetingAction, ...]:
    """Return the actions that were recorded in a sitting, in words."""
    called = names_of(entries, words)
    return tuple(
        MeetingAction(
            entry=entry,
            what=called[entry.action_id],
            who=named.get(entry.agency, entry.agency),
            fields=told(entry.kind, entry.fields, named, words),
        )
        for entry in entries
    )


@dataclass(frozen=True, slots=True)
class OwedCount:
    """The number of one country's obligations in a case, and the nearest due date."""

    party: str
    number: int
    due: datetime | None
    urgency: Urgency


def owing(party: str, obligations: Sequence[Obligation], now: datetime) -> OwedCount:
    """Count the obligations of one country, which come with the first due first."""
    due = next((one.due for one in obligations if one.due is not None), None)
    return OwedCount(party, len(obligations), due, urgency(due, now))
