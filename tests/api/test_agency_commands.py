"""Agencies and contact points by commands and by the API, on a running node."""

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from typer.testing import CliRunner

from api.cli.main import app
from api.client import RefusedError
from api.node.agreed_protocol import with_agreed_protocol
from api.runtime.settings import Settings
from ledger.application import Ledger
from ledger.procedure.amendments import text_of
from ledger.signing import keys
from ledger.verification.evidence_reader import kept_in, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.coordination import InformationProvided, InformationRequested
from ledger.vocabulary.picklists import InformationTopic, Purpose
from ledger.vocabulary.registration import KeyRegistered
from projections.upkeep.rebuild import rebuild_views
from projections.upkeep.view_check import ViewChecker
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.serving import Server
from tests.support.views import wait_for

SHELTER, BODY, ME, XK = "bar-shelter", "iom-podgorica", "me-nac", "xk-nac"


class Commands:
    """Runs commands as one agency or another against a served ledger."""

    def __init__(self, served: Server, agencies: Agencies, directory: Path) -> None:
        self.served, self.agencies, self.directory = served, agencies, directory
        self.runner = CliRunner(env={"CASE_LEDGER_DATA_DIRECTORY": str(directory / "data")})

    def run(self, *args: str, agency: str = ME, code: int = 0) -> str:
        key = self.directory / f"{agency}.jwk"
        if not key.exists():
            keys.save(self.agencies.keys[agency], key)
        asked = ["--agency", agency, "--key", str(key), "--url", self.served.url]
        done = self.runner.invoke(app, [*args, *asked])
        assert done.exit_code == code, done.output
        return done.output

    def json(self, *args: str, agency: str = ME) -> object:
        lines = self.run(*args, "--json", agency=agency).splitlines()
        return json.loads("\n".join(line for line in lines if "[info" not in line))

    def with_key(self, agency: str) -> None:
        """Register a key of a new agency, as its coordinator."""
        self.agencies.keys[agency] = keys.generate()
        grant = self.agencies.grant(agency)
        with self.served.client(ME) as client:
            client.append_to_registry(KeyRegistered(acted_at=PAST, grant=grant))


@pytest.fixture
def commands(served: Server, agencies: Agencies, tmp_path: Path) -> Commands:
    own = Agencies(agencies.protocol, dict(agencies.keys))
    return Commands(Server(served.url, own, served.settings, served.app), own, tmp_path)


def _documents(told: object) -> list[dict[str, Any]]:
    assert isinstance(told, list)
    return told


def asked(addressee: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START,
        addressee=addressee,
        topics=(InformationTopic.IDENTITY,),
        purpose=next(iter(Purpose)),
    )


def test_a_year_of_a_countrys_agencies(
    commands: Commands, ledger: Ledger, database: str, tmp_path: Path
) -> None:
    served = commands.served
    named = ["--role", "shelter", "--name", "Shelter in Bar"]
    commands.run("agencies", "register", SHELTER, *named, "--name-in", "sq=Streha", "--yes")
    again = commands.run("agencies", "register", SHELTER, *named, "--yes", code=2)
    assert "agency-known" in again
    assert "Aborted" in commands.run("agencies", "retire", SHELTER, code=1)

    # It is used at once.
    commands.with_key(SHELTER)
    case_id = uuid4()
    with served.client(SHELTER) as client:
        client.append(opening(("ME", "XK")), case_id, 0)
    with served.client(XK) as client:
        request = client.append(asked(SHELTER), case_id, 1)
    commands.run("agencies", "rename", SHELTER, "--name", "Shelter of Bar", "--yes")

    # It retires: its coordinator answers, and finds its cases and obligations.
    commands.run("agencies", "retire", SHELTER, "--yes")
    with served.client(SHELTER) as client, pytest.raises(RefusedError, match="revoked"):
        client.agencies()
    (listed,) = (
        one for one in _documents(commands.json("agencies", "list")) if one["id"] == SHELTER
    )
    assert [one["change"] for one in listed["history"]] == ["registered", "renamed", "retired"]
    assert (listed["answered_by"], listed["names"]) == (ME, {"sq": "Streha"})
    with served.client(ME) as client:
        led = list(client.cases(lead_agency=ME))
        assert [one.case_id for one in led] == [case_id]
        owed = list(client.obligations(agency=ME, at_least=request.position))
        assert {one.debtor_agency for one in owed} == {SHELTER}
        client.append(
            InformationProvided(acted_at=START, request=request.action_id, complete=True),
            case_id,
            2,
        )

    # An international body reads the case that names it, and no other.
    commands.run("agencies", "invite", BODY, "--role", "ngo", "--name", "A body", "--yes")
    commands.with_key(BODY)
    with served.client(BODY) as client:
        with pytest.raises(RefusedError, match="no such case"):
            client.case(case_id)
        with pytest.raises(RefusedError, match="no such case"):
            list(client.trail(case_id))
        with pytest.raises(RefusedError, match="one at a time"):
            list(client.cases())
    with served.client(XK) as client:
        receipt = client.append(asked(BODY), case_id, 3)
    with served.client(BODY) as client:
        assert client.case(case_id, at_least=receipt.position).view.case_id == case_id

    # An oversight body waits for a second party.
    commands.run("agencies", "register", "me-audit", "--role", "oversight", "--name", "A", "--yes")
    (waiting,) = _documents(commands.json("agencies", "proposals", agency=XK))
    assert waiting["yours"] is True
    commands.run("agencies", "confirm", str(waiting["id"]), "--yes", agency=XK)
    assert not _documents(commands.json("agencies", "proposals"))

    # Contact points: an office, no person.
    office = ["--office-of", ME, "--function", "Head", "--language", "cnr"]
    commands.run("contacts", "name", *office, "--email", "office@example.invalid", "--yes")
    told = commands.run("contacts", "list", agency=XK)
    assert "Head, me-nac; office@example.invalid" in told
    (contact,) = _documents(commands.json("contacts", "list"))
    commands.run("contacts", "end", str(contact["id"]), "--yes")
    assert "No contact point" in commands.run("contacts", "list")

    # The views are what the ledger says, as they were followed and as they are rebuilt.
    wait_for(served.node.views, ledger.head())
    for rebuilt in (False, True):
        if rebuilt:
            rebuild_views(database, processes=0)
        with ViewChecker(database) as checker:
            found = checker.check_acts()
            for part in checker.parts(1000):
                found.merge(checker.check(part))
        assert not found.differing, found.described

    # The whole ledger verifies, and the protocol's file is no other text than the one adopted.
    with psycopg.connect(database) as connection:
        report = verify_ledger(stored_rows(connection), kept_in(connection, None), workers=0)
    assert report.holds, report.findings
    assert ledger.adopted().agreement == served.node.ledger.adopted().agreement
    file = tmp_path / "protocol.json"
    file.write_text(json.dumps(text_of(commands.agencies.protocol)), encoding="utf-8")
    started = with_agreed_protocol(Settings(protocol=file, data_directory=tmp_path), database)
    assert SHELTER in started.load_protocol().agencies_by_id
