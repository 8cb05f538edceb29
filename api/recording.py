"""Takes in an action: its disclosures go to the country's vault, the rest to the ledger."""

from uuid import UUID

from ledger import signing
from ledger.application import Ledger, Receipt, check_case
from ledger.protocol import Agency
from ledger.refusals import Ground, Refusal
from ledger.sd_jwt import SdJwt
from ledger.vault import Vaults


def record(
    ledger: Ledger, vaults: Vaults, sender: Agency, sent: str, case_id: UUID, case_version: int
) -> Receipt:
    """Record what ``sender`` sent, with its disclosures, on ``case_version``.

    Raises ``Refusal``, and then neither the ledger nor the vault keeps anything of it.
    Any other error leaves the outcome open: the disclosures stay until it is known.
    """
    parsed = signing.parse(sent)
    action = _own_action(parsed, sender)
    signing.check_disclosures(action, parsed.disclosures)
    vault = vaults.of(sender.party)
    check_case(action, case_id)
    if (receipt := ledger.receipt_of(action)) is not None:
        return receipt  # what it disclosed is in the vault since then
    deposit = vault.deposit(action, case_id, parsed.disclosures)
    try:
        return ledger.append(action, case_id, case_version)
    except Refusal:
        vault.withdraw(action.id, deposit)
        raise


def record_in_registry(ledger: Ledger, sender: Agency, sent: str) -> Receipt:
    """Record an act on the protocol itself. Raises ``Refusal``."""
    parsed = signing.parse(sent)
    action = _own_action(parsed, sender)
    signing.check_disclosures(action, parsed.disclosures)
    return ledger.append_to_registry(action)


def _own_action(parsed: SdJwt, sender: Agency) -> signing.SignedAction:
    action = signing.read(parsed)
    if action.agency != sender.id:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "own-action-only",
            f"{sender.id} cannot send what {action.agency} signed; each agency sends its own.",
            "iss",
        )
    return action
