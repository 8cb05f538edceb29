"""The contents of a case's documents between countries, as the API tells them."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from api.client.schemas.case_documents import AwaitedDocument, DocumentInventory, GivenDocument
from ledger.procedure.protocol import Operation, Protocol
from ledger.vault.documents.content_standings import ContentStanding
from ledger.vault.documents.given_contents import GivenContent
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup

_CONCERNED = (Operation.READ, Operation.BREAK_GLASS, Operation.RELEASE, Operation.SUBJECT_ACCESS)


def has_to_do_with(protocol: Protocol, role: str, group: FieldGroup) -> bool:
    """Return whether the access matrix gives a role anything to do with documents of a group."""
    return any(protocol.allows(role, operation, group) for operation in _CONCERNED)


def inventory_of(
    vault: Vault,
    case_id: UUID,
    patience_seconds: float,
    concerns: Callable[[FieldGroup], bool] = lambda _: True,
) -> DocumentInventory:
    """Return which contents other countries give of a case, and which this country gave.

    Documents of a group that ``concerns`` the reader in nothing are left out: the ledger does not
    tell whether an action has paper. The name of a field tells the group of a document, so it is
    left out too. ``patience_seconds``: how long what another country sends may take.
    """
    patience = timedelta(seconds=patience_seconds)
    levels = vault.documents.levels_of_case(case_id)

    def is_told(action: UUID) -> bool:
        found = levels.get(action)
        if found is None:  # the content was lost here, and with it the group
            return all(map(concerns, FieldGroup))
        return all(level.group is None or concerns(level.group) for level in found)

    awaited = vault.contents.of_case(case_id, patience=patience)
    given = vault.given.of_case(case_id)
    return DocumentInventory(
        awaited=tuple(_awaited(one) for one in awaited if is_told(one.action)),
        given=tuple(_given(one) for one in given if is_told(one.action)),
    )


def _awaited(one: ContentStanding) -> AwaitedDocument:
    told = one.model_dump(exclude={"case_id", "action", "field"})
    return AwaitedDocument(id=one.action, **told)


def _given(one: GivenContent) -> GivenDocument:
    return GivenDocument(id=one.action, **one.model_dump(exclude={"action", "digest"}))
