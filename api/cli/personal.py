"""Commands on personal data: reading it for a purpose, releasing it, and erasing it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgency, AsAgencyOrJson, CaseName, asks
from api.cli.output import fail, failures, out, print_json
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ErasureGround, LegalBasis, Purpose

app = typer.Typer()

Groups = Annotated[
    list[FieldGroup], typer.Option("--group", "-g", help="A field group. May be repeated.")
]
ForPurpose = Annotated[Purpose, typer.Option(help="The purpose of the reading.")]


@app.command()
@asks
def read(
    asked: AsAgencyOrJson,
    case: CaseName,
    group: Groups,
    purpose: ForPurpose,
    basis: Annotated[
        LegalBasis | None, typer.Option(help="The legal basis.", show_default="any but danger")
    ] = None,
) -> None:
    """Open personal fields that the agency's country holds. The access log records the reading."""

    from api.cli.steps.personal_tables import erased_line, fields_table
    from api.cli.steps.table_words import words

    with asked.client() as client:
        case_id = client.case_named(case)
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
    case: CaseName,
) -> None:
    """List the readings of a person's fields in this country, with their purposes and results."""

    from api.cli.steps.personal_tables import readings_table

    with asked.client() as client:
        case_id = client.case_named(case)
        listed = client.readings(case_id)
        if asked.as_json:
            print_json(listed)
        else:
            out.print(readings_table(listed.readings))


@app.command("review-destruction")
@asks
def review_destruction(
    asked: AsAgencyOrJson,
    case: CaseName,
    proposal: Annotated[UUID, typer.Argument(help="The action that proposed the destruction.")],
) -> None:
    """Open what a proposed destruction would remove, to decide on it.

    For courts, oversight bodies and coordinators. The access log records the reading.
    """
    with asked.client() as client:
        case_id = client.case_named(case)
        opened = client.review_destruction(case_id, proposal)
        if asked.as_json:
            print_json(opened)
        else:
            for field, value in opened.disclosed.fields.items():
                out.print(f"{field}: {value}", soft_wrap=True, markup=False)
            out.print(f"Written down as reading {opened.reading.seq}.")


@app.command("subject-access")
@asks
def subject_access(
    asked: AsAgency,
    case: CaseName,
    file: Annotated[
        Path,
        typer.Argument(help="Where to write it: a .pdf or .json file, or a .zip of the documents."),
    ],
    language: Annotated[str, typer.Option(help="One that the protocol names, by its code.")] = "en",
    hold_back: Annotated[
        list[str] | None,
        typer.Option(
            help="DOCUMENT=GROUND: a document that the archive lists and does not have; the ground"
            " is another_person, danger or proceedings. May be repeated."
        ),
    ] = None,
) -> None:
    """Write all that this country holds on a person into a file for that person."""

    from api.cli.steps.transfers import transfer_bar
    from api.client.schemas.personal import HeldBackGround
    from ledger.signing.keys import write_private

    with failures(), asked.client() as client:
        case_id = client.case_named(case)
        if file.suffix == ".zip":
            held_back = {
                UUID(document): HeldBackGround(ground)
                for document, _, ground in (one.partition("=") for one in hold_back or ())
            }
            with transfer_bar("Downloading", False) as progress:
                client.subject_documents(
                    case_id, file, language, held_back, lambda done: progress(done, 0)
                )
            out.print(f"[green]Written[/] to {file}: the person's documents, with an index.")
            return
        if hold_back:
            fail("only documents are held back: name a .zip file")
        content = client.subject_access(case_id, language, pdf=file.suffix == ".pdf")
        write_private(file, content)
        out.print(f"[green]Written[/] to {file}. It holds all that is known of the person.")


@app.command()
@asks
def release(
    asked: AsAgencyOrJson,
    case: CaseName,
    to: Annotated[str, typer.Option(help="The receiving country.")],
    group: Groups,
    purpose: ForPurpose,
    basis: Annotated[LegalBasis, typer.Option(help="The legal basis of the release.")],
    basis_action: Annotated[
        UUID | None,
        typer.Option(
            help="The action that establishes the legal basis.", show_default="found in the case"
        ),
    ] = None,
    field: Annotated[
        list[str] | None,
        typer.Option(help="A field. May be repeated.", show_default="all fields of the groups"),
    ] = None,
    request: Annotated[UUID | None, typer.Option(help="The request that this answers.")] = None,
) -> None:
    """Release personal fields to another country, field by field."""

    from api.cli.steps.personal_tables import find_basis

    with asked.client() as client:
        case_id = client.case_named(case)
        view = client.case(case_id).view
        stands_on = basis_action or find_basis(view, basis, to, group)
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
    case: CaseName,
    ground: Annotated[
        ErasureGround | None, typer.Option(help="The ground of the erasure. Proposes the erasure.")
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Approve the proposed erasure, as the second party.")
    ] = False,
) -> None:
    """Erase all data on a person, in every country: one party proposes, another approves."""

    from api.cli.steps.personal_tables import approve_erasure
    from ledger.vocabulary.erasure import ErasureProposed

    with asked.client() as client:
        case_id = client.case_named(case)
        if approve:
            receipt = approve_erasure(client, case_id)
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
    """Print the protocol's access matrix of personal data, in Markdown."""

    from api.cli.steps.access_matrix import access_page
    from api.runtime.settings import Settings

    with failures():
        typer.echo(access_page(Settings().load_protocol()), nl=False)
