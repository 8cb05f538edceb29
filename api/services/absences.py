"""The record of a party's absence, from a node's ledger and published checkpoints."""

from api.client.schemas import AbsenceReport, AnnouncedAbsence, DecisionWithout, MissedPublications
from ledger.procedure.registry import Registry
from ledger.publication.missed_cosignatures import missed_publications
from ledger.publication.publisher import PolicyAt, sizes
from ledger.store.database import Database
from ledger.system import clock


def absence_report(
    database: Database, policy_at: PolicyAt, registry: Registry, party: str
) -> AbsenceReport:
    """Return a party's announced absences, and the decisions and publications without it.

    Of a party that left, the publications are those without the witness that it had last.
    """
    quorum = registry.protocol_today(clock.now()).quorum_in_force
    _, size = sizes(database)
    policies = (policy_at(size), *(agreed.policy for agreed in reversed(registry.policies)))
    found = (policy.witnesses.get(party) for policy in policies)
    witness = next((one for one in found if one is not None), None)
    return AbsenceReport(
        party=party,
        announced=tuple(
            AnnouncedAbsence(
                id=one.action,
                subjects=tuple(sorted(one.subjects)),
                by=one.by,
                position=one.position,
                announced_at=one.recorded_at,
                counts_from=one.counts_from(quorum),
                ended_at=one.ended_at,
            )
            for one in registry.announced
            if one.party == party and quorum is not None
        ),
        decided=tuple(
            DecisionWithout(
                position=one.since,
                recorded_at=one.recorded_at,
                without=tuple(sorted(one.without)),
                policy=str(one.policy),
            )
            for one in registry.policies
            if party in one.without
        ),
        published=tuple(
            MissedPublications(
                first=one.first,
                last=one.last,
                count=one.count,
                began_at=one.began_at,
                ended_at=one.ended_at,
                covered_by=one.covered_by,
            )
            for one in (missed_publications(database, party, witness.key.name) if witness else ())
        ),
    )
