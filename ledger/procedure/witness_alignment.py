"""The log's policy as it follows from the parties: witnesses of parties that joined and left.

A policy is decided by votes of the parties. Who the parties are is decided by amendments and
withdrawals. This policy follows from both, so nobody votes on it: an act says from which position
it holds, since a checkpoint has a size and no time.
"""

from ledger.log.note import VerifierKey
from ledger.log.policy import Group, Policy, PolicyError, TrustedWitness
from ledger.procedure.protocol import Protocol

GROUP = "parties"


def aligned_policy(policy: Policy, protocol: Protocol) -> Policy | None:
    """Return ``policy`` with the witnesses of the parties in force.

    - The witnesses of parties that left are taken out.
    - A party that joined and has no witness in it gets the witness that the text names.
    - The quorum is the number of the parties' witnesses that the protocol names. It is no smaller
      than in ``policy``, as far as there are so many.

    Returns ``None`` if no witness is left, or if the result is no policy: two witnesses of an
    earlier text may have one key.
    """
    kept = {n: one for n, one in policy.witnesses.items() if n not in protocol.left_parties}
    joined = {
        code: TrustedWitness(VerifierKey.parse(accession.witness), accession.witness_url(code))
        for code in sorted(protocol.party_codes - kept.keys())
        if (accession := protocol.parties_by_code[code].accession) is not None
    }
    if len(kept) == len(policy.witnesses) and not joined:
        return policy
    before = policy.groups.get(policy.quorum, Group(0, tuple(policy.witnesses)))
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
