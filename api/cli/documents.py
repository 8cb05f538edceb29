"""Commands on documents: adding a file to a case, listing documents, downloading one."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from api.cli.connection import AsAgencyOrJson, CaseName, asks
from api.cli.output import fail, failures, out, print_json
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import DocumentKind, LegalBasis, Purpose

if TYPE_CHECKING:
    from api.client import LedgerClient
    from ledger.vocabulary import Action

app = typer.Typer(
    name="document",
    no_args_is_help=True,
    help="Documents of a case: add, file, list, download, sign, move, redact or compare one.",
)

KeepMetadata = Annotated[
    bool,
    typer.Option(
        "--keep-metadata", help="Send a file with its metadata, such as place, camera and author."
    ),
]


class MadePaper(StrEnum):
    """A paper that the node makes."""

    SUMMARY = "summary"
    FORM = "form"
    PERSON_FILE = "person-file"


Document = Annotated[UUID, typer.Argument(help="The action that added the document.")]
ForPurpose = Annotated[Purpose, typer.Option(help="The purpose of the reading.")]
ItsGroup = Annotated[
    FieldGroup | None,
    typer.Option("--group", "-g", help="Its field group.", show_default="the case level"),
]
ForBasis = Annotated[
    LegalBasis | None, typer.Option(help="The legal basis.", show_default="any but danger")
]


@app.command()
@asks
def add(
    asked: AsAgencyOrJson,
    case: CaseName,
    file: Annotated[Path, typer.Argument(help="The file.", exists=True, dir_okay=False)],
    kind: Annotated[DocumentKind, typer.Option(help="The kind of the document.")],
    title: Annotated[str, typer.Option(help="Its title, which is shared like its content.")],
    group: Annotated[
        FieldGroup | None,
        typer.Option("--group", "-g", help="The field group of its content."),
    ] = None,
    case_level: Annotated[
        bool,
        typer.Option("--case-level", help="Any agency of the case's countries may read it."),
    ] = False,
    language: Annotated[
        str | None, typer.Option(help="Its language, as three letters of ISO 639.")
    ] = None,
    belongs_to: Annotated[
        UUID | None,
        typer.Option(help="The action that it belongs to.", show_default="the case itself"),
    ] = None,
    keep_metadata: KeepMetadata = False,
) -> None:
    """Upload a file, and add it to a case. A command that was stopped goes on where it was.

    It shows the file's metadata. A picture is added as a copy without them.
    """

    from api.cli.steps.sending import present_version, send_together
    from api.cli.steps.told_metadata import metadata_teller
    from api.cli.steps.transfers import transfer_bar
    from ledger.system.identifiers import new_id

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        if (group is None) is not case_level:
            fail("say the field group of the content (--group), or --case-level, and not both")
        with transfer_bar("Uploading", asked.as_json) as progress:
            action = client.document_action(
                case_id,
                file,
                kind=kind,
                title=title,
                group=group,
                language=language,
                belongs_to=belongs_to,
                progress=progress,
                keep_metadata=keep_metadata,
                uploaded=metadata_teller(
                    client, case_id, keep=keep_metadata, as_json=asked.as_json
                ),
            )
        version = present_version(client, case_id)
        send_together(client, asked.url, case_id, version, [(new_id(), action)], asked.as_json)


@app.command()
@asks
def sign(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    file: Annotated[
        Path, typer.Argument(help="The content that was read.", exists=True, dir_okay=False)
    ],
) -> None:
    """Sign another agency's document too, such as the minutes of a meeting, by its SHA-256.

    The file must be the signed one, byte for byte. The document must be at the case level.
    """

    from api.cli.steps.sending import present_version, send_together
    from ledger.system.identifiers import new_id

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        listed = {one.id: one for one in client.documents(case_id).documents}
        document = listed.get(document_id)
        if document is None:
            fail("there is no such document at the case level; see `case-ledger document list`")
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        if digest != document.document.sha256:
            fail(f"{file} is not the document: its SHA-256 is {digest}")
        action = client.sign_document(document)
        version = present_version(client, case_id)
        send_together(client, asked.url, case_id, version, [(new_id(), action)], asked.as_json)


@app.command()
@asks
def move(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    to: Annotated[str, typer.Option(help="The right case; the same one to change the group.")],
    purpose: ForPurpose,
    group: ItsGroup = None,
    new_group: Annotated[
        FieldGroup | None,
        typer.Option(help="The right field group.", show_default="as it is"),
    ] = None,
    new_case_level: Annotated[
        bool, typer.Option("--new-case-level", help="Put it at the case level.")
    ] = False,
    belongs_to: Annotated[
        UUID | None,
        typer.Option(help="The action of the right case.", show_default="the case itself"),
    ] = None,
    basis: ForBasis = None,
) -> None:
    """Move a document that was added to the wrong case, or under the wrong field group.

    The node copies the content. The agency signs the document in the right place, and annuls it in
    the wrong one, where it does not open any more. Run it again if it was stopped.
    """

    from api.cli.steps.moving_documents import found_document
    from api.cli.steps.moving_documents import move as moved

    with _recording(asked, case) as (client, case_id, record):
        if new_group is not None and new_case_level:
            fail("say --new-group or --new-case-level, not both")
        target = None if new_case_level else new_group or group
        right_case = client.case_named(to)
        if right_case == case_id and target is group:
            fail("the document is there already; name another case, or another field group")
        document = found_document(client, case_id, document_id, group, purpose, basis)
        if document.belongs_to == document.id:
            fail(
                "the document was added with its action. Record the action in the right case with"
                " the file (`case-ledger act --document`), and correct it here"
            )
        moved(client, document, right_case, target, belongs_to, purpose, basis, record)


@app.command("file")
@asks
def file_made(
    asked: AsAgencyOrJson,
    paper: Annotated[
        MadePaper, typer.Argument(help="The paper that the node makes of what it holds.")
    ],
    case: CaseName,
    language: Annotated[str, typer.Option(help="The language, such as en or sq.")] = "en",
    form: Annotated[
        UUID | None, typer.Option(help="The action that sent the communication form.")
    ] = None,
    beside: Annotated[
        str | None, typer.Option(help="The second language of a form.", show_default="en")
    ] = None,
) -> None:
    """Let the node print a paper, and add it to the case as a document, signed by its SHA-256.

    A person's file is a reading, which the access log records. It becomes a document for each
    field group in which something is held, and one for the case.
    """

    from api.cli.steps.sending import present_version, send_together
    from api.client.schemas.case_documents import MadeKind
    from ledger.system.identifiers import new_id

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        made = MadeKind(paper.value.replace("-", "_"))
        acts = client.make_documents(case_id, made, language, form=form, beside=beside)
        version = present_version(client, case_id)
        named = [(new_id(), one) for one in acts]
        send_together(client, asked.url, case_id, version, named, asked.as_json)


@app.command()
@asks
def redact(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    purpose: ForPurpose,
    leave_out: Annotated[
        str | None, typer.Option(help="The pages to leave out, such as 2,5-7.")
    ] = None,
    mark: Annotated[
        list[str] | None,
        typer.Option(
            help="A rectangle to hide: PAGE:LEFT,TOP,WIDTH,HEIGHT in percent of the page, such as"
            " 1:10,20.5,40,3. May be repeated."
        ),
    ] = None,
    own: Annotated[
        Path | None,
        typer.Option(
            help="A version that you made yourself. The node compares it with the document.",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    pages_marked: Annotated[
        str | None, typer.Option(help="With --own: the pages of which it hides a part.")
    ] = None,
    group: ItsGroup = None,
    new_group: Annotated[
        FieldGroup | None,
        typer.Option(help="The field group of the new version.", show_default="as it is"),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="The title of the new version.", show_default="as it is")
    ] = None,
    basis: ForBasis = None,
) -> None:
    """Add a version of a PDF file or picture without some pages or parts, signed by the agency.

    The node makes it. Each page that stays is a picture in a new file, and what a mark hides is
    black in it, so nothing else is left: no text, thumbnail, attachment or metadata. It is released
    like another document. With `--own FILE` you make it, and pages that you do not name must look
    as in the document.
    """

    from api.cli.steps.moving_documents import Hidden, found_document, page_mark, redacted

    with _recording(asked, case) as (client, case_id, record):
        hidden = Hidden(leave_out, [page_mark(one) for one in mark or ()], own, pages_marked)
        document = found_document(client, case_id, document_id, group, purpose, basis)
        added = redacted(client, document, hidden, title, new_group or group, purpose, basis)
        record(document.case_id, added)


@app.command()
@asks
def compare(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    purpose: ForPurpose,
    basis: ForBasis = None,
) -> None:
    """Compare a redacted version with its original, page by page. Ends with 1 if they do not agree.

    A node without the original only counts the pages of the version. It is a reading of each of the
    two, which the access log records.
    """

    from api.cli.steps.moving_documents import told_comparison

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        found = client.compare_version(case_id, document_id, purpose=purpose, basis=basis)
        if asked.as_json:
            print_json(found)
        else:
            for line in told_comparison(found):
                out.print(line, soft_wrap=True)
        if not found.agrees:
            raise typer.Exit(1)


@contextmanager
def _recording(
    asked: AsAgencyOrJson, case: str
) -> "Iterator[tuple[LedgerClient, UUID, Callable[[UUID, Action], None]]]":
    """Give a client, the case and a function that signs and sends an action on a case."""
    from api.cli.steps.moving_documents import recorder

    with failures(asked.as_json), asked.client() as client:
        yield client, client.case_named(case), recorder(client, asked.url, asked.as_json)


@app.command("list")
@asks
def list_documents(
    asked: AsAgencyOrJson,
    case: CaseName,
    group: Annotated[
        list[FieldGroup] | None,
        typer.Option("--group", "-g", help="Documents of this field group too. May be repeated."),
    ] = None,
    purpose: Annotated[
        Purpose | None, typer.Option(help="The purpose of the reading, needed with a group.")
    ] = None,
    basis: ForBasis = None,
) -> None:
    """List a case's documents. With groups it is a reading, which the access log records."""

    from api.cli.steps.transfers import documents_table

    with asked.client() as client:
        case_id = client.case_named(case)
        page = client.documents(case_id, group or (), purpose, basis)
        if asked.as_json:
            print_json(page)
            return
        out.print(documents_table(page.documents))
        if page.reading is not None:
            out.print(f"Written down as reading {page.reading.seq}.")


@app.command()
@asks
def inventory(asked: AsAgencyOrJson, case: CaseName) -> None:
    """Show which contents other countries' nodes give of a case's documents, and how far they are.

    It also shows which contents this country gave, and who confirmed to hold them.
    """

    from api.cli.steps.transfers import awaited_table, given_table

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        found = client.document_inventory(case_id)
        if asked.as_json:
            print_json(found)
            return
        if not found.awaited and not found.given:
            out.print("No content of this case's documents goes between countries.")
        if found.awaited:
            out.print(awaited_table(found.awaited))
        if found.given:
            out.print(given_table(found.given))


@app.command()
@asks
def get(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    file: Annotated[Path, typer.Argument(help="The file to write, which does not exist yet.")],
    purpose: ForPurpose,
    basis: ForBasis = None,
    original: Annotated[
        bool,
        typer.Option("--original", help="The signed original, as a proof, without a visible mark."),
    ] = False,
) -> None:
    """Download a document: a copy whose pages say who got it, or the signed original.

    The access log records it, and which of both. Compare the printed SHA-256 of the original with
    the list.
    """

    from api.cli.steps.transfers import transfer_bar
    from ledger.procedure.readings import CopyKind

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        if file.exists():
            fail(f"{file} exists; name another file")
        with transfer_bar("Downloading", asked.as_json) as progress:
            kind = CopyKind.ORIGINAL if original else CopyKind.MARKED
            digest = client.download(
                case_id,
                document_id,
                file,
                purpose=purpose,
                basis=basis,
                copy=kind,
                progress=progress,
            )
        if asked.as_json:
            print_json({"file": str(file), "sha256": digest, "copy": kind})
        elif not original:
            out.print(f"{file}: a copy with your mark on each page", soft_wrap=True)
        else:
            out.print(f"{file}: SHA-256 {digest}", soft_wrap=True)


@app.command()
@asks
def preview(
    asked: AsAgencyOrJson,
    case: CaseName,
    document_id: Document,
    file: Annotated[Path, typer.Argument(help="The JPEG to write, which does not exist yet.")],
    purpose: ForPurpose,
    page: Annotated[int, typer.Option(min=1, help="The page's number.")] = 1,
    basis: ForBasis = None,
) -> None:
    """Write a picture of one page of a document. The access log records it.

    The node made the picture: nothing of the document itself can run in it.
    """

    with failures(asked.as_json), asked.client() as client:
        case_id = client.case_named(case)
        if file.exists():
            fail(f"{file} exists; name another file")
        made = client.preview(case_id, document_id, page, purpose=purpose, basis=basis)
        with file.open("xb") as written:
            written.write(made.picture)
        if asked.as_json:
            print_json({"file": str(file), "page": page, "pages": made.pages})
        else:
            out.print(f"{file}: page {page} of {made.pages}", soft_wrap=True)
