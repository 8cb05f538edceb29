"""Count a party as absent, and decide without it.

A party that is away must not stop the others for ever, and must not lose anything by being away.

- The coordinator of another party *announces* the absence on the ledger, with the subjects of the
  votes to come. The announcement has no effect by itself.
- The party *counts as absent* once the protocol's days of notice are over, by the times that are
  stored with the events.
- Any act on the protocol that the party's coordinator or node signs *ends* the announcement, before
  and after that. Votes that named the party as absent, and decided nothing yet, end with it.
- A vote without a party leaves that party's witness in the policy as it was, and keeps the
  protocol's quorum of witnesses. So the party cosigns again as soon as it is back.

This is a reading of the procedure, not an official text. The numbers are data of the protocol.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from ledger.log.policy import Policy
from ledger.procedure.protocol import COORDINATOR, NODE, Agency, Protocol, Quorum
from ledger.refusals import Ground, Refusal
from ledger.vocabulary.picklists import VoteSubject

RULE = "not-absent"


@dataclass(frozen=True, slots=True)
class Announcement:
    """The announced absence of a party."""

    action: UUID
    party: str
    subjects: frozenset[VoteSubject]
    by: str
    """The agency that announced it."""
    position: int
    recorded_at: datetime
    ended_at: int | None = None
    """The position of the act by which the party ended it."""

    def counts_from(self, quorum: Quorum) -> datetime:
        """Return since when the party counts as absent, by recorded times."""
        return self.recorded_at + timedelta(days=quorum.notice_days)


@dataclass(frozen=True, slots=True)
class Vote:
    """The policy that a party adopted last, and the parties that it names as absent."""

    policy: str
    without: frozenset[str] = frozenset()


def ends_absence(agency: Agency) -> bool:
    """Return whether an act on the protocol by this agency shows that its party is there."""
    return agency.role in (COORDINATOR, NODE)


def returned(
    announced: Sequence[Announcement], party: str, position: int
) -> tuple[Announcement, ...]:
    """End the announcements of a party that acted at ``position``."""
    return tuple(
        replace(one, ended_at=position) if one.party == party and one.ended_at is None else one
        for one in announced
    )


def is_announced(announced: Iterable[Announcement], party: str) -> bool:
    """Return whether an announcement of this party's absence is open."""
    return any(one.party == party and one.ended_at is None for one in announced)


def absent_for(
    announced: Iterable[Announcement], party: str, quorum: Quorum, at: datetime
) -> frozenset[VoteSubject]:
    """Return the subjects on which the others may vote without ``party`` at a recorded time."""
    return frozenset(
        subject
        for one in announced
        if one.party == party and one.ended_at is None and at >= one.counts_from(quorum)
        for subject in one.subjects
    )


def required_quorum(protocol: Protocol, field: str) -> Quorum:
    """Return the protocol's quorum.

    Raises ``Refusal`` if the protocol has none.
    """
    quorum = protocol.quorum_in_force
    if quorum is None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "every-party-decides",
            "This protocol names no quorum: every party's coordinator decides.",
            field,
        )
    return quorum


def check_announcement(
    protocol: Protocol,
    announced: Iterable[Announcement],
    actor: Agency,
    party: str,
    subjects: Iterable[VoteSubject],
) -> None:
    """Check that ``actor`` may announce this absence.

    Raises ``Refusal`` if it may not.
    """
    required_quorum(protocol, "kind")
    if actor.role != COORDINATOR or actor.party == party:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "other-parties-coordinators",
            "An absence is announced by the coordinator of another party.",
            "iss",
        )
    if party not in protocol.party_codes:
        raise Refusal(
            Ground.UNKNOWN, "unknown-party", f"{party} is no party of the protocol.", "act.party"
        )
    known = {
        s for one in announced if one.party == party and not one.ended_at for s in one.subjects
    }
    if known.issuperset(subjects):
        raise Refusal(
            Ground.CONFLICT,
            "absence-announced",
            f"The absence of {party} is announced for these votes already.",
            "act.party",
        )


def check_presence(announced: Iterable[Announcement], actor: Agency) -> None:
    """Check that ``actor`` has an announcement to end.

    Raises ``Refusal`` if it has none, or may not end one.
    """
    if not ends_absence(actor):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-and-nodes",
            "A party's coordinator or node declares that the party is present.",
            "iss",
        )
    if not is_announced(announced, actor.party):
        raise Refusal(
            Ground.CONFLICT,
            "not-announced",
            f"No absence of {actor.party} is announced.",
            "iss",
        )


def check_vote_without(
    protocol: Protocol,
    announced: Sequence[Announcement],
    actor: Agency,
    absent: Sequence[str],
    policy: Policy,
    in_force: Policy | None,
    at: datetime,
) -> None:
    """Check that a vote may be taken without these parties at a recorded time.

    Raises ``Refusal`` if it may not.
    """
    quorum = required_quorum(protocol, "act.without")
    named = frozenset(absent)
    if len(named) != len(absent) or not named <= protocol.party_codes or actor.party in named:
        raise Refusal(
            Ground.INVALID,
            "absent-parties",
            "The absent parties are other parties of the protocol, each named once.",
            "act.without",
        )
    if len(protocol.party_codes - named) < protocol.deciding_parties:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "too-few-parties",
            f"The coordinators of {protocol.deciding_parties} parties decide at least.",
            "act.without",
        )
    if in_force is None:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "no-recorded-policy",
            "The first log policy is adopted by every party: without one, the ledger does not"
            " know the witness of the party that is away.",
            "act.without",
        )
    subjects = _changed(policy, in_force)
    for party in sorted(named):
        if missing := subjects - absent_for(announced, party, quorum, at):
            raise _not_absent(announced, party, quorum, missing)
        if policy.witnesses.get(party) != in_force.witnesses.get(party) or (
            party not in policy.witnesses
        ):
            raise Refusal(
                Ground.NOT_ALLOWED,
                "absent-witness-stays",
                f"{party} is away: the policy must name the witness {party} with the same key and"
                " address as the policy in force.",
                "act.policy",
            )
    _check_quorum_of(policy, protocol)


def _changed(policy: Policy, in_force: Policy) -> frozenset[VoteSubject]:
    """Return the parts in which two policies differ."""
    found = set()
    if set(policy.logs) != set(in_force.logs):
        found.add(VoteSubject.LOG_KEY)
    of_witnesses = (dict(policy.witnesses), dict(policy.groups), policy.quorum)
    if of_witnesses != (dict(in_force.witnesses), dict(in_force.groups), in_force.quorum):
        found.add(VoteSubject.WITNESSES)
    return frozenset(found)


def _check_quorum_of(policy: Policy, protocol: Protocol) -> None:
    """Check that the policy's quorum is the protocol's number of the parties' witnesses.

    Raises ``Refusal`` if it is not.
    """
    group = policy.groups.get(policy.quorum)
    if (
        group is None
        or set(group.members) != protocol.party_codes
        or len(group.members) != len(protocol.party_codes)
        or not protocol.party_codes <= policy.witnesses.keys()
        or group.threshold < protocol.publishing_parties
    ):
        codes = " ".join(sorted(protocol.party_codes))
        raise Refusal(
            Ground.NOT_ALLOWED,
            "quorum-stays",
            "A policy that is adopted without a party keeps the protocol's quorum:"
            f" `group parties {protocol.publishing_parties} {codes}`, or a larger number.",
            "act.policy",
        )


def _not_absent(
    announced: Iterable[Announcement],
    party: str,
    quorum: Quorum,
    missing: Iterable[VoteSubject],
) -> Refusal:
    wanted = frozenset(missing)
    begun = [
        one.counts_from(quorum)
        for one in announced
        if one.party == party and one.ended_at is None and one.subjects & wanted
    ]
    if begun:
        why = f"its absence counts from {max(begun):%d %b %Y %H:%M} UTC on"
    else:
        subjects = ", ".join(sorted(wanted))
        why = f"no absence for votes on {subjects} is announced, or {party} acted since then"
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        RULE,
        f"{party} does not count as absent for this vote: {why}.",
        "act.without",
    )
