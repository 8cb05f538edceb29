"""The contents of a case's documents between countries, as the API tells them."""

from datetime import timedelta
from uuid import UUID

from api.client.schemas.case_documents import AwaitedDocument, DocumentInventory, GivenDocument
from ledger.vault.documents.content_standings import ContentStanding
from ledger.vault.documents.given_contents import GivenContent
from ledger.vault.vault import Vault


def inventory_of(vault: Vault, case_id: UUID, patience_seconds: float) -> DocumentInventory:
    """Return which contents other countries give of a case, and which this country gave.

    The name of a field tells the group of a document, so it is left out. ``patience_seconds``: how
    long what another country sends may take.
    """
    patience = timedelta(seconds=patience_seconds)
    return DocumentInventory(
        awaited=tuple(map(_awaited, vault.contents.of_case(case_id, patience=patience))),
        given=tuple(map(_given, vault.given.of_case(case_id))),
    )


def _awaited(one: ContentStanding) -> AwaitedDocument:
    told = one.model_dump(exclude={"case_id", "action", "field"})
    return AwaitedDocument(id=one.action, **told)


def _given(one: GivenContent) -> GivenDocument:
    return GivenDocument(id=one.action, **one.model_dump(exclude={"action", "digest"}))
