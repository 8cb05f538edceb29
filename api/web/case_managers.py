"""The persons who manage a case for its countries, as the case's page shows them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from api.web.case_text import case_values
from ledger.procedure.case_fold import annulled_ids
from ledger.vault.held_fields import Held
from ledger.vocabulary.coordination import CaseManagerNamed
from projections.folds.audit_trail import TrailEntry


@dataclass(frozen=True, slots=True)
class CaseManager:
    """A country's case manager. ``named`` is ``None`` where the country named nobody."""

    party: str
    named: TrailEntry | None
    fields: Mapping[str, JsonValue]
    """The fields that the reader's country holds. They are empty until they have arrived."""


def case_managers(
    trail: Sequence[TrailEntry], held: Iterable[Held], parties: Iterable[str]
) -> tuple[CaseManager, ...]:
    """Return the case manager of each party, in the order of ``parties``.

    A country's newest naming counts. If it is annulled, the country has no manager: what was held
    on the one before is destroyed.
    """
    annulled = annulled_ids(trail)
    last = {
        entry.party: entry
        for entry in sorted(trail, key=lambda entry: entry.position)
        if entry.kind == CaseManagerNamed.kind
    }
    newest = {party: one for party, one in last.items() if one.action_id not in annulled}
    values = case_values(newest.values(), held)
    return tuple(
        CaseManager(
            party, found := newest.get(party), values[found.action_id] if found is not None else {}
        )
        for party in parties
    )
