"""The registry: a fold of the acts on the protocol into whose keys and whose log count, when.

Order decides before clocks do. A revocation and a log policy count from their positions. Only a
key's own validity is held against a time, which is the one stored with the event.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from joserfc.jwk import OKPKey

from ledger.events.event import ActionRecorded
from ledger.log.policy import NONE, OTHER_LINE_ENDS, Policy, PolicyError
from ledger.procedure import absence, agency_acts, amendments, contact_points, withdrawals
from ledger.procedure.absence import Announcement, Vote
from ledger.procedure.act_editions import EDITION_OF_ACT, check_edition
from ledger.procedure.agency_acts import AGENCY_KINDS, ProposedAgencyChange, gone_party
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import AMENDMENT_KINDS, Amendment, KnownKeys
from ledger.procedure.contact_points import CONTACT_KINDS, ContactPoint
from ledger.procedure.key_recovery import KeyRecovery
from ledger.procedure.named_checkpoint import check_names_one
from ledger.procedure.protocol import (
    COORDINATOR,
    NODE,
    Agency,
    KeyChange,
    NewerTextError,
    Protocol,
    read_recorded_text,
)
from ledger.procedure.withdrawals import WITHDRAWAL_KINDS
from ledger.procedure.witness_alignment import aligned_policy
from ledger.refusals import Ground, Refusal
from ledger.signing import approval as approvals
from ledger.signing.country_key import CountryPublicKey
from ledger.signing.key_possession import check_proof
from ledger.signing.keys import check_grantable, from_public, key_id
from ledger.signing.signed_action import Mark, SignedAction, verify
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.registration import KeyGrant

_UNFIT = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


_AFTER_LEAVING = frozenset({"readings_anchored", "key_revoked", "key_compromised"})
"""The acts on the protocol that a party takes after it left: they protect, and grant nothing."""
_WAITING_EDITION = 2
"""The edition from which on nothing is completed that waited for a party that left."""


class SignatureState(StrEnum):
    """The state of a recorded action's signature."""

    VALID = "valid"
    VALID_KEY_SINCE_REVOKED = "valid, key since revoked"
    KEY_COMPROMISED_THEN = "valid, key compromised then"
    KEY_UNKNOWN = "key unknown"
    KEY_OF_ANOTHER_AGENCY = "key of another agency"
    KEY_NOT_VALID_THEN = "key not valid then"
    DOES_NOT_VERIFY = "does not verify"


_COUNTS = (SignatureState.VALID, SignatureState.VALID_KEY_SINCE_REVOKED)


@dataclass(frozen=True, slots=True)
class RegisteredKey:
    """A key, whose it is, and when it may sign."""

    id: str
    agency: str
    key: OKPKey
    valid_from: datetime
    valid_until: datetime
    revoked_at: datetime | None = None
    """When the revocation was recorded. It is told to people; it decides nothing."""
    compromised_since: datetime | None = None
    revoked_position: int | None = None
    """The position of the first revocation. Later positions do not count, whatever their times."""
    member: UUID | None = None
    """The pseudonym of the member who holds the key; ``None`` if a system of the agency does."""

    def is_revoked_before(self, position: int) -> bool:
        """Return whether the key was revoked when the event at ``position`` was recorded."""
        return self.revoked_position is not None and self.revoked_position < position

    def lasts_at(self, moment: datetime) -> bool:
        """Return whether ``moment`` is within the key's validity, leaving revocation aside."""
        return self.valid_from <= moment < self.valid_until

    def valid_at(self, moment: datetime) -> bool:
        """Return whether the key may sign the next event, if ``moment`` is stored with it."""
        return self.revoked_position is None and self.lasts_at(moment)


@dataclass(frozen=True, slots=True)
class KeyProposal:
    """A change of a key that another party has not confirmed yet. It has no effect."""

    action: UUID
    change: KeyChange
    key: RegisteredKey
    """The key as it is before the change; one to be registered, as it would be."""
    compromised_since: datetime | None
    by: str
    """The agency that proposed the change."""
    party: str
    """The party of the key's agency, and of who proposed the change."""
    confirming_roles: frozenset[str]

    def may_be_confirmed_by(self, agency: Agency) -> bool:
        """Return whether ``agency`` is of another party, and of a role that confirms."""
        return agency.party != self.party and agency.role in self.confirming_roles


@dataclass(frozen=True, slots=True)
class AgreedPolicy:
    """A policy that the parties adopted: it holds for checkpoints of ``since`` events or more."""

    since: int
    policy: Policy
    without: frozenset[str] = frozenset()
    """The absent parties without which the others adopted it."""
    recorded_at: datetime | None = None
    """When the last of them did; ``None`` for a policy that no event adopted."""
    is_aligned: bool = False
    """Whether it follows from the parties, by ``witnesses_aligned``, and from no vote."""


@dataclass(frozen=True, slots=True)
class AnchoredReadings:
    """The length of an access log, and the hash that covers its entries."""

    entries: int
    head: bytes


@dataclass(frozen=True, slots=True)
class Registry:
    """The agreement with its agencies' keys, at one version of the ledger.

    There is no one protocol here. Ask for the version that judges an event (``agreement.of_event``,
    ``agreement.of_act``), the next event (``next_protocol``), or a reading of today
    (``protocol_today``).
    """

    agreement: Agreement
    keys: Mapping[str, RegisteredKey]
    version: int
    policies: tuple[AgreedPolicy, ...] = ()
    """Every policy that was in force, the first one first."""
    proposed: Mapping[str, Vote] = field(default_factory=dict)
    """The last vote of each party, by the party's code, while no policy comes of it."""
    announced: tuple[Announcement, ...] = ()
    """Every announced absence, the first one first."""
    country_keys: Mapping[str, CountryPublicKey] = field(default_factory=dict)
    """The keys to which others seal, by the party's code."""
    readings: Mapping[str, AnchoredReadings] = field(default_factory=dict)
    """How far each party's access log was fixed last."""
    recoveries: Mapping[str, KeyRecovery] = field(default_factory=dict)
    """Keys for coordinators that other parties propose, by the key's id."""
    proposals: Mapping[UUID, KeyProposal] = field(default_factory=dict)
    """Changes of keys that wait for another party, by the action that proposed them."""
    amendments: tuple[Amendment, ...] = ()
    """Every text that was proposed, the first one first, whatever became of it."""
    proposed_agencies: Mapping[UUID, ProposedAgencyChange] = field(default_factory=dict)
    """Changes of oversight bodies that wait for another party, by the action that proposed them."""
    contacts: tuple[ContactPoint, ...] = ()
    """Every contact point that was ever named, the first one first."""

    @property
    def id(self) -> Any:
        return self.ledger_id

    @property
    def ledger_id(self) -> UUID:
        """Return the id under which the acts on the protocol are recorded.

        No version changes this id.
        """
        return self.agreement.ledger_id

    @property
    def protocol_id(self) -> str:
        """Return the protocol's id, which no version changes."""
        return self.agreement.protocol_id

    @property
    def directory(self) -> Protocol:
        """Return the newest text, which has each agency's party; see ``Agreement.directory``."""
        return self.agreement.directory

    def next_protocol(self, recorded_at: datetime) -> Protocol:
        """Return the version that judges the next event, if it is recorded at this time."""
        return self.agreement.next_at(recorded_at)

    def protocol_today(self, now: datetime) -> Protocol:
        """Return the version in force by the clock, for readings and for pages.

        No recorded event is judged by this version.
        """
        return self.agreement.next_at(now)

    def agency(self, agency_id: str, at: datetime) -> Agency:
        """Return an agency that may act, if ``at`` is stored with the next event.

        Raises ``Refusal`` (``unknown-agency``, ``retired-agency``).
        """
        return _acting_agency(self.next_protocol(at), agency_id)

    def agencies_at(self, position: int, recorded_at: datetime) -> tuple[Agency, ...]:
        """Return the agencies by which the event of this position and time is judged.

        They are the agencies of the text in force, with the registrations, renamings and
        retirements that their countries recorded at earlier positions. Retired agencies are
        included (``Agency.retired_at``).
        """
        return self.agreement.at(position, recorded_at).agencies

    def is_alignment_due(self, at: datetime) -> bool:
        """Return whether the policy names a party that left, or lacks one that joined.

        ``at`` is the time that would be stored with the next event.
        """
        protocol = self.next_protocol(at)
        if protocol.edition < EDITION_OF_ACT["witnesses_aligned"]:
            return False
        try:
            return _aligned(self, protocol) is not None
        except Refusal:
            return False

    def alignment_refusal(self, at: datetime) -> Refusal | None:
        """Return why only a vote can bring the policy to the parties; ``None`` if no vote is due.

        ``at`` is the time that would be stored with the next event.
        """
        try:
            _aligned(self, self.next_protocol(at))
        except Refusal as refusal:
            return refusal
        return None

    def policy_at(self, size: int) -> Policy | None:
        """Return the policy for a checkpoint of ``size`` events.

        Returns ``None`` before the first agreed policy.
        """
        held = [agreed.policy for agreed in self.policies if agreed.since <= size]
        return held[-1] if held else None

    def signing_key(self, kid: str, agency: str, at: datetime) -> OKPKey:
        """Return the key to verify the next event's signature with.

        ``at`` is the time that is stored with the event, and must be within the key's validity. A
        revocation counts from its position: every revocation in this registry came before. Raises
        ``Refusal`` if the key may not sign for ``agency``.
        """
        registered = self.keys.get(kid)
        if registered is None:
            if any(one.key.id == kid for one in self.proposals.values()):
                raise _key_refusal(
                    "key-not-confirmed",
                    "This key was registered, and waits for another party to confirm it.",
                )
            raise _key_refusal("unknown-key", "This key is not registered; register it first.")
        if registered.agency != agency:
            raise _key_refusal("key-of-another-agency", "This key belongs to another agency.")
        if registered.revoked_position is not None:
            raise _key_refusal("revoked-key", "This key was revoked; sign with a current one.")
        if not registered.lasts_at(at):
            raise _key_refusal(
                "key-not-valid", "This key is not within its validity; sign with a current one."
            )
        return registered.key

    def signature_state(
        self, action: SignedAction, recorded_at: datetime, position: int
    ) -> SignatureState:
        """Verify again the action recorded at ``position``.

        The registry may be of a later position. A revocation before ``position`` counts, and
        validity is held against ``recorded_at``.
        """
        state = self._state_of(action, action.key_id, recorded_at, position)
        if action.approval is None or state not in _COUNTS:
            return state
        second = self._state_of(action, action.approval.key_id, recorded_at, position)
        return state if second is SignatureState.VALID else second

    def approver_of(self, action: SignedAction) -> UUID | None:
        """Return the pseudonym of the member who approved an action, if one did."""
        if action.approval is None:
            return None
        registered = self.keys.get(action.approval.key_id)
        return None if registered is None else registered.member

    def _state_of(
        self, action: SignedAction, kid: str, recorded_at: datetime, position: int
    ) -> SignatureState:
        """Return the state of the author's signature, or of the approval's, by its key."""
        registered, approval = self.keys.get(kid), action.approval
        if registered is None:
            return SignatureState.KEY_UNKNOWN
        if registered.agency != action.agency:
            return SignatureState.KEY_OF_ANOTHER_AGENCY
        try:
            if approval is not None and kid == approval.key_id != action.key_id:
                if not approvals.verifies(approval, registered.key):
                    return SignatureState.DOES_NOT_VERIFY
            else:
                verify(action, registered.key)
        except Refusal:
            return SignatureState.DOES_NOT_VERIFY
        if registered.is_revoked_before(position) or not registered.lasts_at(recorded_at):
            return SignatureState.KEY_NOT_VALID_THEN
        since = registered.compromised_since
        if since is not None and recorded_at >= since:
            return SignatureState.KEY_COMPROMISED_THEN
        if registered.revoked_at is not None:
            return SignatureState.VALID_KEY_SINCE_REVOKED
        return SignatureState.VALID


def _known_agency(protocol: Protocol, agency_id: str) -> Agency:
    agency = protocol.agencies_by_id.get(agency_id)
    if agency is None:
        raise Refusal(Ground.UNKNOWN, "unknown-agency", "This is no agency of the protocol.", "iss")
    return agency


def _acting_agency(protocol: Protocol, agency_id: str) -> Agency:
    agency = _known_agency(protocol, agency_id)
    if agency.retired_at is not None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "retired-agency",
            "This agency is retired; its country's coordinator acts in its place.",
            "iss",
        )
    return agency


def left_party(agency: Agency, protocol: Protocol) -> Refusal:
    """Make the refusal of an act of an agency whose party left."""
    return Refusal(
        Ground.NOT_ALLOWED,
        "left-party",
        f"{agency.party} left the agreement on {protocol.left_parties[agency.party]}: its agencies"
        " answer what they owe and confirm the erasure, and do nothing else.",
        "iss",
    )


def policy_in_force(registry: Registry | None, size: int, trusted: Policy) -> Policy:
    """Return the policy for a checkpoint of ``size`` events.

    Returns ``trusted`` before any policy was agreed.
    """
    agreed = registry.policy_at(size) if registry else None
    return agreed or trusted


def protocol_adopted_by(action: SignedAction) -> Protocol:
    """Return the protocol of the act that a ledger begins with.

    Raises ``ValueError`` for another act, and ``NewerTextError`` for a text of a later program.
    """
    if action.kind != "protocol_adopted":
        raise ValueError("the registry begins with the adoption of a protocol")
    return read_recorded_text(action.fields["protocol"])


def evolve(
    registry: Registry | None, action: SignedAction, recorded_at: datetime, position: int
) -> Registry:
    """Fold one accepted act, recorded at ``position``, into the registry."""
    if action.kind == "protocol_adopted":
        grants = [KeyGrant.model_validate(g) for g in action.fields["keys"]]
        keys = {k.id: k for k in map(_registered, grants)}
        adopted = Agreement.of(protocol_adopted_by(action), action.fields["protocol"])
        return Registry(adopted, keys, 1)
    if registry is None:
        raise ValueError("the registry begins with the adoption of a protocol")
    protocol = registry.agreement.at(position, recorded_at)
    registry = _without_recoveries_of(registry, action.agency)
    registry = _without_absence_of(registry, protocol, action.agency, position)
    if action.kind in AMENDMENT_KINDS:
        party = _known_agency(protocol, action.agency).party
        amended = amendments.evolve(
            registry.agreement, registry.amendments, action, party, position, recorded_at
        )
        registry = replace(
            registry,
            agreement=amended.agreement,
            amendments=amended.amendments,
            version=registry.version + 1,
        )
        if amended.adopted is None or not amended.adopted.joining:
            return registry
        if protocol.edition >= _WAITING_EDITION:
            registry = _without_waiting(registry, amended.adopted.joining, position)
        return _with_joined(registry, amended.adopted, recorded_at, position)
    if action.kind in WITHDRAWAL_KINDS:
        declared = withdrawals.evolve(
            registry.agreement.withdrawals, action, protocol, position, recorded_at
        )
        agreement = registry.agreement.with_withdrawals(declared)
        return replace(registry, agreement=agreement, version=registry.version + 1)
    if action.kind == "witnesses_aligned":
        policy = _aligned(registry, protocol)
        if policy is None:
            raise ValueError("there is no policy to align")
        agreed = AgreedPolicy(position, policy, frozenset(), recorded_at, is_aligned=True)
        policies = (*registry.policies, agreed)
        return replace(registry, policies=policies, proposed={}, version=registry.version + 1)
    if action.kind in AGENCY_KINDS:
        return _with_agency_change(registry, protocol, action, recorded_at, position)
    if action.kind in CONTACT_KINDS:
        party = _known_agency(protocol, action.agency).party
        contacts = contact_points.evolve(registry.contacts, action, party, position, recorded_at)
        return replace(registry, contacts=contacts, version=registry.version + 1)
    if action.kind == "absence_announced":
        return _with_announcement(registry, action, recorded_at, position)
    if action.kind == "presence_declared":
        return replace(registry, version=registry.version + 1)
    if action.kind == "coordinator_key_recovered":
        return _with_recovery(registry, protocol, action, recorded_at)
    if action.kind == "log_policy_adopted":
        return _with_vote(registry, protocol, action, recorded_at, position)
    if action.kind == "country_key_registered":
        party = _known_agency(protocol, action.agency).party
        country_keys = {**registry.country_keys, party: _country_key(action)}
        return replace(registry, country_keys=country_keys, version=registry.version + 1)
    if action.kind == "readings_anchored":
        party = _known_agency(protocol, action.agency).party
        anchored = AnchoredReadings(action.fields["entries"], bytes.fromhex(action.fields["head"]))
        readings = {**registry.readings, party: anchored}
        return replace(registry, readings=readings, version=registry.version + 1)
    if action.kind in ("key_change_confirmed", "key_change_declined"):
        proposal = registry.proposals[UUID(action.fields["proposal"])]
        left = {k: v for k, v in registry.proposals.items() if k != proposal.action}
        settled = replace(registry, proposals=left, version=registry.version + 1)
        if action.kind == "key_change_declined":
            return settled
        return _changed(settled, proposal, recorded_at, position)
    proposal = _proposal(registry, protocol, action)
    registry = replace(registry, version=registry.version + 1)
    if proposal.confirming_roles:
        return replace(registry, proposals={**registry.proposals, proposal.action: proposal})
    return _changed(registry, proposal, recorded_at, position)


def _with_joined(
    registry: Registry, adopted: Amendment, recorded_at: datetime, position: int
) -> Registry:
    """Register the keys of the parties that join by an amendment adopted at ``position``.

    The keys that a party had before it left end. No key signs anything before the text is in force,
    because until then its agencies are unknown or of a party that left.
    """
    agencies = registry.agreement.directory.agencies_by_id
    keys = {
        kid: replace(key, revoked_at=recorded_at, revoked_position=position)
        if key.revoked_position is None
        and key.agency in agencies
        and agencies[key.agency].party in adopted.joining
        else key
        for kid, key in registry.keys.items()
    }
    country_keys = dict(registry.country_keys)
    for party in registry.agreement.latest.protocol.parties:
        if party.code in adopted.joining and party.accession is not None:
            keys |= {key.id: key for key in map(_registered, party.accession.keys)}
            country_keys[party.code] = CountryPublicKey.from_text(party.accession.country_key)
    return replace(registry, keys=keys, country_keys=country_keys)


def _without_waiting(registry: Registry, joining: frozenset[str], position: int) -> Registry:
    """Drop what waited for the parties that join, and end their votes and absences.

    A party that joins again begins anew: nothing that it or another party began before it left is
    completed for it.
    """
    agencies = registry.directory.agencies_by_id
    announced = registry.announced
    for party in sorted(joining):
        announced = absence.returned(announced, party, position)
    return replace(
        registry,
        recoveries={
            kid: one
            for kid, one in registry.recoveries.items()
            if agencies[one.grant.agency].party not in joining
        },
        proposals={k: one for k, one in registry.proposals.items() if one.party not in joining},
        proposed_agencies={
            k: one
            for k, one in registry.proposed_agencies.items()
            if one.change.party not in joining
        },
        proposed={
            party: vote
            for party, vote in registry.proposed.items()
            if party not in joining and joining.isdisjoint(vote.without)
        },
        announced=announced,
    )


def _aligned(registry: Registry, protocol: Protocol) -> Policy | None:
    """Return the policy with the witnesses of the parties in force.

    Returns ``None`` if no policy was adopted, or if the last one is that policy already. Raises
    ``Refusal`` if only a vote can decide on the policy.
    """
    if not registry.policies:
        return None
    last = registry.policies[-1].policy
    policy = aligned_policy(last, protocol, _admitted_since_vote(registry, protocol))
    return None if policy is None or policy.trust == last.trust else policy


def _admitted_since_vote(registry: Registry, protocol: Protocol) -> frozenset[str]:
    """Return the parties that a text admitted which was not in force at the last vote on a policy.

    ``protocol`` is the version in force.
    """
    voted = next(one for one in reversed(registry.policies) if not one.is_aligned)
    return frozenset(
        party
        for version in registry.agreement.versions
        if version.protocol.version <= protocol.version
        and not (
            voted.recorded_at is not None and version.is_in_force(voted.since, voted.recorded_at)
        )
        for party in version.admitted
    )


def _with_agency_change(
    registry: Registry,
    protocol: Protocol,
    action: SignedAction,
    recorded_at: datetime,
    position: int,
) -> Registry:
    party = _known_agency(protocol, action.agency).party
    changed = agency_acts.evolve(
        registry.agreement, registry.proposed_agencies, action, party, position, recorded_at
    )
    registry = replace(
        registry,
        agreement=changed.agreement,
        proposed_agencies=changed.proposed,
        version=registry.version + 1,
    )
    if changed.retired is None:
        return registry
    return _without_agency(registry, changed.retired, recorded_at, position)


def _without_agency(
    registry: Registry, agency: str, recorded_at: datetime, position: int
) -> Registry:
    """End the keys and the contact points of an agency that is retired at ``position``."""
    keys = {
        kid: replace(key, revoked_at=recorded_at, revoked_position=position)
        if key.agency == agency and key.revoked_position is None
        else key
        for kid, key in registry.keys.items()
    }
    return replace(
        registry,
        keys=keys,
        proposals={k: one for k, one in registry.proposals.items() if one.key.agency != agency},
        contacts=contact_points.without_agency(registry.contacts, agency, position),
    )


def ended_keys(before: Registry | None, after: Registry) -> Iterator[tuple[str, datetime | None]]:
    """Yield each key that an act ended, and since when it is declared to be compromised."""
    known = before.keys if before is not None else {}
    if known is after.keys:
        return
    for kid, key in after.keys.items():
        was = known.get(kid)
        if was is None or was is key:
            continue
        is_revoked = was.revoked_position is None and key.revoked_position is not None
        if is_revoked or was.compromised_since != key.compromised_since:
            yield kid, key.compromised_since


def _proposal(registry: Registry, protocol: Protocol, action: SignedAction) -> KeyProposal:
    """Return the change of a key that an act proposes.

    Raises ``KeyError`` if the key is not registered.
    """
    since = None
    if action.kind == "key_registered":
        change = KeyChange.REGISTRATION
        grant = KeyGrant.model_validate(action.fields["grant"])
        key = _registered(grant, _member(action))
    else:
        change, key = KeyChange.REVOCATION, registry.keys[action.fields["key_id"]]
        if action.kind == "key_compromised":
            since = datetime.fromisoformat(action.fields["since"])
    owner = _known_agency(protocol, key.agency)
    # An agency ends its own key at once: whoever has it could do no less harm by signing.
    is_own = owner.id == action.agency
    roles = frozenset() if is_own else protocol.confirming_roles(owner.role, change)
    return KeyProposal(action.id, change, key, since, action.agency, owner.party, roles)


def _changed(
    registry: Registry, proposal: KeyProposal, recorded_at: datetime, position: int
) -> Registry:
    """Apply a change of a key at the position of the act that completes it."""
    kid, since = proposal.key.id, proposal.compromised_since
    if proposal.change is KeyChange.REGISTRATION:
        return replace(registry, keys={**registry.keys, kid: proposal.key})
    known = registry.keys[kid]
    earlier = known.compromised_since
    ended = replace(
        known,
        revoked_at=known.revoked_at or recorded_at,
        revoked_position=known.revoked_position or position,
        compromised_since=min(since, earlier or since) if since is not None else earlier,
    )
    return replace(registry, keys={**registry.keys, kid: ended})


def applied(registry: Registry | None, event: ActionRecorded) -> tuple[Registry, Mark | None]:
    """Return the registry after ``event`` of the protocol, and the event's mark, if it has one.

    An event that is not understood, or does not fit the registry, counts as recorded and changes
    nothing else. Raises ``ValueError`` if the ledger does not begin with the adoption of a
    protocol: then there is no registry. Raises ``NewerTextError`` if only a later program has that
    protocol.
    """
    action, recorded_at, position = event.action, event.recorded_at, event.position
    if recorded_at is None or position is None:
        raise ValueError("the event is not recorded yet")
    if registry is None:
        try:
            return evolve(None, action, recorded_at, position), action.mark
        except NewerTextError:
            raise
        except _UNFIT as error:
            raise ValueError("the ledger does not begin with the adoption of a protocol") from error
    fits = action.kind in REGISTRY_ACTIONS and action.kind != "protocol_adopted"
    try:
        if fits:
            return evolve(registry, action, recorded_at, position), action.mark
    except NewerTextError:
        return replace(registry, version=registry.version + 1), Mark.UNKNOWN_VERSION
    except (Refusal, *_UNFIT):
        pass
    mark = Mark.NO_EFFECT if action.is_understood else action.mark
    return replace(registry, version=registry.version + 1), mark


def registry_of(acts: Iterable[ActionRecorded]) -> Registry:
    """Return the registry after recorded acts on the protocol, the adoption first.

    Raises ``ValueError`` if there is no act, or if the acts do not begin with an adoption.
    """
    registry: Registry | None = None
    for act in acts:
        registry, _ = applied(registry, act)
    if registry is None:
        raise ValueError("the ledger does not begin with the adoption of a protocol")
    return registry


def decide(registry: Registry | None, action: SignedAction, at: datetime) -> None:
    """Decide whether an act on the protocol is allowed, if ``at`` is stored with it.

    Raises ``Refusal``.
    """
    if action.kind not in REGISTRY_ACTIONS:
        raise Refusal(
            Ground.INVALID,
            "not-a-registry-action",
            f"{action.kind} is an action on a case; send it to its case.",
            "kind",
        )
    if action.kind == "protocol_adopted":
        if registry is not None:
            raise Refusal(
                Ground.OUT_OF_PROCEDURE,
                "already-adopted",
                "This ledger has its protocol; it is adopted once.",
            )
        _decide_adoption(action)
        return
    if registry is None:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE, "not-adopted", "No protocol is adopted yet; adopt one first."
        )
    protocol = registry.next_protocol(at)
    actor = _acting_agency(protocol, action.agency)
    check_edition(action.kind, protocol.edition)
    if actor.party not in protocol.party_codes and action.kind not in _AFTER_LEAVING:
        raise left_party(actor, protocol)
    if action.kind in WITHDRAWAL_KINDS:
        withdrawals.decide(registry.agreement.withdrawals, action, actor, protocol, at)
        return
    if action.kind == "witnesses_aligned":
        _decide_alignment(registry, protocol, actor)
        return
    if action.kind in AGENCY_KINDS:
        agency_acts.decide(registry.agreement, registry.proposed_agencies, action, actor, protocol)
        return
    if action.kind in CONTACT_KINDS:
        contact_points.decide(registry.contacts, action, actor, protocol)
        return
    if action.kind in AMENDMENT_KINDS:
        registered, edition = _known_keys(registry, at), protocol.edition
        amendments.decide(
            registry.agreement, registry.amendments, action, actor, registered, at, edition
        )
        return
    if action.kind == "coordinator_key_recovered":
        _decide_recovery(registry, protocol, action, actor)
        return
    if action.kind == "log_policy_adopted":
        _decide_policy(registry, protocol, action, actor, at)
        return
    if action.kind == "absence_announced":
        subjects = map(VoteSubject, action.fields["subjects"])
        absence.check_announcement(
            protocol, registry.announced, actor, action.fields["party"], subjects
        )
        return
    if action.kind == "presence_declared":
        absence.check_presence(registry.announced, actor)
        return
    if action.kind == "country_key_registered":
        _decide_country_key(registry, action, actor)
        return
    if action.kind == "readings_anchored":
        _decide_anchor(registry, action, actor)
        return
    if action.kind in ("key_change_confirmed", "key_change_declined"):
        _decide_settlement(registry, protocol, action, actor)
        return
    if action.kind == "key_registered":
        grant = _grant(action.fields["grant"], "act.grant")
        owner, kid = _known_agency(protocol, grant.agency), _registered(grant).id
        if protocol.edition >= 2:
            check_proof(grant, protocol.id, "act.grant")
        _check_member(registry, _member(action), owner.id)
    else:
        kid = action.fields["key_id"]
        if kid not in registry.keys:
            raise Refusal(
                Ground.UNKNOWN, "unknown-key", "This key is not registered.", "act.key_id"
            )
        owner = _known_agency(protocol, registry.keys[kid].agency)
    own_key = action.kind == "key_revoked" and owner.id == actor.id
    if not own_key and (actor.role != COORDINATOR or actor.party != owner.party):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinator-of-the-country",
            f"Only the coordinator of {owner.party} registers and revokes keys of its agencies.",
            "iss",
        )
    if action.kind == "key_registered" and owner.retired_at is not None:
        raise Refusal(
            Ground.INVALID,
            "retired-agency",
            f"{owner.id} is retired, and has no keys any more.",
            "act.grant.agency",
        )
    known = registry.keys.get(kid)
    if action.kind == "key_registered" and known is not None:
        raise Refusal(
            Ground.CONFLICT, "key-known", "This key is registered already.", "act.grant.key"
        )
    if action.kind == "key_revoked" and known is not None and known.revoked_at is not None:
        raise Refusal(
            Ground.CONFLICT, "already-revoked", "This key is revoked already.", "act.key_id"
        )
    asked = _proposal(registry, protocol, action)
    if any(_is_same(asked, one) for one in registry.proposals.values()):
        raise Refusal(
            Ground.CONFLICT,
            "change-proposed",
            "This change of the key waits for another party to confirm it already.",
            "act.grant.key" if action.kind == "key_registered" else "act.key_id",
        )


def check_proposal(
    registry: Registry, text: Mapping[str, Any], earliest: date | None, at: datetime
) -> None:
    """Check that a coordinator may propose an amendment at the time ``at``.

    ``earliest`` is the first day on which the text is to be in force. Raises ``Refusal`` with the
    field at fault.
    """
    known = _known_keys(registry, at)
    amendments.check_proposal(registry.agreement, registry.amendments, text, earliest, known, at)


def _decide_alignment(registry: Registry, protocol: Protocol, actor: Agency) -> None:
    if actor.role not in (COORDINATOR, NODE):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-and-nodes",
            "The policy follows the parties by an act of a party's coordinator or node.",
            "iss",
        )
    if _aligned(registry, protocol) is None:
        raise Refusal(
            Ground.CONFLICT,
            "witnesses-aligned",
            "The policy names the witnesses of the parties already, or no policy is adopted yet.",
            "kind",
        )


def _known_keys(registry: Registry, at: datetime) -> KnownKeys:
    """Return the keys that a proposed text is held against, for the next event."""
    policies = [agreed.policy for agreed in registry.policies]
    logs = {(None, key.public) for policy in policies for key in policy.logs}
    witnesses = {
        (name, one.key.public) for policy in policies for name, one in policy.witnesses.items()
    }
    return KnownKeys(_with_keys(registry, at), registry.keys, logs | witnesses)


def _with_keys(registry: Registry, at: datetime) -> frozenset[str]:
    """Return the agencies that have a key with which they may sign the next event."""
    return frozenset(key.agency for key in registry.keys.values() if key.valid_at(at))


def _is_same(one: KeyProposal, other: KeyProposal) -> bool:
    def told(proposal: KeyProposal) -> tuple[str, KeyChange, datetime | None]:
        return proposal.key.id, proposal.change, proposal.compromised_since

    return bool(one.confirming_roles) and told(one) == told(other)


def _decide_settlement(
    registry: Registry, protocol: Protocol, action: SignedAction, actor: Agency
) -> None:
    """Decide whether an agency may confirm or decline a change. Raises ``Refusal``."""
    proposal = registry.proposals.get(UUID(action.fields["proposal"]))
    if proposal is None:
        raise Refusal(
            Ground.UNKNOWN,
            "unknown-proposal",
            "No change of a key waits under this id; it may be confirmed or declined already.",
            "act.proposal",
        )
    withdraws = action.kind == "key_change_declined" and (
        actor.role == COORDINATOR and actor.party == proposal.party
    )
    if not withdraws and not proposal.may_be_confirmed_by(actor):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "second-party",
            f"A change of this key is confirmed or declined by another party than"
            f" {proposal.party}: by its {' or '.join(sorted(proposal.confirming_roles))}.",
            "iss",
        )
    if action.kind == "key_change_declined":
        return
    known = registry.keys.get(proposal.key.id)
    if proposal.change is KeyChange.REGISTRATION:
        if protocol.edition >= _WAITING_EDITION and proposal.party in protocol.left_parties:
            raise gone_party(proposal.party, "act.proposal")
        if known is not None:
            raise Refusal(
                Ground.CONFLICT, "key-known", "This key is registered already.", "act.proposal"
            )
    elif known is not None and known.revoked_position and proposal.compromised_since is None:
        raise Refusal(
            Ground.CONFLICT, "already-revoked", "This key is revoked already.", "act.proposal"
        )


def _without_recoveries_of(registry: Registry, agency: str) -> Registry:
    """Remove the proposed keys of a coordinator that signs.

    A coordinator that signs has a key, so no other party registers one for it.
    """
    left = {k: r for k, r in registry.recoveries.items() if r.grant.agency != agency}
    if len(left) == len(registry.recoveries):
        return registry
    return replace(registry, recoveries=left)


def _with_recovery(
    registry: Registry, protocol: Protocol, action: SignedAction, recorded_at: datetime
) -> Registry:
    grant = KeyGrant.model_validate(action.fields["grant"])
    registered, party = _registered(grant), _known_agency(protocol, action.agency).party
    begun = registry.recoveries.get(registered.id)
    if begun is None or begun.grant.agency != grant.agency:
        begun = KeyRecovery(grant, recorded_at, frozenset())
    recovery = begun.with_word_of(party)
    others = protocol.party_codes - {_known_agency(protocol, grant.agency).party}
    recoveries = {**registry.recoveries, registered.id: recovery}
    keys = registry.keys
    if recovery.counts(frozenset(others), recorded_at):
        del recoveries[registered.id]
        keys = {**keys, registered.id: _registered(recovery.grant)}
    return replace(registry, keys=keys, recoveries=recoveries, version=registry.version + 1)


def _decide_recovery(
    registry: Registry, protocol: Protocol, action: SignedAction, actor: Agency
) -> None:
    grant = _grant(action.fields["grant"], "act.grant")
    owner, kid = _known_agency(protocol, grant.agency), _registered(grant).id
    if owner.role != COORDINATOR or actor.role != COORDINATOR or actor.party == owner.party:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "other-parties-coordinators",
            "A coordinator that lost its keys gets another by the coordinators of the other "
            "parties; for every other agency its own country's coordinator registers one.",
            "iss",
        )
    if owner.party in protocol.left_parties:
        raise gone_party(owner.party, "act.grant.agency")
    check_proof(grant, protocol.id, "act.grant")
    if kid in registry.keys:
        raise Refusal(
            Ground.CONFLICT, "key-known", "This key is registered already.", "act.grant.key"
        )
    begun = registry.recoveries.get(kid)
    if begun is not None and begun.grant.agency != grant.agency:
        raise Refusal(
            Ground.CONFLICT,
            "key-known",
            "This key is proposed for another agency.",
            "act.grant.key",
        )


def _decide_adoption(action: SignedAction) -> None:
    try:
        protocol = read_recorded_text(action.fields["protocol"])
        if protocol.edition >= 2:
            protocol.check_zone_names()
    except NewerTextError as error:
        raise Refusal(
            Ground.INVALID, Mark.UNKNOWN_VERSION.value, f"{error}.", "act.protocol"
        ) from error
    except ValueError as error:
        raise Refusal(
            Ground.INVALID, "protocol", f"The protocol does not hold: {error}", "act.protocol"
        ) from error
    granted = [_grant(g, "act.keys") for g in action.fields["keys"]]
    if protocol.edition >= 2:
        for place, grant in enumerate(granted):
            check_proof(grant, protocol.id, f"act.keys.{place}")
    covered = set()
    for grant in granted:
        agency = protocol.agencies_by_id.get(grant.agency)
        if agency is None or agency.role != COORDINATOR:
            raise Refusal(
                Ground.INVALID,
                "coordinators-first",
                "The adoption names the keys of the parties' coordinators, and no other.",
                "act.keys",
            )
        covered.add(agency.party)
    if covered != protocol.party_codes:
        raise Refusal(
            Ground.INVALID,
            "coordinators-first",
            "Every party's coordinator needs a key.",
            "act.keys",
        )
    if action.protocol != protocol.id:
        raise Refusal(Ground.INVALID, "protocol", "The action names another protocol.", "protocol")


def _without_absence_of(
    registry: Registry, protocol: Protocol, agency: str, position: int
) -> Registry:
    """End the announced absence of a party whose coordinator or node signs.

    Such a party is present, so no other party votes without it.
    """
    actor = protocol.agencies_by_id.get(agency)
    if actor is None or not absence.ends_absence(actor):
        return registry
    if not absence.is_announced(registry.announced, actor.party):
        return registry
    announced = absence.returned(registry.announced, actor.party, position)
    proposed = {p: v for p, v in registry.proposed.items() if actor.party not in v.without}
    return replace(registry, announced=announced, proposed=proposed)


def _with_announcement(
    registry: Registry, action: SignedAction, recorded_at: datetime, position: int
) -> Registry:
    announcement = Announcement(
        action.id,
        action.fields["party"],
        frozenset(map(VoteSubject, action.fields["subjects"])),
        action.agency,
        position,
        recorded_at,
    )
    return replace(
        registry,
        announced=(*registry.announced, announcement),
        version=registry.version + 1,
    )


def _vote(action: SignedAction) -> Vote:
    return Vote(action.fields["policy"], frozenset(action.fields.get("without") or ()))


def _with_vote(
    registry: Registry,
    protocol: Protocol,
    action: SignedAction,
    recorded_at: datetime,
    position: int,
) -> Registry:
    vote = _vote(action)
    proposed = {**registry.proposed, _known_agency(protocol, action.agency).party: vote}
    policies, every = registry.policies, protocol.party_codes
    for_text = {party for party, one in proposed.items() if one.policy == vote.policy}
    alike = {party for party, one in proposed.items() if one == vote}
    is_unanimous = for_text >= every
    if is_unanimous or (vote.without and alike >= every - vote.without):
        without = frozenset[str]() if is_unanimous else vote.without
        agreed = AgreedPolicy(position, Policy.parse(vote.policy), without, recorded_at)
        policies, proposed = (*policies, agreed), {}
    return replace(registry, policies=policies, proposed=proposed, version=registry.version + 1)


def _decide_policy(
    registry: Registry, protocol: Protocol, action: SignedAction, actor: Agency, at: datetime
) -> None:
    if actor.role != COORDINATOR:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-only",
            "A policy is adopted by the parties' coordinators.",
            "iss",
        )
    text = action.fields["policy"]
    check_names_one(action, protocol.edition)
    if protocol.edition >= 2 and not OTHER_LINE_ENDS.isdisjoint(text):
        raise Refusal(
            Ground.INVALID,
            "log-policy",
            "The policy does not hold: end each line with a line feed (U+000A) alone.",
            "act.policy",
        )
    try:
        policy = Policy.parse(text)
    except PolicyError as error:
        raise Refusal(
            Ground.INVALID, "log-policy", f"The policy does not hold: {error}.", "act.policy"
        ) from error
    logs = {key.public for key in policy.logs}
    shared = [name for name, one in policy.witnesses.items() if one.key.public in logs]
    if protocol.edition >= 2 and shared:
        raise Refusal(
            Ground.INVALID,
            "log-policy",
            f"The policy does not hold: the witness {shared[0]} has the key of the log. Give the"
            " witness a key of its own.",
            "act.policy",
        )
    known = {key.name for agreed in registry.policies for key in agreed.policy.logs}
    if len({key.name for key in policy.logs} | known) != 1:
        raise Refusal(
            Ground.INVALID,
            "log-policy",
            "A policy names the keys of one log, and its origin stays the same.",
            "act.policy",
        )
    if policy.quorum == NONE:
        raise Refusal(
            Ground.INVALID, "log-policy", "A policy needs a quorum of witnesses.", "act.policy"
        )
    if gone := sorted(protocol.left_parties.keys() & policy.witnesses.keys()):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "left-party",
            f"The policy names the witness of {', '.join(gone)}, which left the agreement.",
            "act.policy",
        )
    if registry.proposed.get(actor.party) == _vote(action):
        raise Refusal(
            Ground.CONFLICT,
            "policy-known",
            f"{actor.party} adopted this policy before; the other parties' word is missing.",
            "act.policy",
        )
    if registry.policies and str(registry.policies[-1].policy) == str(policy):
        raise Refusal(
            Ground.CONFLICT, "policy-known", "This policy is in force already.", "act.policy"
        )
    if action.fields.get("without") is not None:
        absence.check_vote_without(
            protocol,
            registry.announced,
            actor,
            action.fields["without"],
            policy,
            registry.policies[-1].policy if registry.policies else None,
            at,
        )


def _decide_country_key(registry: Registry, action: SignedAction, actor: Agency) -> None:
    if actor.role != COORDINATOR:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-only",
            "A country's key is registered by its coordinator.",
            "iss",
        )
    try:
        key = _country_key(action)
    except ValueError as error:
        raise Refusal(
            Ground.INVALID, "country-key", f"The key does not hold: {error}.", "act.key"
        ) from error
    if registry.country_keys.get(actor.party) == key:
        raise Refusal(Ground.CONFLICT, "key-known", "This key is registered already.", "act.key")


def _decide_anchor(registry: Registry, action: SignedAction, actor: Agency) -> None:
    if actor.role != NODE:
        raise Refusal(
            Ground.NOT_ALLOWED, "nodes-only", "A country's node fixes its own access log.", "iss"
        )
    before = registry.readings.get(actor.party)
    if before is not None and action.fields["entries"] <= before.entries:
        raise Refusal(
            Ground.CONFLICT,
            "already-anchored",
            f"{actor.party}'s access log was fixed at {before.entries} entries before.",
            "act.entries",
        )


def _country_key(action: SignedAction) -> CountryPublicKey:
    return CountryPublicKey.from_text(action.fields["key"])


def _grant(content: object, field: str) -> KeyGrant:
    grant = KeyGrant.model_validate(content)
    try:
        check_grantable(grant.key)
    except ValueError as error:
        raise Refusal(Ground.INVALID, "public-key", f"The key {error}.", field) from error
    if grant.valid_until <= grant.valid_from:
        raise Refusal(Ground.INVALID, "validity", "The validity ends before it begins.", field)
    return grant


def _registered(grant: KeyGrant, member: UUID | None = None) -> RegisteredKey:
    key = from_public(grant.key)
    begins, ends = grant.valid_from, grant.valid_until
    return RegisteredKey(key_id(key), grant.agency, key, begins, ends, member=member)


def _member(action: SignedAction) -> UUID | None:
    """Return the member whom a registration names."""
    member = action.fields.get("member")
    return None if member is None else UUID(member)


def _check_member(registry: Registry, member: UUID | None, agency: str) -> None:
    """Check that a member has keys of one agency alone.

    A person who goes to another agency is another member there. Raises ``Refusal``
    (``member-of-another-agency``).
    """
    if member is None:
        return
    waiting = (one.key for one in registry.proposals.values())
    for key in (*registry.keys.values(), *waiting):
        if key.member == member and key.agency != agency:
            raise Refusal(
                Ground.CONFLICT,
                "member-of-another-agency",
                "This member has a key of another agency. Add the person as a member of this"
                " agency, and name that member.",
                "act.member",
            )


def _key_refusal(rule: str, message: str) -> Refusal:
    return Refusal(Ground.UNAUTHENTIC, rule, message, "header.kid")
