"""The acts by which a country registers, names and retires its agencies, and invites bodies.

- The coordinator of a party *registers* an agency of that party in a role that the protocol
  declares, *renames* it, and *retires* it. It *invites* an international body.
- An agency is changed from the position after the act: each event is judged, folded and shown by
  the agencies of its own position (``ledger.procedure.agreement``).
- A retired agency acts no more, and no action names it. Its id is not given again. Its party's
  coordinator answers for it (``Protocol.answering_for``).
- Coordinators and nodes speak for a whole party. Only an amendment changes who they are.
- An oversight body is registered and retired once another party has confirmed it.

This is a reading of the procedure, not an official text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from ledger.procedure.agencies import AgencyChange, AgencyChangeKind
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import (
    COORDINATOR,
    NODE,
    OVERSIGHT,
    Agency,
    KeyChange,
    Protocol,
)
from ledger.refusals import Ground, Refusal, invalid, not_allowed, unfit_text
from ledger.signing.signed_action import SignedAction

AGENCY_KINDS = frozenset(
    {
        "agency_registered",
        "agency_invited",
        "agency_renamed",
        "agency_retired",
        "agency_change_confirmed",
        "agency_change_declined",
    }
)
_STAYING_EDITION = 2
"""The edition of the rules from which on no agency is confirmed for a party that left."""
_NEW = ("agency_registered", "agency_invited")
_KIND_OF = {
    "agency_registered": AgencyChangeKind.REGISTERED,
    "agency_invited": AgencyChangeKind.INVITED,
    "agency_renamed": AgencyChangeKind.RENAMED,
    "agency_retired": AgencyChangeKind.RETIRED,
}
_KEY_CHANGE_LIKE = {
    AgencyChangeKind.REGISTERED: KeyChange.REGISTRATION,
    AgencyChangeKind.RETIRED: KeyChange.REVOCATION,
}


@dataclass(frozen=True, slots=True)
class ProposedAgencyChange:
    """A change of an oversight body that no other party has confirmed yet. It has no effect."""

    change: AgencyChange
    confirming_roles: frozenset[str]

    def may_be_confirmed_by(self, agency: Agency) -> bool:
        """Return whether ``agency`` is of another party, and of a role that confirms."""
        return agency.party != self.change.party and agency.role in self.confirming_roles


@dataclass(frozen=True, slots=True)
class ChangedAgencies:
    """The agreement, and the changes that wait for another party, after an act."""

    agreement: Agreement
    proposed: Mapping[UUID, ProposedAgencyChange]
    retired: str | None = None
    """The agency that the act retired."""


def decide(
    agreement: Agreement,
    proposed: Mapping[UUID, ProposedAgencyChange],
    action: SignedAction,
    actor: Agency,
    protocol: Protocol,
) -> None:
    """Decide whether ``actor`` may take an act of ``AGENCY_KINDS``. Raises ``Refusal``.

    ``protocol`` is the version that judges the act.
    """
    if action.kind in ("agency_change_confirmed", "agency_change_declined"):
        _decide_settlement(agreement, proposed, action, actor, protocol)
        return
    if actor.role != COORDINATOR:
        raise not_allowed(
            "coordinators-only",
            "Agencies are registered, invited, renamed and retired by their country's coordinator.",
        )
    if action.kind in _NEW:
        _decide_new(agreement, proposed, action, protocol)
        return
    agency = protocol.agencies_by_id.get(action.fields["agency"])
    if agency is None:
        raise Refusal(
            Ground.UNKNOWN, "unknown-agency", "This is no agency of the protocol.", "act.agency"
        )
    if agency.party != actor.party:
        raise not_allowed(
            "coordinator-of-the-country",
            f"Only the coordinator of {agency.party} renames and retires its agencies.",
        )
    if agency.retired_at is not None:
        raise Refusal(
            Ground.CONFLICT, "retired-agency", f"{agency.id} is retired already.", "act.agency"
        )
    if action.kind == "agency_retired":
        _check_retirable(agreement, proposed, agency)
    elif all(action.fields.get(name) is None for name in ("name", "names", "city", "office")):
        raise invalid(
            "nothing-named", "Name what changes: the name, the city or the office.", "agency"
        )


def evolve(
    agreement: Agreement,
    proposed: Mapping[UUID, ProposedAgencyChange],
    action: SignedAction,
    party: str,
    position: int,
    recorded_at: datetime,
) -> ChangedAgencies:
    """Fold one accepted act of ``AGENCY_KINDS``, signed by an agency of ``party``.

    Raises ``KeyError`` or ``ValueError`` for an act that does not fit.
    """
    if action.kind in ("agency_change_confirmed", "agency_change_declined"):
        waiting = proposed[UUID(action.fields["proposal"])]
        left = {k: v for k, v in proposed.items() if k != waiting.change.action}
        if action.kind == "agency_change_declined":
            return ChangedAgencies(agreement, left)
        change = replace(waiting.change, position=position, recorded_at=recorded_at)
        return _changed(agreement, left, change)
    change = AgencyChange(
        kind=_KIND_OF[action.kind],
        agency=action.fields["agency"],
        party=party,
        position=position,
        recorded_at=recorded_at,
        action=action.id,
        by=action.agency,
        told={k: v for k, v in action.fields.items() if k not in ("acted_at", "agency")},
    )
    protocol = agreement.at(position, recorded_at)
    roles = _confirming_roles(protocol, change)
    if roles:
        change.applied(agreement.directory.agencies_by_id.get(change.agency))
        return ChangedAgencies(
            agreement, {**proposed, action.id: ProposedAgencyChange(change, roles)}
        )
    return _changed(agreement, proposed, change)


def _changed(
    agreement: Agreement, proposed: Mapping[UUID, ProposedAgencyChange], change: AgencyChange
) -> ChangedAgencies:
    # Raises for a change that does not fit, before it is part of the agreement.
    change.applied(agreement.directory.agencies_by_id.get(change.agency))
    after = agreement.with_change(change)
    retired = change.agency if change.kind is AgencyChangeKind.RETIRED else None
    return ChangedAgencies(after, proposed, retired)


def _confirming_roles(protocol: Protocol, change: AgencyChange) -> frozenset[str]:
    """Return the roles of another party that confirm a change; none if it counts at once."""
    like = _KEY_CHANGE_LIKE.get(change.kind)
    if like is None:
        return frozenset()
    if change.kind is AgencyChangeKind.REGISTERED:
        role = change.told["role"]
    else:
        role = protocol.agencies_by_id[change.agency].role
    if role != OVERSIGHT:
        return frozenset()
    return protocol.confirming_roles(role, like) or frozenset({COORDINATOR})


def _decide_new(
    agreement: Agreement,
    proposed: Mapping[UUID, ProposedAgencyChange],
    action: SignedAction,
    protocol: Protocol,
) -> None:
    fields = action.fields
    agency, role = fields["agency"], fields["role"]
    waiting = {one.change.agency for one in proposed.values()}
    if agency in agreement.directory.agencies_by_id or agency in waiting:
        raise Refusal(
            Ground.CONFLICT,
            "agency-known",
            f"{agency} is, was or is proposed as an agency; an id is given once. Choose another.",
            "act.agency",
        )
    newest = agreement.latest.protocol
    if role not in protocol.roles or role not in newest.roles:
        raise invalid(
            "undeclared-role",
            f"The protocol declares no role {role}: name one of"
            f" {', '.join(sorted(protocol.roles.keys() & newest.roles.keys()))}.",
            "role",
        )
    if role in (COORDINATOR, NODE):
        raise invalid(
            "role-of-the-party",
            f"A {role} speaks for its whole party: it is added by an amendment, which every party"
            " accepts.",
            "role",
        )
    if action.kind == "agency_invited" and role == OVERSIGHT:
        raise invalid("role-of-the-party", "An international body is no oversight body.", "role")
    if action.kind == "agency_invited" and role in newest.analysts:
        raise invalid("role-of-the-party", "An international body is no analyst.", "role")


def _check_retirable(
    agreement: Agreement, proposed: Mapping[UUID, ProposedAgencyChange], agency: Agency
) -> None:
    newest = agreement.directory.agencies_by_id[agency.id]
    if {agency.role, newest.role} & {COORDINATOR, NODE}:
        raise invalid(
            "role-of-the-party",
            f"{agency.id} speaks for its whole party: give its role to another agency by an"
            " amendment first.",
            "agency",
        )
    for one in proposed.values():
        if one.change.agency == agency.id:
            raise Refusal(
                Ground.CONFLICT,
                "change-proposed",
                "The retirement waits for another party to confirm it already.",
                "act.agency",
            )


def _decide_settlement(
    agreement: Agreement,
    proposed: Mapping[UUID, ProposedAgencyChange],
    action: SignedAction,
    actor: Agency,
    protocol: Protocol,
) -> None:
    waiting = proposed.get(UUID(action.fields["proposal"]))
    if waiting is None:
        raise Refusal(
            Ground.UNKNOWN,
            "unknown-proposal",
            "No change of an agency waits under this id; it may be confirmed or declined already.",
            "act.proposal",
        )
    change = waiting.change
    withdraws = action.kind == "agency_change_declined" and (
        actor.role == COORDINATOR and actor.party == change.party
    )
    if not withdraws and not waiting.may_be_confirmed_by(actor):
        raise not_allowed(
            "second-party",
            f"A change of this agency is confirmed or declined by another party than"
            f" {change.party}: by its {' or '.join(sorted(waiting.confirming_roles))}.",
        )
    if action.kind == "agency_change_declined":
        return
    known = agreement.directory.agencies_by_id.get(change.agency)
    is_new = change.kind is AgencyChangeKind.REGISTERED
    if is_new and protocol.edition >= _STAYING_EDITION and change.party in protocol.left_parties:
        raise gone_party(change.party, "act.proposal")
    if is_new and (known is not None or change.told["role"] not in agreement.latest.protocol.roles):
        raise Refusal(
            Ground.CONFLICT,
            "agency-known",
            "An amendment took the id or the role of this agency meanwhile; decline the change.",
            "act.proposal",
        )


def gone_party(party: str, field: str) -> Refusal:
    """Make the refusal of an act that would register something for a party that left."""
    return Refusal(
        Ground.NOT_ALLOWED,
        "left-party",
        f"{party} left the agreement: no key and no agency is registered for it. It joins again by"
        " an amendment, with new keys.",
        field,
    )


def check_fits(agreement: Agreement, text: Protocol) -> None:
    """Check that a proposed text fits the agencies that countries changed by themselves.

    Raises ``Refusal`` naming the field.
    """
    base, newest = agreement.latest.protocol, agreement.directory
    for agency in newest.agencies:
        declared, proposed = base.agencies_by_id.get(agency.id), text.agencies_by_id.get(agency.id)
        if declared is None:
            if proposed is not None:
                raise unfit_text(
                    "agencies",
                    f"{agency.id} is registered by {agency.party} itself: leave it out of the text,"
                    " or choose another id.",
                )
            if agency.retired_at is None and agency.role not in text.roles:
                raise unfit_text(
                    "roles",
                    f"{agency.id} of {agency.party} has the role {agency.role}: retire it first, or"
                    " leave the role in the text.",
                )
        elif proposed is not None and agency != declared and not _is_alike(proposed, declared):
            raise unfit_text(
                "agencies",
                f"{agency.party} renamed or retired {agency.id} by itself: leave its name, city and"
                " office in the text as they are there now, they do not count any more.",
            )


def _is_alike(one: Agency, other: Agency) -> bool:
    """Return whether a text leaves the parts unchanged that a country decides alone."""
    return (one.name, one.names, one.city, one.office) == (
        other.name,
        other.names,
        other.city,
        other.office,
    )
