"""The statements on a person that a vault holds, and those of them that count."""

from collections.abc import Iterable, Mapping
from uuid import UUID

from ledger.procedure.case import Case
from ledger.procedure.statements import Statement, superseded
from ledger.vault.vault import Vault
from ledger.vocabulary.person import IdentityRecorded

_RETRACTED = "retracted"


def ended_statements(
    vault: Vault, case: Case, held: Iterable[tuple[UUID, str]]
) -> Mapping[tuple[UUID, str], UUID]:
    """Return the statements among ``held`` that do not count, by action and field.

    ``held`` has the action and the field of each. The result has the action by which each counts no
    more. What retracts fields is at ``case`` level, and is read from the vault.
    """
    named = [Statement(action, field) for action, field in held]
    states_anew = any(act.kind == IdentityRecorded.kind for act in case.history.values())
    if states_anew:
        retracting = (one for one in vault.case_fields(case.id) if one.field == _RETRACTED)
        named += [Statement(one.action_id, one.field, one.value) for one in retracting]
    return superseded(case.history, named)
