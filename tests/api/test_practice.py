"""Practice and real ledgers stay apart, and a practice ledger is reset from its beginning."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from api.demo.begun_ledger import prepared_ledger
from api.demo.play_practice import exercises_for, practice_settings, reset_practice
from api.demo.practice.ledger import DATABASE, PracticeLedger
from api.node.agreed_protocol import with_agreed_protocol
from api.processes.app import create_app
from api.runtime.node_database import open_store
from api.runtime.practice_directory import MARK, PracticeError, claim_for_practice
from api.runtime.settings import Settings
from api.services.adoption import adopt_protocol
from ledger.application import Ledger
from ledger.procedure.practice_protocol import is_practice, practice_protocol
from ledger.refusals import Refusal
from ledger.signing import signed_action
from tests.support.actions import opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.practice import PROTOCOL


def test_a_real_node_opens_no_directory_of_a_practice(tmp_path: Path) -> None:
    claim_for_practice(tmp_path)
    settings = Settings(data_directory=tmp_path)
    with pytest.raises(PracticeError, match="case-ledger practice"), open_store(settings):
        pass


@pytest.mark.parametrize("held", ["keys/log.key", "postgresql/PG_VERSION", "notes.txt"])
def test_a_practice_begins_in_no_directory_that_holds_anything_else(
    tmp_path: Path, held: str
) -> None:
    (tmp_path / held).parent.mkdir(exist_ok=True)
    (tmp_path / held).write_text("real")
    with pytest.raises(PracticeError, match="--directory"):
        claim_for_practice(tmp_path)
    assert not (tmp_path / MARK).exists()
    with pytest.raises(PracticeError, match="--directory"):
        reset_practice(practice_settings(tmp_path))


def test_a_real_node_serves_no_database_of_a_practice(server: str, tmp_path: Path) -> None:
    settings = practice_settings(tmp_path / "practice")
    with new_database(server) as conninfo:
        prepared_ledger(conninfo, conninfo, settings.load_protocol(), tmp_path / "keys")
        with pytest.raises(PracticeError, match="CASE_LEDGER_DATABASE_URL"):
            with_agreed_protocol(Settings(), conninfo)


def test_a_practice_begins_beside_no_real_ledger(
    server: str, begun: str, agencies: Agencies, tmp_path: Path
) -> None:
    assert not is_practice(agencies.protocol.id)
    with new_database(server, begun) as conninfo:
        name = str(conninfo_to_dict(conninfo)["dbname"])
        renamed = "real_" + DATABASE
        try:
            _rename(server, name, renamed)
            with pytest.raises(PracticeError, match="a real one"):
                PracticeLedger(practice_settings(tmp_path), server, prefix="real_")
        finally:
            _rename(server, renamed, name)


def _rename(server: str, old: str, new: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        renamed = SQL("ALTER DATABASE {} RENAME TO {}")
        connection.execute(renamed.format(Identifier(old), Identifier(new)))


def test_no_real_ledger_adopts_the_text_of_a_practice() -> None:
    unused: Any = None
    with pytest.raises(PracticeError, match="another id"):
        adopt_protocol(unused, PROTOCOL, "xk-nac", unused, [], 1)


def test_the_environment_of_a_real_node_sets_nothing_of_a_practice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CASE_LEDGER_DATABASE_URL", "postgresql://real")
    monkeypatch.setenv("CASE_LEDGER_SMTP_HOST", "mail.example.org")
    monkeypatch.setenv("CASE_LEDGER_PORT", "8420")
    settings = practice_settings(tmp_path, port=8430)
    assert settings.database_url is None
    assert settings.smtp_host is None
    assert settings.port == 8430


def test_no_real_node_has_the_pages_of_the_practice() -> None:
    paths = {getattr(route, "path", "") for route in create_app(Settings(), "").routes}
    assert not [path for path in paths if "practice" in path]


def test_the_shipped_exercises_are_for_the_shipped_protocol_alone(tmp_path: Path) -> None:
    corridor = Path(__file__).parents[2] / "examples" / "corridors"
    other = next(iter(sorted(corridor.rglob("*.toml"))))
    assert exercises_for(practice_settings(tmp_path), None) is not None
    assert exercises_for(practice_settings(tmp_path, protocol=other), None) is None


def test_an_action_that_was_signed_in_practice_is_refused_by_a_real_ledger(
    ledger: Ledger, agencies: Agencies
) -> None:
    case, agency, real = uuid4(), "xk-dhtqnj", agencies.protocol
    in_practice, in_earnest = (
        signed_action.read(
            signed_action.sign(
                opening(), agency=agency, key=agencies.keys[agency], protocol=one.id, case_id=case
            )
        )
        for one in (practice_protocol(real), real)
    )
    with pytest.raises(Refusal, match="protocol"):
        ledger.append(in_practice, case, 0)
    assert ledger.append(in_earnest, case, 0).position > 0
