"""Erased data stays erased: in a restored backup, in key files, and on the ledger's record.

By the commands that people use; the server is a real one.
"""

import hashlib
import json
import re
from collections import Counter
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from typer.testing import CliRunner, Result

from api.cli import app
from api.keys.country_keys import country_keys, person_keys
from api.node.node import Node
from api.runtime.settings import Settings
from ledger.log.cosigned_times import CosignedTimes
from ledger.signing import keys
from ledger.signing.country_key import SealError, sealed_size
from ledger.store.database import Database
from ledger.vault.deposits import KeyMissingError
from ledger.vault.documents.documents import opened_content_key
from ledger.vault.field_encryption import unseal
from ledger.vault.sealed_parcels import Parcel, ParcelError, unpack
from ledger.vault.vault import Vaults
from ledger.vocabulary.coordination import CaseClosed
from ledger.vocabulary.erasure import LegalHoldPlaced
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import ClosureReason, DocumentKind, HoldGround
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.cosigned import cosigned
from tests.support.databases import new_database
from tests.support.papers import pdf
from tests.support.serving import Server, running
from tests.support.sharing import register_country_keys
from tests.support.vaults import everything
from tests.support.waiting import until

ID = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?= )"
NAME, NOTE = "zqNameNobodyElseHas", "zqNoteNobodyElseHas"


class Installation:
    """One node of two countries' data, its key files, and the commands of its people."""

    def __init__(self, agencies: Agencies, database: str, directory: Path) -> None:
        self.agencies = agencies
        self.database = database
        self.settings = Settings(data_directory=directory, port=0)
        self.settings.key_directory.mkdir(parents=True)
        for agency in (*self.agencies.keys,):
            keys.save(agencies.keys[agency], self.settings.key_directory / f"{agency}.jwk")

    def command(self, server: Server, *words: str, code: int = 0) -> Result:
        env = {
            "CASE_LEDGER_URL": server.url,
            "CASE_LEDGER_DATA_DIRECTORY": str(self.settings.data_directory),
            "CASE_LEDGER_DATABASE_URL": self.database,
        }
        done = CliRunner(env=env).invoke(app, list(words))
        assert done.exit_code == code, done.output
        return done

    def sealed(self, database: str, case_id: UUID) -> list[dict[str, Any]]:
        """Return both countries' rows on a person, with the place of each."""
        columns = "case_id, action_id, digest, field, sealed"
        with psycopg.connect(database, row_factory=dict_row) as connection:
            return connection.execute(
                f"SELECT {columns} FROM vault_xk.disclosures WHERE case_id = %(case)s UNION ALL"
                f" SELECT {columns} FROM vault_me.disclosures WHERE case_id = %(case)s".encode(),
                {"case": case_id},
            ).fetchall()

    def person_key(self, party: str, case_id: UUID) -> bytes | None:
        held = person_keys(self.settings, country_keys(self.settings, [party]))
        return held[party].get(case_id)


def test_after_an_erasure_no_key_opens_any_of_it_from_a_backup_either(
    server: str, begun: str, agencies: Agencies, directory: Path
) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(new_database(server, begun))
        keep_every_parcel(database)
        there = Installation(agencies, database, directory / "node")
        erased, kept = uuid4(), uuid4()
        with running(there.settings, database, agencies) as served:
            register_country_keys(served)
            (paper := directory / "paper.pdf").write_bytes(pdf(400_000))
            tell(served, erased, kept, paper)
            with served.client("xk-dhtqnj") as police:
                assert police.upload(erased, paper).is_whole  # no action has it
        keys_before = [k for p in ("XK", "ME") if (k := there.person_key(p, erased))]
        assert len(keys_before) == 2
        backup = f"{conninfo_to_dict(database)['dbname']}_backup"
        with psycopg.connect(server, autocommit=True) as connection:
            template = conninfo_to_dict(database)["dbname"]
            connection.execute(f"CREATE DATABASE {backup} TEMPLATE {template}".encode())
        stack.callback(drop, server, backup)
        restored = make_conninfo(server, dbname=backup)

        with running(there.settings, database, agencies) as served:
            erase(there, served, erased)
            verified = there.command(served, "verify", "ledger", "--json")
            assert json.loads(verified.stdout.splitlines()[-1])["findings"] == []
            read_log = there.command(served, "verify", "readings", "XK", "--json")
            assert json.loads(read_log.stdout.splitlines()[-1])["findings"] == []
            vault = there.command(served, "verify", "vault", "XK", "--documents", "--json")
            assert json.loads(vault.stdout.splitlines()[-1])["findings"] == []
            assert json.loads(vault.stdout.splitlines()[-1])["documents"] == 2
        assert documents_that_open(there, database) == {kept: 2}
        assert documents_that_open(there, restored) == {kept: 2}
        assert uploads_that_open(there, restored, erased, paper) == 0
        for holding in (database, restored):
            check_closed(there, holding, erased)
            check_open(there, holding, kept)
        # The backup still has the rows; they open to no key that is anywhere on the node.
        rows = there.sealed(restored, erased)
        assert len(rows) >= 5
        assert there.sealed(database, erased) == []
        found = every_key(there, erased)
        assert found
        assert opened_by(found, rows) == 0
        assert opened_by(keys_before, rows) == len(rows)  # as they would to the ones destroyed
        assert not any(key in content for key in keys_before for content in files(directory))
        # Nor does a country open what once waited for it, from a backup of that moment.
        travelled = every_parcel(database)
        assert {row.recipient for row in travelled} >= {"ME"}
        assert not [row for row in travelled if opened_as_parcel(there, row)]
        # And a node that serves the backup says that the key is missing, and makes no new one.
        with running(there.settings, restored, agencies) as served:
            refused = there.command(served, *read("xk-dhtqnj", erased), code=2)
            assert "vault-key-missing" in refused.output
            assert NAME in there.command(served, *read("xk-dhtqnj", kept)).output


def test_nodes_erase_by_themselves_what_is_kept_too_long(
    server: str,
    begun: str,
    agencies: Agencies,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In every country, confirmed by each on the ledger, and nothing that a hold keeps."""
    with ExitStack() as stack:
        database = stack.enter_context(new_database(server, begun))
        there = Installation(agencies, database, directory / "node")
        over, held, kept_longer = uuid4(), uuid4(), uuid4()
        with running(there.settings, database, agencies) as served:
            register_country_keys(served)
            reasons = {
                over: ClosureReason.NOT_A_VICTIM,
                held: ClosureReason.NOT_A_VICTIM,
                kept_longer: ClosureReason.REINTEGRATED,
            }
            with served.client("xk-dhtqnj") as police, served.client("xk-nac") as coordinator:
                (paper := directory / "paper.pdf").write_bytes(pdf(1000))
                for case_id, reason in reasons.items():
                    told = opening(("XK", "ME"), first_name=NAME, indicators_note=NOTE)
                    police.append(told, case_id, 0)
                    add_document(served, case_id, 1, paper, None)
                    coordinator.append(CaseClosed(acted_at=START, reason=reason), case_id, 2)
            with served.client("xk-court-prishtina") as court:
                hold = LegalHoldPlaced(acted_at=START, ground=HoldGround.PROCEEDINGS)
                court.append(hold, held, 3)
            with served.client("me-nac") as montenegro:
                until(lambda: all(montenegro.case(c).disclosed for c in reasons))
            monkeypatch.setattr("api.background_jobs.eraser._RETENTION_EVERY_SECONDS", 0.0)
            served.worker("erase").wait_for_step()  # what is not over its time stays
            assert all(there.sealed(database, case_id) for case_id in reasons)

        began, looks = datetime.now(UTC), iter((336, 336, 380))

        def as_time_passes(_: Node) -> CosignedTimes:
            return cosigned(began, range(next(looks, 420)), *sorted(agencies.protocol.party_codes))

        monkeypatch.setattr(Node, "cosigned_times", as_time_passes)
        for name in ("_RETENTION_EVERY_SECONDS", "_EVERY_SECONDS"):
            monkeypatch.setattr(f"api.background_jobs.eraser.{name}", 1.0)
        # The ledger node's own clock goes on as it does; its rules see the time to come.
        monkeypatch.setattr("ledger.procedure.checks.erasure.CLOCK_SKEW", timedelta(days=420))
        with (
            running(there.settings, database, agencies) as served,
            served.client("me-nac") as montenegro,
        ):

            def confirmed() -> bool:
                erasure = montenegro.case(over).view.erasure
                return erasure is not None and set(erasure.confirmed) == {"XK", "ME"}

            until(confirmed)
            erasure = montenegro.case(over).view.erasure
            assert erasure is not None
            assert (erasure.ground, erasure.pending) == (None, ())
            retention = montenegro.case(over).view.retention
            assert retention is not None
            assert (retention.by, retention.kept_days) == ("xk-node", 365)
            assert retention.erase_from >= began + timedelta(days=365)
            assert montenegro.case(over).disclosed == ()
            for case_id in (held, kept_longer):
                assert montenegro.case(case_id).view.erasure is None
                assert montenegro.case(case_id).disclosed
        assert documents_that_open(there, database) == {held: 1, kept_longer: 1}
    # The database is gone by now; so are the person's keys, and no others.
    for party in ("xk", "me"):
        book = (there.settings.key_directory / "persons" / party / "data-keys").read_bytes()
        assert {c for c in (over, held, kept_longer) if str(c).encode() in book} == {
            held,
            kept_longer,
        }


def keep_every_parcel(database: str) -> None:
    """As if a backup had been made each time that a parcel waited."""
    with psycopg.connect(database) as connection:
        connection.execute(
            "CREATE TABLE public.every_parcel AS SELECT * FROM mailbox.parcels;"
            " CREATE FUNCTION public.keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
            " 'BEGIN INSERT INTO public.every_parcel SELECT NEW.*; RETURN NEW; END';"
            " CREATE TRIGGER keep AFTER INSERT ON mailbox.parcels"
            " FOR EACH ROW EXECUTE FUNCTION public.keep()"
        )


def every_parcel(database: str) -> list[Parcel]:
    with psycopg.connect(database) as connection:
        # Those that wait still are for their receiver to open; what they tell is not erased.
        rows = connection.execute(
            "SELECT id, sender, recipient, sealed FROM public.every_parcel"
            " WHERE id NOT IN (SELECT id FROM mailbox.parcels WHERE outcome IS NULL)"
        )
        return [Parcel(*row) for row in rows]


def opened_as_parcel(there: Installation, row: Parcel) -> bool:
    """Return whether the countries' keys, or any key file left on the node, open the row."""
    protocol = there.agencies.protocol
    left = [path.read_bytes() for path in there.settings.key_directory.rglob("*.key")]
    bound = f"{row.id}\n{row.sender}\n{row.recipient}\n".encode()
    content = row.sealed.removeprefix(b"case-ledger parcel at rest 1\n")
    tries = [row.sealed]
    for key in left:
        with suppress(InvalidTag, ValueError):
            tries.append(AESGCM(key).decrypt(content[:12], content[12:], bound))
    for sealed, key in product(tries, country_keys(there.settings, ["XK", "ME"]).values()):
        with suppress(ParcelError):
            unpack(Parcel(row.id, row.sender, row.recipient, sealed), protocol, key)
            return True
    return False


def tell(served: Server, erased: UUID, kept: UUID, paper: Path) -> None:
    """Two children's cases with two documents each, known to both countries, one of them closed."""
    with served.client("xk-dhtqnj") as police, served.client("xk-nac") as coordinator:
        for case_id in (erased, kept):
            police.append(opening(("XK", "ME"), first_name=NAME, indicators_note=NOTE), case_id, 0)
            add_document(served, case_id, 1, paper, FieldGroup.IDENTITY)
            add_document(served, case_id, 2, paper, None)
        closed = CaseClosed(
            acted_at=START + timedelta(hours=1), reason=ClosureReason.LOST_CONTACT, summary=NOTE
        )
        coordinator.append(closed, erased, 3)
    with served.client("me-nac") as montenegro:
        until(lambda: all(len(montenegro.case(c).disclosed) > 0 for c in (erased, kept)))


def erase(there: Installation, served: Server, case_id: UUID) -> None:
    """One country's coordinator, then the other's, by the command; both countries confirm."""
    asked = ("erase", str(case_id), "-a", "xk-nac")
    there.command(served, *asked, "--approve", code=1)
    proposed = there.command(served, *asked, "--ground", "persons_request")
    assert "another country" in proposed.output
    alone = there.command(served, *asked, "--approve", code=2)
    assert "second-party" in alone.output
    there.command(served, "erase", str(case_id), "-a", "me-nac", "--approve")
    with served.client("me-nac") as montenegro:

        def confirmed() -> bool:
            erasure = montenegro.case(case_id).view.erasure
            return erasure is not None and set(erasure.confirmed) == {"XK", "ME"}

        until(confirmed)


def read(agency: str, case_id: UUID) -> tuple[str, ...]:
    return ("read", str(case_id), "-a", agency, "-g", "identity", "--purpose", "protection")


def check_closed(there: Installation, database: str, case_id: UUID) -> None:
    with Database(database) as pool:
        held = person_keys(there.settings, country_keys(there.settings, ["XK", "ME"]))
        vaults = Vaults(pool, held)
        for party in ("XK", "ME"):
            if not there.sealed(database, case_id):
                assert everything(vaults.of(party), case_id) == ()
                continue
            with pytest.raises(KeyMissingError):
                everything(vaults.of(party), case_id)


def check_open(there: Installation, database: str, case_id: UUID) -> None:
    with Database(database) as pool:
        held = person_keys(there.settings, country_keys(there.settings, ["XK", "ME"]))
        vaults = Vaults(pool, held)
        values = [one.value for p in ("XK", "ME") for one in everything(vaults.of(p), case_id)]
    assert values.count(NOTE) == 2


def add_document(
    served: Server, case_id: UUID, version: int, file: Path, group: FieldGroup | None
) -> None:
    with served.client("xk-dhtqnj") as police:
        police.add_document(
            case_id, version, file, kind=DocumentKind.CONSENT_FORM, title=NOTE, group=group
        )


def documents_that_open(there: Installation, database: str) -> dict[UUID, int]:
    """Return how many documents of each case open, with any key that is on the node."""
    keys = person_keys(there.settings, country_keys(there.settings, ["XK"]))["XK"]
    with psycopg.connect(database, row_factory=dict_row) as connection:
        rows = connection.execute(
            "SELECT * FROM vault_xk.documents WHERE action_id IS NOT NULL"
        ).fetchall()
    found: Counter[UUID] = Counter()
    for row in rows:
        with suppress(SealError):
            opened_content_key(keys, row)
            found[row["case_id"]] += 1
    return dict(found)


def uploads_that_open(there: Installation, database: str, case_id: UUID, file: Path) -> int:
    keys = person_keys(there.settings, country_keys(there.settings, ["XK"]))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with psycopg.connect(database) as connection:
        select = "SELECT FROM vault_xk.documents WHERE case_id = %s AND action_id IS NULL"
        assert connection.execute(select, (case_id,)).rowcount == 1
    with Database(database) as pool:
        uploads = Vaults(pool, keys).of("XK").documents
        found = uploads.with_content(case_id, "xk-dhtqnj", file.stat().st_size, digest)
    return len(found)


def every_key(there: Installation, case_id: UUID) -> list[bytes]:
    """Every data key that any file on the node opens to, tried at the erased person's place too."""
    opened = []
    for party, key in country_keys(there.settings, ["XK", "ME"]).items():
        for path in (there.settings.key_directory / "persons" / party.lower()).rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            named = {UUID(found.decode()) for found in re.findall(ID, content)}
            # Wherever in a file one may begin, whatever stands before it.
            for start in range(len(content) - sealed_size(32) + 1):
                for person in named | {case_id}:
                    context = f"case-ledger data key 1\n{party}\n{person}\n".encode()
                    try:
                        opened.append(key.open(content[start : start + sealed_size(32)], context))
                    except SealError:
                        continue
    return opened


def opened_by(data_keys: list[bytes], rows: list[dict[str, Any]]) -> int:
    """Return how many of the rows open to any of these keys, each at its own place."""
    count = 0
    for row, data_key in product(rows, data_keys):
        with suppress(SealError):
            unseal(data_key, **row)
            count += 1
    return count


def files(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


def drop(server: str, name: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
