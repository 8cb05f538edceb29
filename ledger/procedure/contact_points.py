"""Contact points: the offices that a party names to the others for the procedure, and deputies.

The coordinator of a party *names* a contact point, *replaces* it by naming another in its place,
and *ends* it. A party may have several. A contact point also ends when its agency is retired.

The ledger has the function and the office's own address, and no person's name: what is recorded is
kept for ever, and people change. This is a reading of the procedure, not an official text.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.procedure.protocol import COORDINATOR, NODE, Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.registration import Office
from ledger.vocabulary.types import RECORDED

CONTACT_KINDS = frozenset({"contact_point_named", "contact_point_ended"})


@dataclass(frozen=True, slots=True)
class ContactPoint:
    """A contact point or a deputy, from ``since`` until ``ended_at``."""

    id: UUID
    """The action that named it."""
    party: str
    agency: str
    function: str
    functions: tuple[tuple[str, str], ...]
    """The function by language tag."""
    deputy: bool
    languages: tuple[str, ...]
    office: Office
    since: int
    """The position of the act that named it."""
    named_at: datetime
    ended_at: int | None = None
    """The position of the act that ended it."""

    def is_named(self, position: int) -> bool:
        """Return whether it was a contact point just after the event at ``position``."""
        return self.since <= position and (self.ended_at is None or position < self.ended_at)


def decide(
    contacts: Iterable[ContactPoint], action: SignedAction, actor: Agency, protocol: Protocol
) -> None:
    """Decide whether ``actor`` may take an act of ``CONTACT_KINDS``. Raises ``Refusal``."""
    if actor.role != COORDINATOR:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-only",
            "Contact points are named and ended by their country's coordinator.",
            "iss",
        )
    if action.kind == "contact_point_ended":
        _find(contacts, UUID(action.fields["contact"]), actor, "act.contact")
        return
    agency = protocol.agencies_by_id.get(action.fields["agency"])
    if agency is None or agency.role == NODE:
        raise Refusal(
            Ground.INVALID, "unknown-agency", "This is no agency of people.", "act.agency"
        )
    if agency.party != actor.party:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinator-of-the-country",
            f"{agency.id} is an agency of {agency.party}, whose coordinator names it.",
            "act.agency",
        )
    if agency.retired_at is not None:
        raise Refusal(Ground.INVALID, "retired-agency", f"{agency.id} is retired.", "act.agency")
    office = action.fields["office"]
    if office.get("email") is None and office.get("telephone") is None:
        raise Refusal(
            Ground.INVALID,
            "contact-unreachable",
            "Give the office's e-mail address or telephone number.",
            "act.office",
        )
    replaced = action.fields.get("replaces")
    if replaced is not None:
        _find(contacts, UUID(replaced), actor, "act.replaces")


def evolve(
    contacts: tuple[ContactPoint, ...],
    action: SignedAction,
    party: str,
    position: int,
    recorded_at: datetime,
) -> tuple[ContactPoint, ...]:
    """Fold one accepted act of ``CONTACT_KINDS``, signed by the coordinator of ``party``."""
    fields = action.fields
    if action.kind == "contact_point_ended":
        return _ended(contacts, UUID(fields["contact"]), position)
    if (replaced := fields.get("replaces")) is not None:
        contacts = _ended(contacts, UUID(replaced), position)
    named = ContactPoint(
        id=action.id,
        party=party,
        agency=fields["agency"],
        function=fields["function"],
        functions=tuple(sorted((fields.get("functions") or {}).items())),
        deputy=fields.get("deputy", False),
        languages=tuple(fields["languages"]),
        office=Office.model_validate(fields["office"], context=RECORDED),
        since=position,
        named_at=recorded_at,
    )
    return (*contacts, named)


def without_agency(
    contacts: tuple[ContactPoint, ...], agency: str, position: int
) -> tuple[ContactPoint, ...]:
    """End the contact points of an agency that was retired at ``position``."""
    return tuple(
        replace(one, ended_at=position) if one.agency == agency and one.ended_at is None else one
        for one in contacts
    )


def _ended(
    contacts: tuple[ContactPoint, ...], contact: UUID, position: int
) -> tuple[ContactPoint, ...]:
    if not any(one.id == contact for one in contacts):
        raise KeyError(contact)
    return tuple(
        replace(one, ended_at=position) if one.id == contact and one.ended_at is None else one
        for one in contacts
    )


def _find(contacts: Iterable[ContactPoint], contact: UUID, actor: Agency, field: str) -> None:
    for one in contacts:
        if one.id == contact and one.party == actor.party and one.ended_at is None:
            return
    raise Refusal(
        Ground.UNKNOWN,
        "unknown-contact-point",
        f"{actor.party} has no contact point under this id; it may be ended already.",
        field,
    )
