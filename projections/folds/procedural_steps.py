"""The standing of a case in the steps of the procedure, by the communication forms sent.

A pure function of the case's view and of the kinds of its actions in force.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
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
    """Of several countries that the form was sent to, the standing of the one that is behind."""
    by_country: Mapping[str, StepStanding]
    """The standing with each country that the form was sent to, by the last sending to it."""
    sendings: tuple[FormView, ...]
    """Each time that the form was sent, the oldest first."""
    missing: tuple[str, ...]
    """The kinds of action that the form needs and that are not in force."""


def procedural_steps(
    forms: Iterable[CommunicationForm],
    sent: Iterable[FormView],
    kinds: Collection[str],
    country_of: Callable[[str], str],
) -> Iterator[ProceduralStep]:
    """Yield the steps in the order of the protocol.

    ``sent`` are the case's sendings, the oldest first; ``kinds`` are those of its actions in force.
    ``country_of`` returns the country of an agency.
    """
    known, sendings = tuple(forms), tuple(sent)
    asked = {one.number for one in sendings}
    for form in known:
        own = tuple(one for one in sendings if one.number == form.number)
        needed = (part.action for part in form.parts if part.required)
        missing = tuple(kind for kind in needed if kind not in kinds)
        asking = {one.number for one in known if one.answered_by == form.number}
        is_ready = not missing and (not asking or bool(asking & asked))
        by_country = {country_of(one.addressee): _standing(one) for one in own}
        unsent = StepStanding.READY if is_ready else StepStanding.OPEN
        least = min(by_country.values(), key=_IN_ORDER.index, default=unsent)
        yield ProceduralStep(form, least, by_country, own, missing)


_IN_ORDER = tuple(StepStanding)


def _standing(sending: FormView) -> StepStanding:
    if sending.answered:
        return StepStanding.ANSWERED
    return StepStanding.ACKNOWLEDGED if sending.acknowledged else StepStanding.SENT
