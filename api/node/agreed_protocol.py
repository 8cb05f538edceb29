"""The protocol of this node's ledger: the recorded agreement, or before it a file.

Once a ledger adopted its protocol, the ledger says what it is, and no file is needed. A file that
is named all the same is a proposal at most: it must say what the parties adopted.
"""

import psycopg

from api.paper.protocol_changes import sentence
from api.paper.subject_access.wording import wording
from api.runtime.node_database import open_store
from api.runtime.practice_directory import PracticeError
from api.runtime.settings import Settings
from ledger.events.event import recorded
from ledger.procedure.agreement import Agreement
from ledger.procedure.amendments import text_of
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.protocol import Protocol, read_protocol
from ledger.procedure.protocol_changes import changes
from ledger.procedure.registry import registry_of
from ledger.store.database import set_role
from ledger.system import clock

_IS_THERE = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'ledger' AND c.relname = 'events')
"""
_MAY_READ = "SELECT has_schema_privilege('ledger', 'USAGE')"
_ACTS = """
SELECT notification_id, originator_id, originator_version, state FROM ledger.events
WHERE originator_id = (SELECT originator_id FROM ledger.events WHERE notification_id = 1)
ORDER BY notification_id
"""


def recorded_agreement(conninfo: str) -> Agreement | None:
    """Return the agreement that a database's ledger recorded; ``None`` before the adoption.

    It reads a database of any earlier release, before its migration too.
    """
    with psycopg.connect(conninfo, autocommit=True) as connection:
        if not _says_yes(connection, _IS_THERE):
            return None
        if not _says_yes(connection, _MAY_READ):
            set_role(connection)
        rows = connection.execute(_ACTS).fetchall()
    acts = [
        recorded(bytes(state), originator, version, position)
        for position, originator, version, state in rows
    ]
    return registry_of(acts).agreement if acts else None


def _says_yes(connection: psycopg.Connection, question: str) -> bool:
    row = connection.execute(question.encode()).fetchone()
    return row is not None and bool(row[0])


def with_agreed_protocol(settings: Settings, conninfo: str) -> Settings:
    """Return the settings by which ``load_protocol`` gives the version that is in force.

    Before the adoption they are as they were. Raises ``ValueError`` where ``CASE_LEDGER_PROTOCOL``
    names a file that says something else than every version that the parties adopted, and
    ``PracticeError`` for a practice ledger.
    """
    agreement = recorded_agreement(conninfo)
    if agreement is None:
        if is_practice(settings.load_protocol().id):
            raise PracticeError(
                "the protocol has the id of a practice ledger: begin with `case-ledger practice`,"
                " or give the protocol another id"
            )
        return settings
    if is_practice(agreement.protocol_id):
        raise PracticeError(
            "the database holds a practice ledger, whose persons are invented, and this node is a"
            " real one. Name the node's own database in CASE_LEDGER_DATABASE_URL"
        )
    if settings.protocol is not None:
        check_file(read_protocol(settings.protocol), agreement)
    return settings.with_protocol(agreement.next_at(clock.now()))


def settings_here(settings: Settings) -> Settings:
    """Return the settings with the protocol of the ledger in this machine's database, if any.

    A machine without a database keeps the settings' own protocol. Raises as
    :func:`with_agreed_protocol` does, and ``StoreError`` if the database does not answer.
    """
    if settings.database_url is None and not (settings.data_directory / "postgresql").exists():
        return settings
    with open_store(settings) as store:
        return with_agreed_protocol(settings, store.conninfo)


def check_file(file: Protocol, agreement: Agreement) -> None:
    """Check that a file has the version of the protocol in force.

    The text of an earlier or a later adopted version is no difference. Otherwise a node would not
    start again on the day on which a version comes into force. Raises ``ValueError`` that names the
    first difference.
    """
    told = text_of(file)
    if any(told == text_of(version.protocol) for version in agreement.versions):
        return
    # A file has no agency that a country registered itself.
    in_force = agreement.next_version_at(clock.now()).protocol
    if file.id != in_force.id:
        first = f"it is of the protocol {file.id}, and the ledger of {in_force.id}"
    else:
        found = changes(in_force, file)
        first = sentence(found[0], wording("en")) if found else "the order of its parts"
    raise ValueError(
        f"CASE_LEDGER_PROTOCOL names another text than version {in_force.version}, which the"
        f" parties adopted. First difference: {first} A file does not change the agreement. Propose"
        " the text with `case-ledger protocol propose`, and unset CASE_LEDGER_PROTOCOL: the ledger"
        " has its protocol."
    )
