"""The log's policy as it follows from the parties: witnesses of parties that joined and left.

A policy is decided by votes of the parties. Who the parties are is decided by amendments and
withdrawals. This policy follows from both, so nobody votes on it: an act says from which position
it holds, since a checkpoint has a size and no time.

A later vote counts for more than an earlier accession: the parties may leave out the witness of a
party that joined, or name another key for it.
"""

from collections.abc import Collection

from ledger.log.note import VerifierKey
from ledger.log.policy import Group, Policy, PolicyError, TrustedWitness
from ledger.procedure.protocol import Protocol
from ledger.refusals import Ground, Refusal

GROUP = "parties"


def aligned_policy(policy: Policy, protocol: Protocol, admitted: Collection[str]) -> Policy | None:
    """Return ``policy`` with the witnesses of the parties in force.

    ``admitted`` are the parties that the last vote on a policy could not take into account: each
    joined, or joined again, by a text that came into force after that vote.

    - The witnesses of parties that left are taken out.
    - An admitted party gets the witness that the text names, in place of an earlier one.
    - The quorum is the number of the parties' witnesses that the protocol names. It is no smaller
      than in ``policy``, as far as there are so many.

    Returns ``None`` if no witness is left, or if the result is no policy: two witnesses of an
    earlier text may have one key. Raises ``Refusal`` (``nested-groups``) if the witnesses of
    ``policy`` are in groups within groups.
    """
    named = {
        code: TrustedWitness(VerifierKey.parse(accession.witness), accession.witness_url(code))
        for code in sorted(protocol.party_codes & set(admitted))
        if (accession := protocol.parties_by_code[code].accession) is not None
    }
    joined = {
        code: witness
        for code, witness in named.items()
        if code not in policy.witnesses or policy.witnesses[code].key != witness.key
    }
    gone = policy.witnesses.keys() & (protocol.left_parties.keys() | joined.keys())
    if not gone and not joined:
        return policy
    kept = {name: one for name, one in policy.witnesses.items() if name not in gone}
    before = policy.groups.get(policy.quorum, Group(0, tuple(policy.witnesses)))
    if any(member in policy.groups for member in before.members):
        raise nested_groups({*gone, *joined})
    members = tuple(sorted({*joined, *(name for name in before.members if name in kept)}))
    if not members:
        return None
    threshold = min(max(protocol.publishing_parties, before.threshold), len(members))
    groups = {GROUP: Group(threshold, members)}
    aligned = Policy(policy.logs, {**kept, **joined}, groups, GROUP)
    try:
        Policy.parse(str(aligned))
    except PolicyError:
        return None
    return aligned


def nested_groups(parties: Collection[str]) -> Refusal:
    """Make the refusal to align a policy with groups within groups."""
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "nested-groups",
        "The log's policy has groups within groups, and only the parties can say into which group"
        f" a witness belongs. Let every party's coordinator vote for a policy that has the present"
        f" witnesses of {', '.join(sorted(parties))}, or none of a party that left:"
        " `case-ledger log adopt-policy`.",
        "kind",
    )
