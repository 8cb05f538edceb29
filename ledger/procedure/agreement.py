"""The agreement: every version of the protocol, and which of them is in force for an event.

A version is adopted at a position, by the act that completes it, and names the earliest time of
recording from which it applies. It is in force for an event if it was adopted at an earlier
position and its earliest time is not after the event's time of recording. Times of recording never
go back in a ledger. So each version is in force from one position, which every node computes alike.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Any, Self
from uuid import UUID

from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.agencies import AgencyChange, listed
from ledger.procedure.protocol import Protocol, with_left_parties
from ledger.procedure.withdrawals import Withdrawal

_ADMITTED_EDITION = 2
"""The edition of the rules from which on a party has a say from the adoption that admits it."""
_ALWAYS = datetime.min.replace(tzinfo=UTC)
_AFTER_ALL = 2**63 - 1
"""A position after every event."""
_TICK = timedelta(microseconds=1)
NOBODY: Mapping[str, date] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ProtocolVersion:
    """A text of the protocol that every party adopted."""

    protocol: Protocol
    adopted_at: int
    """The position of the act that completed the adoption. Later positions may be judged by it."""
    earliest: datetime = _ALWAYS
    """The earliest time of recording of an event that is judged by it.

    It is never before the time of recording of the act that adopted it."""
    proposal: UUID | None = None
    """The amendment that proposed it; ``None`` for the text that the ledger began with."""
    recorded: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The text as it was signed: its digest is of this, whatever a later program adds to it."""
    admitted: frozenset[str] = frozenset()
    """The parties that joined by it."""

    def is_in_force(self, position: int, recorded_at: datetime) -> bool:
        """Return whether it, or a later version, judges the event of this position and time."""
        return self.adopted_at < position and self.earliest <= recorded_at


@dataclass(frozen=True, slots=True)
class Agreement:
    """The versions of one ledger's protocol, the first one first.

    The earliest times never go back from one version to the next. An agreement that has versions
    adopted after an event gives the same answer for it as one that has not.
    """

    versions: tuple[ProtocolVersion, ...]
    changes: tuple[AgencyChange, ...] = ()
    """The countries' changes to their agencies, by position."""
    withdrawals: tuple[Withdrawal, ...] = ()
    """The parties' declarations that they leave, by position."""
    _listed: dict[tuple[int, int, tuple[tuple[str, date], ...]], Protocol] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The protocols with their agencies and parties, by the version's position, the number of
    changes, and the parties that left."""

    @classmethod
    def of(cls, protocol: Protocol, recorded: Mapping[str, Any] | None = None) -> Self:
        """Return the agreement of a ledger that adopted ``protocol`` and did not amend it."""
        return cls((ProtocolVersion(protocol, adopted_at=1, recorded=recorded or {}),))

    def at(self, position: int, recorded_at: datetime) -> Protocol:
        """Return the protocol that judges the event of this position and time of recording.

        The protocol's agencies are those of the position: the agencies of the text, with the
        registrations, renamings and retirements that their countries recorded before. Its parties
        that left by then are marked (``Party.left_on``).
        """
        version = self.version_at(position, recorded_at)
        if self._is_plain:
            return version.protocol
        changes = bisect_left(self.changes, position, key=_position)
        return self._with_agencies(version, changes, self.left_at(position, recorded_at))

    def version_at(self, position: int, recorded_at: datetime) -> ProtocolVersion:
        """Return the version that judges the event of this position and time of recording.

        The adoption at the head of the ledger is judged by the text that it adopts.
        """
        versions = self.versions
        for version in reversed(versions):
            if version.is_in_force(position, recorded_at):
                return version
        return versions[0]

    def left_at(self, position: int, recorded_at: datetime) -> Mapping[str, date]:
        """Return the parties that are none any more for the event of this position and time.

        Each comes with its first day as none. A party that joined again by a later version is not
        among them once that version is in force.
        """
        return {
            one.party: one.day
            for one in self.withdrawals
            if one.is_in_effect(position, recorded_at)
            and not self._is_readmitted(one, position, recorded_at)
        }

    def leaving(self, party: str, day: date) -> Withdrawal:
        """Return the declaration by which a party left on a day. Raises ``KeyError``."""
        for one in self.withdrawals:
            if one.party == party and one.day == day and one.revoked_at is None:
                return one
        raise KeyError(party)

    def bound_by(self, leaving: Withdrawal) -> Protocol:
        """Return the last text that binds a party that left: the one in force just before."""
        return self.text_at(leaving.begins - _TICK)

    def text_at(self, moment: datetime) -> Protocol:
        """Return the text that is in force at a moment, with the agencies that it names itself."""
        return self.version_at(_AFTER_ALL, moment).protocol

    def left_next(self, recorded_at: datetime) -> Mapping[str, date]:
        """Return the parties that are none any more for the next event, if recorded at this time.

        See :meth:`left_at`.
        """
        return self.left_at(self.last_position + 1, recorded_at)

    def without_say_at(self, position: int, recorded_at: datetime) -> frozenset[str]:
        """Return the parties that have no say in the next text, for the event of this position.

        They left, and no adopted version admits them again. A version that is not in force yet
        admits a party too: every later text binds that party. By edition 1 of the rules, such a
        party had no say before its version was in force.
        """
        left = self.left_at(position, recorded_at)
        if self.version_at(position, recorded_at).protocol.edition < _ADMITTED_EDITION:
            return frozenset(left)
        return frozenset(
            one.party
            for one in self.withdrawals
            if one.party in left
            and one.is_in_effect(position, recorded_at)
            and not any(
                one.party in version.admitted and one.position < version.adopted_at < position
                for version in self.versions
            )
        )

    def without_say_next(self, recorded_at: datetime) -> frozenset[str]:
        """Return the parties that have no say in the next text, for the next event.

        See :meth:`without_say_at`.
        """
        return self.without_say_at(self.last_position + 1, recorded_at)

    def joined_again_at(self, parties: Collection[str], recorded_at: datetime) -> int:
        """Return the position of the last adoption by which one of the parties joined again.

        Only a version in force for the next event counts, if recorded at this time. The result is 0
        if none of the parties had left and joined again.
        """
        position = self.last_position + 1
        return max(
            (
                version.adopted_at
                for one in self.withdrawals
                if one.party in parties and one.is_in_effect(position, recorded_at)
                for version in self.versions
                if one.party in version.admitted
                and version.adopted_at > one.position
                and version.is_in_force(position, recorded_at)
            ),
            default=0,
        )

    def _is_readmitted(self, one: Withdrawal, position: int, recorded_at: datetime) -> bool:
        return any(
            one.party in version.admitted
            and version.adopted_at > one.position
            and version.is_in_force(position, recorded_at)
            for version in self.versions
        )

    @property
    def _is_plain(self) -> bool:
        """Return whether each version's text alone says who the agencies and parties are."""
        return not self.changes and not self.withdrawals

    def of_act(self, act: Act) -> Protocol:
        """Return the protocol that judges a recorded act."""
        if len(self.versions) == 1 and self._is_plain:
            return self.versions[0].protocol
        return self.at(act.position, act.recorded_at)

    def of_action(self, action: UUID, acts: Mapping[UUID, Act]) -> Protocol:
        """Return the protocol that judged the action of this id. ``acts`` are its case's."""
        if len(self.versions) == 1 and self._is_plain:
            return self.versions[0].protocol
        return self.of_act(acts[action])

    def of_event(self, event: ActionRecorded) -> Protocol:
        """Return the protocol that judges a recorded event. Raises ``ValueError`` before that."""
        if event.position is None or event.recorded_at is None:
            raise ValueError("the event is not recorded yet")
        return self.at(event.position, event.recorded_at)

    def next_at(self, recorded_at: datetime) -> Protocol:
        """Return the protocol that judges the next event, if it is recorded at this time."""
        left = self.left_next(recorded_at)
        return self._with_agencies(self.next_version_at(recorded_at), len(self.changes), left)

    def next_version_at(self, recorded_at: datetime) -> ProtocolVersion:
        """Return the version that judges the next event, if it is recorded at this time."""
        return self.version_at(self.latest.adopted_at + 1, recorded_at)

    def followed_by(self, version: ProtocolVersion) -> "Agreement":
        """Return the agreement with one more version."""
        return replace(self, versions=(*self.versions, version))

    def with_change(self, change: AgencyChange) -> "Agreement":
        """Return the agreement with one more change of an agency."""
        return replace(self, changes=(*self.changes, change))

    def with_withdrawals(self, withdrawals: tuple[Withdrawal, ...]) -> "Agreement":
        """Return the agreement with these declarations in place of its own."""
        return replace(self, withdrawals=withdrawals)

    @property
    def last_position(self) -> int:
        """Return the last position at which the agreement changed."""
        changed = self.changes[-1].position if self.changes else 0
        return max(self.latest.adopted_at, changed, *(w.last_position for w in self.withdrawals))

    @property
    def latest(self) -> ProtocolVersion:
        """Return the version adopted last, which may not be in force yet."""
        return self.versions[-1]

    @property
    def protocol_id(self) -> str:
        """Return the protocol's id, which no version changes."""
        return self.versions[0].protocol.id

    @property
    def ledger_id(self) -> UUID:
        """Return the id under which the acts on the protocol are recorded.

        No version changes this id.
        """
        return self.versions[0].protocol.ledger_id

    @property
    def directory(self) -> Protocol:
        """Return the newest text, which has the party of every agency that any version named.

        No version removes an agency or a party, and no party is marked as one that left. For
        parties, roles, rules and access, use the version in force.
        """
        return self._with_agencies(self.latest, len(self.changes))

    def protocols(self) -> Iterator[Protocol]:
        """Yield every version, the first one first, each with every agency that there ever was."""
        for version in self.versions:
            yield self._with_agencies(version, len(self.changes))

    def _with_agencies(
        self, version: ProtocolVersion, changes: int, left: Mapping[str, date] = NOBODY
    ) -> Protocol:
        """Return the text of a version with the agencies after so many changes.

        The parties in ``left`` are marked as having left.
        """
        if changes == 0 and not left:
            return version.protocol
        key = (version.adopted_at, changes, tuple(sorted(left.items())))
        known = self._listed.get(key)
        if known is None:
            known = listed(version.protocol, self.changes[:changes])
            if left:
                known = with_left_parties(known, left)
            self._listed[key] = known
        return known


def _position(change: AgencyChange) -> int:
    return change.position
