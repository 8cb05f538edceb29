"""Commands on a node: state to other countries which actions wait, and show what they state."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from api.cli.nodes import app
from api.cli.output import AsJson, fail, failures, out, print_json

_LISTED = 200
_MOST = 1_000


@app.command()
def submitted(
    file: Annotated[Path, typer.Argument(help="The file to write, for the other countries.")],
    as_json: AsJson = False,
) -> None:
    """Write signed statements on this country's waiting actions, with the time of each.

    A running node sends such statements to the nodes that it reaches. Hand the file to the
    others by any way: it holds each action's id, digest and time, and nothing personal.
    """

    from joserfc.jwk import OKPKey

    from api.exchange.waiting_times import AT_ONCE, statement
    from api.keys.agency_keys import own_key
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.procedure.protocol import Agency
    from ledger.replication.outbox import Outbox
    from ledger.store.database import Database
    from ledger.system import clock

    settings = Settings()

    def node_key(agency: Agency) -> OKPKey:
        return own_key(settings, agency.id, None)

    with (
        failures(as_json),
        open_store(settings) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
    ):
        waiting = Outbox(database).waiting_since(clock.now(), AT_ONCE)
        made = [text for one in waiting if (text := statement(ledger, one, node_key)) is not None]
        file.write_text("".join(f"{text}\n" for text in made), encoding="ascii")
        if as_json:
            print_json({"statements": len(made)})
        else:
            out.print(f"{len(made)} statements are in {file}.", soft_wrap=True)


@app.command("take-submitted")
def take_submitted(
    file: Annotated[Path, typer.Argument(help="The file that another country's node wrote.")],
    as_json: AsJson = False,
) -> None:
    """Verify and keep another country's statements on its waiting actions."""

    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.application import Ledger, environment
    from ledger.replication.node_statements import MAX_CHARACTERS, StatementError
    from ledger.replication.submissions import Submissions, read
    from ledger.store.database import Database
    from ledger.system.bounded_files import read_ordinary

    with (
        failures(as_json),
        open_store(Settings()) as store,
        Ledger(environment(store.conninfo)) as ledger,
        Database(store.conninfo) as database,
    ):
        registry, kept = ledger.adopted(), Submissions(database)
        try:
            texts = read_ordinary(file).decode("ascii").split()
            if len(texts) > _MOST or any(len(text) > MAX_CHARACTERS for text in texts):
                fail(f"{file} has more than {_MOST} statements, or a line that is too long")
            contents = [(read(text, registry), text) for text in texts]
        except UnicodeDecodeError:
            fail(f"{file} holds no statements")
        except StatementError as error:
            fail(f"a statement in {file} does not hold: {error}")
        new = sum(kept.keep(content, text) for content, text in contents)
        if as_json:
            print_json({"statements": len(contents), "new": new})
        else:
            out.print(f"{len(contents)} statements hold, {new} of them are new.")


@app.command()
def stated(as_json: AsJson = False) -> None:
    """Show the waiting actions that other countries stated, and which of them are recorded here."""

    from api.http.documents import submission_document
    from api.runtime.node_database import open_store
    from api.runtime.settings import Settings
    from ledger.replication.submissions import Submissions
    from ledger.store.database import Database

    with (
        failures(as_json),
        open_store(Settings()) as store,
        Database(store.conninfo) as database,
    ):
        found = [submission_document(one) for one in Submissions(database).all(_LISTED)]
    if as_json:
        print_json([one.model_dump(mode="json") for one in found])
        return
    if not found:
        out.print("[green]No other country states that its actions wait.[/]")
        return
    table = Table("Country", "Action", "Handed in", "Recorded")
    for one in found:
        recorded = f"{one.recorded_at:%d %b %Y %H:%M:%S}" if one.recorded_at else "[red]not here[/]"
        moment = f"{one.submitted_at:%d %b %Y %H:%M:%S}"
        table.add_row(one.party, str(one.action_id), moment, recorded)
    out.print(table)
