"""The standing of a case in the steps of the procedure, by the communication forms sent.

A pure function of the case's view and of the kinds of its actions in force.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ledger.procedure.communication_forms import CommunicationForm
from projections.folds.case_view import FormView


class StepStanding(StrEnum):
    """The standing of a step of the procedure."""

    OPEN = "open"
    """No form was sent, and an action that it needs is missing."""
    READY = "ready"
    """Every action that the form needs is recorded, and the form that it answers was sent."""
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    ANSWERED = "answered"
    """The form that answers it was sent."""


@dataclass(frozen=True, slots=True)
class ProceduralStep:
    """A step of the procedure in one case."""

    form: CommunicationForm
    standing: StepStanding
    sendings: tuple[FormView, ...]
    """Each time that the form was sent, the oldest first."""
    missing: tuple[str, ...]
    """The kinds of action that the form needs and that are not in force."""


def procedural_steps(
    forms: Iterable[CommunicationForm], sent: Iterable[FormView], kinds: Collection[str]
) -> Iterator[ProceduralStep]:
    """Yield the steps in the order of the protocol.

    ``sent`` are the case's sendings, the oldest first; ``kinds`` are those of its actions in force.
    """
    known, sendings = tuple(forms), tuple(sent)
    asked = {one.number for one in sendings}
    for form in known:
        own = tuple(one for one in sendings if one.number == form.number)
        needed = (part.action for part in form.parts if part.required)
        missing = tuple(kind for kind in needed if kind not in kinds)
        asking = {one.number for one in known if one.answered_by == form.number}
        is_ready = not missing and (not asking or bool(asking & asked))
        yield ProceduralStep(form, _standing(own, is_ready=is_ready), own, missing)


def _standing(sendings: tuple[FormView, ...], *, is_ready: bool) -> StepStanding:
    if not sendings:
        return StepStanding.READY if is_ready else StepStanding.OPEN
    last = sendings[-1]
    if last.answered:
        return StepStanding.ANSWERED
    return StepStanding.ACKNOWLEDGED if last.acknowledged else StepStanding.SENT
