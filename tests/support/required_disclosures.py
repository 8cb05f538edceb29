"""The fields that vaults of some nodes must hold by the ledger, lack, and name as missing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from api.background_jobs.vault_checker import vault_check
from api.keys.country_keys import country_keys, person_keys
from api.keys.log_keys import own_parties
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.replication.outbox import Outbox
from ledger.store.database import Database
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_store import PostgresChunks
from ledger.vault.missing_disclosures import MissingPart, MissingParts
from ledger.vault.required_disclosures import FieldPart, Lack, RequiredPart, must_hold

Place = tuple[UUID, FieldPart]
"""A part of an action's fields."""


@dataclass(frozen=True)
class VaultStanding:
    """The state of one country's vault beside the ledger of its node."""

    party: str
    due: Mapping[Place, RequiredPart]
    """What the country must hold."""
    lacking: Mapping[Place, Lack]
    """What of it is not in the vault, as a comparison finds it now."""
    named: Mapping[Place, MissingPart]
    """What the node names as missing."""
    findings: tuple[str, ...]
    """What is in the vault and is not as it was deposited and signed."""

    def of_case(self, case_id: UUID) -> "VaultStanding":
        """The same of one case."""
        return VaultStanding(
            self.party,
            {place: one for place, one in self.due.items() if one.case_id == case_id},
            {place: one for place, one in self.lacking.items() if one.due.case_id == case_id},
            {place: one for place, one in self.named.items() if one.case_id == case_id},
            self.findings,
        )

    @property
    def unnamed(self) -> set[Place]:
        """Return the missing parts that the node does not name: none, after a while."""
        return {*self.lacking} - {*self.named}

    @property
    def lost(self) -> set[Place]:
        """Return the parts that the node reports as held by no country."""
        return {place for place, part in self.named.items() if part.lost_at is not None}


def vault_standings(nodes: Iterable[tuple[Settings, str]]) -> list[VaultStanding]:
    """Return the standing of every vault of some nodes, each with its settings and its database.

    A node may run or not. Nothing is changed.
    """
    return [standing for settings, conninfo in nodes for standing in _standings(settings, conninfo)]


def _standings(settings: Settings, conninfo: str) -> Iterator[VaultStanding]:
    keys = person_keys(settings, country_keys(settings, own_parties(settings)))
    with Ledger(environment(conninfo)) as ledger, Database(conninfo) as database:
        for party, own in keys.items():
            yield vault_standing(ledger, database, party, own)


def vault_standing(ledger: Ledger, database: Database, party: str, keys: DataKeys) -> VaultStanding:
    """Return the standing of one vault."""
    protocol = ledger.adopted().directory
    check = vault_check(ledger, database, Outbox(database), party, keys, PostgresChunks(party))
    findings = tuple(map(str, check.findings(protocol, protocol)))
    due: dict[Place, RequiredPart] = {}
    after = UUID(int=0)
    while case_ids := ledger.rows.select_case_ids(after, 500):
        for case in ledger.cases(case_ids, keep=False).values():
            due |= {
                (one.action, one.part): one
                for one in must_hold(case, party, protocol)
                if one.part is FieldPart.OWN or party in ledger.adopted().country_keys
            }
        after = case_ids[-1]
    lacking = {(one.due.action, one.due.part): one for one in check.lacks}
    named = {(one.action, one.part): one for one in MissingParts(database, party).page(100_000)}
    return VaultStanding(party, due, lacking, named, findings)
