"""Commands on personal data: reading it for a purpose, releasing it, and erasing it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from rich import box
from rich.table import Table

from api.cli.access_matrix import access_page
from api.cli.case_tables import why_erased, words
from api.cli.connection import AsAgency, AsAgencyOrJson, asks
from api.cli.output import fail, failures, out, print_json
from api.client import LedgerClient
from api.client.schemas import PersonalField, Receipt
from api.client.schemas.personal import Language
from api.runtime.settings import Settings
from ledger.procedure.erasures import ErasedData
from ledger.procedure.readings import Reading
from ledger.signing.keys import write_private
from ledger.system.backoff import Backoff
from ledger.system.retrying import retrying
from ledger.vocabulary.erasure import ErasureApproved, ErasureProposed
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ErasureGround, LegalBasis, Purpose
from projections.folds.case_view import CaseView, ConsentView, SharingView

app = typer.Typer()

CaseArgument = Annotated[UUID, typer.Argument(help="The case.")]
Groups = Annotated[list[FieldGroup], typer.Option("--group", "-g", help="A field group; repeat.")]
ForPurpose = Annotated[Purpose, typer.Option(help="What it is read for.")]


_VIEW_SECONDS = 5.0


class NoProposalError(ValueError):
    """There is no erasure to approve."""


@app.command()
@asks
def read(
    asked: AsAgencyOrJson,
    case_id: CaseArgument,
    group: Groups,
    purpose: ForPurpose,
    basis: Annotated[
        LegalBasis | None, typer.Option(help="A certain legal basis. [default: any but danger]")
    ] = None,
) -> None:
    """Open personal fields that the agency's country holds; it is written down who did."""
    with asked.client() as client:
        opened = client.read(case_id, group, purpose, basis)
        if asked.as_json:
            print_json(opened)
        else:
            if opened.erased is not None:
                out.print(erased_line(opened.erased), style="yellow", soft_wrap=True)
            else:
                out.print(fields_table(opened.fields))
            for of_group, on in opened.reading.bases.items():
                out.print(f"{of_group}: on {words(on.kind)}, action {on.action}", soft_wrap=True)
            out.print(f"Written down as reading {opened.reading.seq}.")


@app.command()
@asks
def readings(
    asked: AsAgencyOrJson,
    case_id: CaseArgument,
) -> None:
    """List who asked for a person's fields in this country, what for, and what they got."""
    with asked.client() as client:
        listed = client.readings(case_id)
        if asked.as_json:
            print_json(listed)
        else:
            out.print(readings_table(listed.readings))


@app.command("subject-access")
@asks
def subject_access(
    asked: AsAgency,
    case_id: CaseArgument,
    file: Annotated[Path, typer.Argument(help="Where to write it: a .pdf, or a .json file.")],
    language: Annotated[Language, typer.Option(help="sq, cnr or en.")] = "en",
) -> None:
    """Write all that this country holds on a person into a file for that person."""
    with asked.client() as client:
        content = client.subject_access(case_id, language, pdf=file.suffix == ".pdf")
        write_private(file, content)
        out.print(f"[green]Written[/] to {file}. It holds all that is known of the person.")


@app.command()
@asks
def release(
    asked: AsAgencyOrJson,
    case_id: CaseArgument,
    to: Annotated[str, typer.Option(help="The country that is to have them.")],
    group: Groups,
    purpose: ForPurpose,
    basis: Annotated[LegalBasis, typer.Option(help="On what legal basis.")],
    basis_action: Annotated[
        UUID | None, typer.Option(help="The action it stands on. [default: found in the case]")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A field; repeat. [default: all of the groups]")
    ] = None,
    request: Annotated[UUID | None, typer.Option(help="The request that this answers.")] = None,
) -> None:
    """Release personal fields to another country, field by field."""
    with asked.client() as client:
        view = client.case(case_id).view
        stands_on = basis_action or _find_basis(view, basis, to, group)
        held = client.read(case_id, group, purpose).fields
        chosen = [f for f in held if f.received_from is None and (not field or f.field in field)]
        if not chosen:
            fail("this country's own agencies recorded no such field")
        receipt = client.release(
            case_id,
            view.version,
            chosen,
            recipient=to,
            purpose=purpose,
            basis=basis,
            basis_action=stands_on,
            request=request,
        )
        if asked.as_json:
            print_json(receipt)
        else:
            names = ", ".join(sorted({f.field for f in chosen}))
            out.print(f"[green]Released[/] to {to} at position {receipt.position}: {names}")


@app.command()
@asks
def erase(
    asked: AsAgencyOrJson,
    case_id: CaseArgument,
    ground: Annotated[ErasureGround | None, typer.Option(help="Why; proposes the erasure.")] = None,
    approve: Annotated[bool, typer.Option("--approve", help="As the second party.")] = False,
) -> None:
    """Erase all that is held on a person, in every country: one party proposes, one approves."""
    with asked.client() as client:
        if approve:
            receipt = _approve(client, case_id)
        elif ground is not None:
            proposed = ErasureProposed(acted_at=datetime.now(UTC), ground=ground)
            receipt = client.append(proposed, case_id, client.case(case_id).view.version)
        else:
            fail("give a --ground to propose, or --approve as the second party")
        if asked.as_json:
            print_json(receipt)
        elif approve:
            out.print(
                f"[green]Ordered[/] at position {receipt.position}; every country owes it now."
            )
        else:
            out.print(
                f"[yellow]Proposed[/] at position {receipt.position}. The coordinator of another "
                "country of the case approves it, or an oversight body of a country of the case: "
                f"case-ledger erase -a AGENCY {case_id} --approve",
                soft_wrap=True,
            )


@app.command()
def access() -> None:
    """Print who may do what with personal data by the protocol, in Markdown."""
    with failures():
        typer.echo(access_page(Settings().load_protocol()), nl=False)


@retrying(NoProposalError, seconds=_VIEW_SECONDS, backoff=Backoff(0.2, 0.4)).wraps
def _approve(client: LedgerClient, case_id: UUID) -> Receipt:
    """Approve the proposal of the case; its view may be a moment behind the ledger."""
    view = client.case(case_id).view
    if view.erasure is None or view.erasure.proposal is None:
        raise NoProposalError("no erasure is proposed in this case; propose it with a --ground")
    approved = ErasureApproved(acted_at=datetime.now(UTC), proposal=view.erasure.proposal)
    return client.append(approved, case_id, view.version)


def _find_basis(
    view: CaseView, basis: LegalBasis, recipient: str, groups: list[FieldGroup]
) -> UUID:
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
