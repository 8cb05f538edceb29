"""The agencies to which an event of a case comes: a pure function of the event and its case.

An event comes as a form, a request, an answer, a release, a handover, a danger, or a new case.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Protocol
from ledger.vocabulary.circumstances import WentMissing
from ledger.vocabulary.communication_forms import FormSent
from ledger.vocabulary.coordination import (
    AgencyAdmitted,
    InformationDeclined,
    InformationProvided,
    InformationRequested,
    LeadTransferAccepted,
    LeadTransferDeclined,
    LeadTransferOffered,
)
from ledger.vocabulary.linking import MergeAccepted, MergeDeclined, MergeProposed
from ledger.vocabulary.return_and_inclusion import HandoverConfirmed, HandoverRecorded
from ledger.vocabulary.sharing import BreakGlassOpened, InformationReleased


class ArrivalSort(StrEnum):
    """The sort of what came, the most urgent first."""

    DANGER = "danger"
    """An access in danger to life, or a missing person."""
    HANDOVER = "handover"
    """The lead is offered, or the offer is answered; or a person is handed over."""
    FORM = "form"
    REQUEST = "request"
    ANSWER = "answer"
    RELEASE = "release"
    CASE = "case"
    """A case that is new to the country, or to an agency that was admitted to it."""


def receiving_keys(agency: Agency, sorts: Iterable[ArrivalSort] = ArrivalSort) -> Sequence[str]:
    """Return the keys of :func:`arrivals` under which something comes to an agency."""
    receivers = [agency.id]
    if not agency.international:
        receivers += [agency.party, _role(agency.party, agency.role)]
    return [f"{sort.value} {receiver}" for sort in sorts for receiver in receivers]


def sort_of(arrives: Iterable[str], agency: Agency) -> ArrivalSort | None:
    """Return as what an event came to an agency, the most urgent sort first."""
    found = {*arrives}
    for sort in ArrivalSort:
        if found & {*receiving_keys(agency, (sort,))}:
            return sort
    return None


def arrivals(before: Case | None, after: Case, act: Act, protocol: Protocol) -> tuple[str, ...]:
    """Return the sorts and receivers of the last event of ``after``.

    A receiver is an agency, a country, or a role of a country. The agency that acted is no
    receiver.
    """
    found: dict[str, None] = {}
    sort, receivers = _RECEIVERS.get(act.kind, (None, _nobody))
    if sort is not None:
        for receiver in receivers(act, after, protocol):
            if receiver != act.agency:
                found[f"{sort.value} {receiver}"] = None
    known = before.state.parties if before is not None else ()
    for party in after.state.parties:
        if party not in known:
            found[f"{ArrivalSort.CASE.value} {party}"] = None
    return tuple(found)


def _role(party: str, role: str) -> str:
    return f"{party}/{role}"


def _nobody(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:  # noqa: ARG001
    return iter(())


def _agency_and_coordinator(agency: object, protocol: Protocol) -> Iterator[str]:
    known = protocol.agencies_by_id.get(agency) if isinstance(agency, str) else None
    if known is not None:
        yield known.id
        yield _role(known.party, COORDINATOR)


def _named(field: str) -> "Receivers":
    def receivers(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:  # noqa: ARG001
        return _agency_and_coordinator(act.fields.get(field), protocol)

    return receivers


def _admitted(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:  # noqa: ARG001
    named = act.fields.get("agency")
    if isinstance(named, str):
        yield named


def _answered(field: str) -> "Receivers":
    """Return the receivers of an answer: the agency of the action that a field names."""

    def receivers(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:
        asked = _action(act, field, case)
        return _agency_and_coordinator(asked.agency if asked else None, protocol)

    return receivers


def _released(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:
    asked = _action(act, "request", case)
    if asked is not None:
        yield asked.agency
    country = act.fields.get("recipient")
    if isinstance(country, str):
        yield from _taking_part(case, protocol, (country,))


def _every_side(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:  # noqa: ARG001
    return _taking_part(case, protocol, case.state.parties)


def _other_sides(act: Act, case: Case, protocol: Protocol) -> Iterator[str]:
    own = protocol.agencies_by_id.get(act.agency)
    others = [one for one in case.state.parties if own is None or one != own.party]
    return _taking_part(case, protocol, others)


def _taking_part(case: Case, protocol: Protocol, parties: Sequence[str]) -> Iterator[str]:
    """Yield the coordinators of countries, and their agencies that acted in the case."""
    for party in parties:
        yield _role(party, COORDINATOR)
    for name in dict.fromkeys(one.agency for one in case.history.values()):
        agency = protocol.agencies_by_id.get(name)
        if (
            agency is not None
            and agency.party in parties
            and not agency.international
            and agency.role not in (COORDINATOR, OVERSIGHT, NODE)
        ):
            yield name


def _action(act: Act, field: str, case: Case) -> Act | None:
    try:
        return case.history.get(UUID(str(act.fields.get(field))))
    except ValueError:
        return None


Receivers = Callable[[Act, Case, Protocol], Iterator[str]]
_RECEIVERS: Mapping[str, tuple[ArrivalSort, Receivers]] = {
    AgencyAdmitted.kind: (ArrivalSort.CASE, _admitted),
    BreakGlassOpened.kind: (ArrivalSort.DANGER, _every_side),
    WentMissing.kind: (ArrivalSort.DANGER, _every_side),
    LeadTransferOffered.kind: (ArrivalSort.HANDOVER, _named("to_agency")),
    LeadTransferAccepted.kind: (ArrivalSort.HANDOVER, _answered("offer")),
    LeadTransferDeclined.kind: (ArrivalSort.HANDOVER, _answered("offer")),
    HandoverRecorded.kind: (ArrivalSort.HANDOVER, _other_sides),
    HandoverConfirmed.kind: (ArrivalSort.HANDOVER, _answered("handover")),
    FormSent.kind: (ArrivalSort.FORM, _named("addressee")),
    InformationRequested.kind: (ArrivalSort.REQUEST, _named("addressee")),
    InformationProvided.kind: (ArrivalSort.ANSWER, _answered("request")),
    InformationDeclined.kind: (ArrivalSort.ANSWER, _answered("request")),
    InformationReleased.kind: (ArrivalSort.RELEASE, _released),
    MergeProposed.kind: (ArrivalSort.REQUEST, _named("addressee")),
    MergeAccepted.kind: (ArrivalSort.ANSWER, _other_sides),
    MergeDeclined.kind: (ArrivalSort.ANSWER, _answered("proposal")),
}
"""As what each kind of action comes, and to which agencies."""
