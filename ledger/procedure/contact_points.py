"""Contact points: the offices that a party names to the others for the procedure, and deputies.

The coordinator of a party *names* a contact point, *replaces* it by naming another in its place,
and *ends* it. A party may have several. A contact point also ends when its agency is retired.

The ledger has the function and the office's own address, and no person's name: what is recorded is
kept for ever, and people change. The *card* of the person who holds the function is sealed in the
vaults of the parties. The newest card of a contact point is the one in force. Each vault erases a
card that is not in force any more. This is a reading of the procedure, not an official text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.procedure.protocol import COORDINATOR, NODE, Agency, Protocol
from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary.registration import Office
from ledger.vocabulary.types import RECORDED

CARD_KINDS = frozenset({"contact_card_given", "contact_card_ended"})
CONTACT_KINDS = CARD_KINDS | {"contact_point_named", "contact_point_ended"}


@dataclass(frozen=True, slots=True)
class ContactCard:
    """The card of the person who holds a contact point. The vaults have what it says."""

    id: UUID
    """The action that gave it, under which the vaults keep the fields."""
    since: int
    """The position of the act that gave it."""
    ended_at: int | None = None
    """The position of the act that ended or replaced it."""


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
    cards: tuple[ContactCard, ...] = ()

    @property
    def card(self) -> ContactCard | None:
        """Return the card in force; ``None`` if there is none."""
        if self.ended_at is not None or not self.cards or self.cards[-1].ended_at is not None:
            return None
        return self.cards[-1]

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
    if action.kind in CARD_KINDS or action.kind == "contact_point_ended":
        named = _find(contacts, UUID(action.fields["contact"]), actor, "act.contact")
        if action.kind == "contact_card_ended" and named.card is None:
            raise Refusal(
                Ground.CONFLICT,
                "no-contact-card",
                "This contact point has no card in force; the card may be ended already.",
                "act.contact",
            )
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
    if action.kind in CARD_KINDS:
        new = (ContactCard(action.id, position),) if action.kind == "contact_card_given" else ()
        return _with_card(contacts, UUID(fields["contact"]), position, new)
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


def _with_card(
    contacts: tuple[ContactPoint, ...],
    contact: UUID,
    position: int,
    new: tuple[ContactCard, ...],
) -> tuple[ContactPoint, ...]:
    if not any(one.id == contact for one in contacts):
        raise KeyError(contact)
    return tuple(
        replace(one, cards=(*(_ended_card(card, position) for card in one.cards), *new))
        if one.id == contact
        else one
        for one in contacts
    )


def _ended_card(card: ContactCard, position: int) -> ContactCard:
    return card if card.ended_at is not None else replace(card, ended_at=position)


def cards_in_force(contacts: Iterable[ContactPoint], protocol: Protocol) -> Mapping[UUID, str]:
    """Return the party of each card in force, by the card's id.

    The cards of a party that left are not in force.
    """
    return {
        card.id: one.party
        for one in contacts
        if (card := one.card) is not None and one.party in protocol.party_codes
    }


def may_see_cards(agency: Agency, contacts: Iterable[ContactPoint], protocol: Protocol) -> bool:
    """Return whether an agency reads the cards: a coordinator, and each office of a contact point.

    An agency of a party that left reads none.
    """
    if agency.party not in protocol.party_codes:
        return False
    return agency.role == COORDINATOR or any(
        one.agency == agency.id and one.ended_at is None for one in contacts
    )


def _find(
    contacts: Iterable[ContactPoint], contact: UUID, actor: Agency, field: str
) -> ContactPoint:
    for one in contacts:
        if one.id == contact and one.party == actor.party and one.ended_at is None:
            return one
    raise Refusal(
        Ground.UNKNOWN,
        "unknown-contact-point",
        f"{actor.party} has no contact point under this id; it may be ended already.",
        field,
    )
