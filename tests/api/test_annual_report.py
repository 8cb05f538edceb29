"""Two nodes and an auditor make the annual report by themselves, and have the same bytes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from api.paper.annual_report import markdown
from api.paper.languages.found import shipped
from api.services.report_sources import NoReportError, report_of_database, report_of_export
from ledger.application import Ledger, environment
from ledger.export.static_export import ExportError, write_export
from ledger.publication.publisher import published
from ledger.replication.mirror import Mirror
from ledger.signing.signed_action import read_recorded
from ledger.store.database import Database
from ledger.vocabulary.coordination import Correction, InformationRequested
from ledger.vocabulary.picklists import (
    CorrectionEffect,
    CorrectionReason,
    InformationTopic,
    Purpose,
)
from projections.reports.annual_report import AnnualReport, canonical
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.databases import new_database
from tests.support.logs import Log, LogSource
from tests.support.recorded import BEGAN, random_ledger

CASES = int(os.environ.get("CASE_LEDGER_TEST_CASES", "5"))
TOGETHER = 4


@dataclass
class Node:
    """A database, and what reports on it."""

    conninfo: str
    ledger: Ledger
    pool: Database

    def report(self, at: int | None = None, year: int = START.year) -> AnnualReport:
        return report_of_database(
            self.conninfo, self.ledger, self.pool, year, at, lambda _: None
        ).report


@pytest.fixture
def log(ledger: Ledger, database: str, agencies: Agencies) -> Iterator[Log]:
    with Database(database) as pool:
        yield Log(ledger, pool, agencies)


@pytest.fixture
def node(ledger: Ledger, database: str, log: Log) -> Node:
    """The ledger's own node, which has published what it has of two cases."""
    for to in ("me-nac", "al-nac"):
        case_id = log.open_case()
        log.act("xk-nac", request(to), case_id)
    log.publication.step()
    return Node(database, ledger, log.database)


def request(to: str) -> InformationRequested:
    return InformationRequested(
        acted_at=START + timedelta(days=1),
        addressee=to,
        topics=(InformationTopic.FAMILY,),
        purpose=Purpose.IDENTIFICATION,
    )


@contextmanager
def mirror_of(server: str, migrated: str, log: Log) -> Iterator[Node]:
    """A country's node that copied all, and what was published."""
    source = LogSource(log)
    with (
        new_database(server, migrated) as conninfo,
        Ledger(environment(conninfo)) as ledger,
        Database(conninfo) as pool,
    ):
        mirror = Mirror(ledger, pool, log.policy)
        while mirror.step(source):
            pass
        assert mirror.step_published(source)
        yield Node(conninfo, ledger, pool)


def export_of(node: Node, directory: Path) -> Path:
    last = published(node.pool)
    assert last is not None
    write_export(node.ledger.rows, last[0], directory, lambda *_: None)
    return directory


def test_who_has_the_same_events_has_the_same_bytes(
    node: Node, log: Log, server: str, migrated: str, tmp_path: Path
) -> None:
    told = node.report()
    with mirror_of(server, migrated, log) as mirror:
        assert canonical(mirror.report()) == canonical(told)
    exported = report_of_export(export_of(node, tmp_path), START.year, None, lambda _: None).report
    assert canonical(exported) == canonical(told)
    last = published(node.pool)
    assert last is not None
    assert (told.checkpoint.size, told.checkpoint.root) == (last[1].size, str(last[1]).split()[2])
    assert [c.cases for c in told.cases.opened] == [2]


def test_it_is_so_whatever_happened(
    ledger: Ledger, log: Log, database: str, server: str, migrated: str, tmp_path: Path
) -> None:
    """Of cases that went through the procedure at random, several at a time."""
    taken: set[UUID] = set()
    ended: set[UUID] = set()

    @settings(
        max_examples=-(-CASES // TOGETHER),
        deadline=None,
        database=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def fill(data: st.DataObject) -> None:
        walk = random_ledger(data, log.agencies, cases=TOGETHER, steps=10 * TOGETHER)
        for row in walk.ledger.recorded:
            if row.originator_id in walk.cases:
                action = read_recorded(row.event().action.sd_jwt)
                if action.kind == "retention_announced":
                    ended.add(row.originator_id)  # it names a time of recording, which differs here
                if row.originator_id in ended:
                    continue
                ledger.append(action, row.originator_id, row.version - 1)
                taken.add(row.originator_id)

    fill()
    assert len(taken) > CASES / 2
    log.publication.step()
    node = Node(database, ledger, log.database)
    told = node.report(year=BEGAN.year)
    assert sum(opened.cases for opened in told.cases.opened) >= len(taken)
    with mirror_of(server, migrated, log) as mirror:
        assert canonical(mirror.report(year=BEGAN.year)) == canonical(told)
    exported = report_of_export(export_of(node, tmp_path), BEGAN.year, None, lambda _: None).report
    assert canonical(exported) == canonical(told)


def test_what_comes_later_changes_no_report_of_before(
    node: Node, log: Log, server: str, migrated: str, tmp_path: Path
) -> None:
    before = canonical(node.report())
    size = node.report().checkpoint.size
    asked = next(
        e for e in node.ledger.rows.select_rows(0, 1000) if e.kind == "information_requested"
    )
    log.act("xk-dhtqnj", opening(), uuid4())
    correction = Correction(
        acted_at=START + timedelta(days=2),
        corrects=asked.action_id,
        effect=CorrectionEffect.ANNULLED,
        reason=CorrectionReason.WRONG_CASE,
    )
    log.act("xk-nac", correction, asked.originator_id)
    assert canonical(node.report()) == before  # nothing more is published
    log.publication.step()
    assert canonical(node.report()) != before
    assert canonical(node.report(at=size)) == before
    exported = export_of(node, tmp_path)
    assert canonical(report_of_export(exported, START.year, size, lambda _: None).report) == before
    with mirror_of(server, migrated, log) as mirror:
        assert canonical(mirror.report(at=size)) == before
        assert canonical(mirror.report()) == canonical(node.report())


def test_there_is_no_report_without_a_checkpoint_that_covers_it(node: Node, log: Log) -> None:
    size = node.report().checkpoint.size
    log.open_case()
    with pytest.raises(NoReportError, match=f"covers {size} events"):
        node.report(at=size + 1)
    with pytest.raises(ValueError, match="does not reach"):
        node.report(year=9000)
    with psycopg.connect(node.conninfo) as connection:
        connection.execute("DELETE FROM log.published")
    with pytest.raises(NoReportError, match="published"):
        node.report()


def test_there_is_no_report_on_what_was_altered(node: Node, tmp_path: Path) -> None:
    """Neither an event nor the tree is believed without the other."""
    directory = export_of(node, tmp_path)
    (entries,) = (directory / "tile" / "entries" / "000.p").iterdir()
    content = bytearray(entries.read_bytes())
    content[-20] ^= 1
    entries.write_bytes(bytes(content))
    with pytest.raises(NoReportError, match="not the recorded one"):
        report_of_export(directory, START.year, None, lambda _: None)
    entries.unlink()
    with pytest.raises(ExportError):
        report_of_export(directory, START.year, None, lambda _: None)
    last = node.report().checkpoint.size
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        altering = "UPDATE ledger.events SET {} WHERE notification_id = %s"
        connection.execute(altering.format("state = state || ' '::bytea").encode(), (last,))
        with pytest.raises(NoReportError, match="not the recorded one"):
            node.report()
        zeroes = "leaf_hash = decode(repeat('00', 32), 'hex')"
        connection.execute(altering.format(zeroes).encode(), (last,))
        with pytest.raises(NoReportError, match="not those of the checkpoint"):
            node.report()


@pytest.mark.parametrize("language", shipped())
def test_people_read_the_same_numbers(node: Node, language: str) -> None:
    report = node.report()
    page = markdown(report, language)  # type: ignore[arg-type]
    assert page == markdown(report, language)  # type: ignore[arg-type]
    assert page.startswith("# ")
    assert report.checkpoint.root in page
    assert "report." not in page  # every text is there
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables}) > 3
    told = {"en": "not for publication", "sq": "nuk është për publikim", "cnr": "nije za"}
    assert told[language] in page
