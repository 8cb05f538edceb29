"""The agencies that have part in a case: those of its countries, and the bodies that it names."""

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_access import AGENCY_FIELDS, agencies_with_access
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Protocol
from ledger.refusals import invalid, not_allowed


def has_part(
    agency: Agency, state: CaseState, history: Mapping[UUID, Act], protocol: Protocol
) -> bool:
    """Return whether an agency has part in a case, by its country or because the case names it.

    An agency of a country has part in each case of the country, or in those that it has to know of
    (:mod:`ledger.procedure.case_access`): ``protocol`` says which. An international body has part
    in the cases in which a country asked it for information, or made it responsible for a joint
    action. ``history`` has the case's actions by id, in order.
    """
    if agency.party not in state.parties or protocol.sees_figures_alone(agency):
        return False
    if not agency.international:
        return not is_bound(agency, protocol) or agency.id in agencies_with_access(history.values())
    annulled = annulled_ids(history.values())
    return any(
        agency.id in {value for _, value in references(act.fields, AGENCY_FIELDS)}
        for act in history.values()
        if act.id not in annulled and act.agency != agency.id
    )


def is_bound(agency: Agency, protocol: Protocol) -> bool:
    """Return whether an agency sees only the cases of its country that it has to know of.

    An analyst sees none at all (:func:`has_part`), so its lists are limited too.
    """
    if protocol.sees_figures_alone(agency):
        return True
    return protocol.binds_agencies and agency.role not in (COORDINATOR, OVERSIGHT, NODE)


def check_bodies_of_the_case(
    act: Act, agency: Agency, state: CaseState, protocol: Protocol
) -> None:
    """Check that an action names no analyst, and no body that brings another country into the case.

    A country names a body that works through a country of the case. A body names no other body, and
    does not take the lead of a case. Raises ``Refusal`` if the action breaks one of these rules.
    """
    for field, value in references(act.fields, AGENCY_FIELDS):
        body = protocol.agencies_by_id[value]
        if protocol.sees_figures_alone(body):
            raise invalid("analyst-named", f"{body.id} sees figures, and no case.", field)
        if not body.international:
            continue
        if field == "to_agency":
            raise invalid("lead-role", "An international body does not lead a case.", field)
        if body.party not in state.parties:
            raise invalid(
                "body-of-another-country",
                f"{body.id} works through {body.party}, which is no party to this case; let a"
                " country of the case invite it.",
                field,
            )
        if agency.international and body.id != agency.id:
            raise not_allowed(
                "international-body", "A country of the case names an international body."
            )


def references(fields: Mapping[str, Any], names: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Return each value of the named fields that are set, with the field's name."""
    for name in names:
        if value := fields.get(name):
            for item in (value,) if isinstance(value, str) else value:
                yield name, item
