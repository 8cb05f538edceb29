"""Destroys what the vaults hold on case managers that were replaced.

The digests and the trail stay. While a legal hold is in force in the case, or in a case that was
merged with it, nothing is destroyed; the data is read by nobody meanwhile.
"""

from collections.abc import Iterator

import structlog

from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.merged_cases import held_elsewhere, joined_cases, with_taken_in
from ledger.procedure.protocol import Protocol
from ledger.procedure.replaced_managers import replaced_managers
from ledger.vault.vault import Vault
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.erasure import LegalHoldLifted

TRIGGERS = (CaseManagerNamed.kind, LegalHoldLifted.kind)
"""The kinds of actions after which something may have to be destroyed."""
_log = structlog.get_logger(__name__)


def destroy_replaced(vault: Vault, ledger: Ledger, case: Case, directory: Protocol) -> int:
    """Destroy what the vault holds on replaced managers of a case. Return of how many namings.

    The cases that were merged with this one are looked at too: the hold that was lifted here may
    have held them. Repeating it is harmless.
    """
    return sum(_destroy(vault, one, directory) for one in _not_held(ledger, case))


def _not_held(ledger: Ledger, case: Case) -> Iterator[Case]:
    joined = with_taken_in([*joined_cases(case.state)], ledger.case)
    for one in {case.id: case, **joined}.values():
        others = with_taken_in([*joined_cases(one.state)], ledger.case)
        if not one.state.holds and not held_elsewhere(one.state, others):
            yield one


def _destroy(vault: Vault, case: Case, directory: Protocol) -> int:
    replaced = replaced_managers(case.history.values(), directory)
    ids = [action for action in replaced if not vault.keys.is_destroyed(action)]
    here = set(ids) if vault.party in case.state.parties else vault.held_digests(ids).keys()
    for action in here:
        # No country owes a statement on it.
        vault.destroyed.destroy(case.id, action, replaced[action], is_confirmed=True)
    if here:
        _log.info("replaced case managers are destroyed", party=vault.party, managers=len(here))
    return len(here)
