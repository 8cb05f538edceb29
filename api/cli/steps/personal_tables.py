"""Tables of a person's fields and readings, and the steps of a release and an erasure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

from rich import box
from rich.table import Table

from api.cli.steps.case_tables import why_erased
from api.cli.steps.table_words import words
from api.client import LedgerClient
from api.client.schemas import PersonalField, Receipt
from ledger.procedure.erasures import ErasedData
from ledger.procedure.readings import Reading
from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying
from ledger.vocabulary.erasure import ErasureApproved
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis
from projections.folds.case_view import CaseView, ConsentView, SharingView

_VIEW_SECONDS = 5.0


class NoProposalError(ValueError):
    """There is no erasure to approve."""


@retrying(NoProposalError, seconds=_VIEW_SECONDS, backoff=Backoff(0.2, 0.4)).wraps
def approve_erasure(client: LedgerClient, case_id: UUID) -> Receipt:
    """Approve the proposal of the case; its view may be a moment behind the ledger."""
    view = client.case(case_id).view
    if view.erasure is None or view.erasure.proposal is None:
        raise NoProposalError("no erasure is proposed in this case; propose it with a --ground")
    approved = ErasureApproved(acted_at=datetime.now(UTC), proposal=view.erasure.proposal)
    return client.append(approved, case_id, view.version)


def find_basis(view: CaseView, basis: LegalBasis, recipient: str, groups: list[FieldGroup]) -> UUID:
    """Return the one consent or decision of the case that names the groups and the recipient."""
    candidates: tuple[ConsentView | SharingView, ...] = ()
    if basis is LegalBasis.CONSENT:
        candidates = view.consents
    elif basis is LegalBasis.BEST_INTERESTS:
        candidates = view.sharing
    fitting = [
        one.action
        for one in candidates
        if recipient in one.recipients and set(groups) <= set(one.groups)
    ]
    if not fitting:
        raise ValueError(
            f"no {words(basis)} in this case names these groups and {recipient}; "
            "for a duty or danger to life give --basis-action"
        )
    return fitting[-1]


def erased_line(erased: ErasedData) -> str:
    """Say in one line when and why the data held on a person was erased."""
    return (
        f"What this country held on the person was erased on"
        f" {erased.erased_at:%d %b %Y %H:%M} UTC: {why_erased(erased)}."
    )


def fields_table(fields: Iterable[PersonalField]) -> Table:
    """Personal fields, by group."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("Group", "Field", "Value", "Recorded by", "From"):
        table.add_column(column, overflow="fold")
    for one in fields:
        table.add_row(
            one.group, words(one.field), str(one.value), one.agency, one.received_from or ""
        )
    return table


def readings_table(entries: Iterable[Reading]) -> Table:
    """Return a table of entries of an access log."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("#", "When", "Who", "Asked for", "What for", "Answer"):
        table.add_column(column, overflow="fold")
    for entry in entries:
        asked = entry.asked
        bases = ", ".join(dict.fromkeys(words(b.kind) for b in entry.bases.values()))
        table.add_row(
            str(entry.seq),
            f"{entry.at:%d %b %Y %H:%M}",
            asked.agency,
            ", ".join(asked.groups) if len(asked.groups) < len(FieldGroup) else "everything",
            words(asked.purpose),
            f"[green]granted[/] {bases or words(asked.operation)}"
            if entry.granted
            else f"[red]{entry.refused_by}[/]",
        )
    return table
