"""An import from file to ledger: what it leaves in the ledger, the vault and its own files."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from io import StringIO
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import pytest
from joserfc.jwk import OKPKey
from rich.console import Console

from api.authentication.members import Manager, Members
from api.cli.steps import import_reports
from api.cli.steps.building import expected
from api.importing.error_file import reasons
from api.importing.files import ImportFileError
from api.importing.import_run import ImportConflictError, Importer, Order, Progress, Summary
from api.importing.journal import JournalError
from api.keys.country_keys import country_key, country_keys, person_keys, search_keys
from api.runtime.settings import Settings
from ledger.application import Ledger, environment
from ledger.importing.import_map import load_map
from ledger.importing.preparing import case_id_of
from ledger.refusals import Refusal
from ledger.signing import keys as agency_keys
from ledger.signing import signed_action
from ledger.store.database import Database
from ledger.vault.file_numbers import FileNumbers
from ledger.vault.vault import Vault
from ledger.verification.evidence_reader import kept_in, registered_keys, stored_rows
from ledger.verification.verification import verify_ledger
from ledger.vocabulary.levels import Level
from ledger.vocabulary.registration import KeyRegistered, KeyRevoked
from projections.tables.view_queries import ViewReader
from projections.upkeep.runner import ViewRunner
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies
from tests.support.htcds import MAP, rows, write_csv, write_json_lines
from tests.support.leaks import everything_logged, tables_with
from tests.support.messy_files import messy_files
from tests.support.strategies import found_in
from tests.support.vaults import values
from tests.support.views import rows_of, wait_for

MARK = re.compile(r"zq[0-9a-f]{16}")


class Machine:
    """A node's machine: its settings, its database, and a directory for files."""

    def __init__(self, directory: Path, conninfo: str, agencies: Agencies) -> None:
        self.directory = directory
        self.conninfo = conninfo
        self.agencies = agencies
        self.settings = Settings(data_directory=directory / "data")

    def order(self, source: Path, text: str = MAP, **more: object) -> Order:
        order = Order(
            source=source,
            agency="xk-nac",
            private=self.agencies.keys["xk-nac"],
            import_map=load_map(text.encode(), Path("map")),
            map_digest=text,
            errors=source.with_suffix(".errors"),
            workers=1,
        )
        return replace(order, **more)  # type: ignore[arg-type]

    def run(self, order: Order, progress: Callable[[Progress], None] = lambda _: None) -> Summary:
        with (
            Ledger(environment(self.conninfo, pool_size=2)) as ledger,
            Database(self.conninfo, max_size=2) as database,
        ):
            return Importer(self.settings, ledger, database, order, expected).run(progress)

    def csv(self, content: Sequence[Mapping[str, str]], name: str = "cases.csv") -> Path:
        return write_csv(self.directory / name, content)

    def import_id(self, source: Path) -> UUID:
        head = source.with_name(f"{source.name}.journal").read_text().splitlines()[0]
        return UUID(json.loads(head)["import"])

    def counts(self) -> tuple[int, int]:
        """Events of cases, and disclosures."""
        with psycopg.connect(self.conninfo) as connection:
            found = connection.execute(
                "SELECT (SELECT count(*) FROM ledger.events WHERE topic NOT LIKE 'key_%'"
                " AND topic <> 'protocol_adopted'), (SELECT count(*) FROM vault_xk.disclosures)"
            ).fetchone()
        assert found is not None
        return found[0], found[1]

    def holds(self) -> None:
        with psycopg.connect(self.conninfo) as connection:
            stored = list(stored_rows(connection))
            kept, registered = kept_in(connection, None), registered_keys(stored)
        report = verify_ledger(stored, kept, keys=registered, workers=1)
        assert report.holds, report.findings[:3]


@pytest.fixture
def machine(directory: Path, database: str, ledger: Ledger, agencies: Agencies) -> Machine:  # noqa: ARG001
    return Machine(directory, database, agencies)


def test_each_row_becomes_a_case_and_its_values_a_vaults(machine: Machine) -> None:
    content = rows(30, seed=1)
    source = machine.csv(content)
    seen: list[Progress] = []
    with everything_logged() as said:
        summary = machine.run(machine.order(source, chunk=40), seen.append)
    assert (summary.mark.rows, summary.mark.recorded, summary.mark.refused) == (30, 30, 0)
    assert seen[-1].bytes_read == seen[-1].bytes_total == source.stat().st_size
    machine.holds()
    import_id = machine.import_id(source)
    own = {"XK": country_key(machine.settings, "XK")}
    with Ledger(environment(machine.conninfo)) as ledger, Database(machine.conninfo) as database:
        vault = Vault(database, "XK", person_keys(machine.settings, own)["XK"])
        for number, row in enumerate(content, 2):
            case_id = case_id_of(import_id, number)
            case = ledger.case(case_id)
            assert case is not None
            assert case.state.status == row.get("cas_Status", "Active")
            assert case.state.trafficking_status == row["vic_TraffickingStatus"]
            held = values(vault, case_id, Level.PERSONAL)
            assert held["first_name"] == row["prs_FirstName"]
            assert held["identity_number"] == row["prs_IdentityNumber"]
            assert held.get("health_note") == row.get("service_started.health_note")
    marks = set(MARK.findall(source.read_text()))
    assert len(marks) > 150
    assert tables_with(machine.conninfo, marks) == {}
    written = [p for p in machine.directory.rglob("*") if p.is_file() and p != source]
    assert {p.name for p in written} >= {"cases.csv.journal", "cases.errors"}
    for path in written:
        assert not found_in(marks, path.read_bytes()), path
    assert not found_in(marks, said.getvalue())


def test_views_follow(machine: Machine) -> None:
    source = machine.csv(rows(12, seed=2))
    with ViewRunner(machine.conninfo), Database(machine.conninfo) as database:
        summary = machine.run(machine.order(source))
        assert summary.last is not None
        wait_for(ViewReader(database), summary.last, 60)
    ids = [str(case_id_of(machine.import_id(source), number)) for number in range(2, 14)]
    seen = {row[0]["case_id"] for row in rows_of(machine.conninfo, "case_views")}  # type: ignore[index]
    assert seen == set(ids)


def test_json_lines_say_the_same(machine: Machine) -> None:
    content: list[dict[str, object]] = [dict(row) for row in rows(8, seed=3)]
    for row in content:
        row["vic_TypeOfExploitation"] = str(row["vic_TypeOfExploitation"]).split(";")
        if "vic_AgeWhenTrafficked" in row:
            row["vic_AgeWhenTrafficked"] = int(str(row["vic_AgeWhenTrafficked"]))
    source = write_json_lines(machine.directory / "cases.jsonl", content)
    with source.open("a") as file:
        file.write('\n[1]\n{"a": 1, "a": 2}\n{"zqUnknown": 1}\nnot JSON\n')
    summary = machine.run(machine.order(source))
    assert (summary.mark.recorded, summary.mark.refused) == (8, 4)
    lines = (machine.directory / "cases.errors").read_text()
    assert "zqUnknown" not in lines
    assert [line.split(",")[0] for line in lines.splitlines()[1:]] == ["10", "11", "12", "13"]
    machine.holds()


def test_a_rehearsal_writes_the_error_file_and_nothing_else(machine: Machine) -> None:
    content = rows(6, seed=4)
    content[2]["prs_Gender"] = "zqNone"
    source = machine.csv(content)
    summary = machine.run(machine.order(source, dry_run=True))
    assert (summary.mark.recorded, summary.mark.refused) == (5, 1)
    assert machine.counts() == (0, 0)
    assert {p.name for p in machine.directory.iterdir()} == {"cases.csv", "cases.errors"}
    (line,) = (machine.directory / "cases.errors").read_text().splitlines()[1:]
    assert line.startswith("4,prs_Gender,case_opened,gender,value,")
    assert "Feminine" in line
    assert "zqNone" not in line


def test_refused_rows_are_named_and_the_others_recorded(machine: Machine) -> None:
    content = rows(9, seed=5)
    content[0]["found_on"] = ""
    content[1]["found_on"] = "2999-01-01"
    content[2] = dict(content[3])
    content[4]["per_RoleInProcess"] = "Exploiter"
    content[5]["cas_Status"] = "FollowUp"
    source = machine.csv(content)
    with source.open("a") as file:
        file.write("too,few\n\n")
    summary = machine.run(machine.order(source))
    assert (summary.mark.rows, summary.mark.recorded, summary.mark.refused) == (10, 4, 6)
    why: Counter[str] = Counter()
    for reason, count in reasons(machine.order(source).errors):
        why[reason.rule] += count
    assert why == Counter(
        {"no-date": 2, "missing": 1, "acted-in-future": 1, "duplicate-row": 1,
         "status-differs": 1, "row-shape": 1}
    )  # fmt: skip
    machine.holds()
    # Better columns in the map let refused rows in; what is recorded is not recorded again.
    better = MAP + '[values.cas_Status]\nFollowUp = "Active"\n'
    again = machine.run(machine.order(source, better))
    assert (again.recorded_now, again.mark.recorded, again.mark.refused) == (1, 5, 5)
    machine.holds()


def test_nothing_is_recorded_twice(machine: Machine) -> None:
    source = machine.csv(rows(10, seed=6))
    machine.run(machine.order(source))
    before = machine.counts()
    assert machine.run(machine.order(source)).recorded_now == 0
    # Nor where the journal is lost, or the file has another name.
    machine.order(source).journal.unlink()
    assert machine.run(machine.order(source)).recorded_now == 0
    renamed = source.rename(machine.directory / "renamed.csv")
    summary = machine.run(machine.order(renamed))
    assert (summary.recorded_now, summary.mark.recorded) == (0, 10)
    assert machine.counts() == before


def test_it_goes_on_where_it_was_stopped(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    content = rows(20, seed=7)
    content[1]["prs_Gender"] = "none"
    source = machine.csv(content)
    monkeypatch.setattr("api.importing.import_run.BATCH", 4)

    class StopError(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.mark.rows >= 12:
            raise StopError

    order = machine.order(source, chunk=10)
    with pytest.raises(StopError):
        machine.run(order, stop)
    events, _ = machine.counts()
    assert events > 0
    summary = machine.run(order)
    assert (summary.mark.rows, summary.mark.recorded, summary.mark.refused) == (20, 19, 1)
    assert 0 < summary.recorded_now < 19
    (reason,) = reasons(order.errors)
    assert reason[1] == 1
    machine.holds()


def test_an_input_that_changed_is_noticed(machine: Machine) -> None:
    content = rows(4, seed=8)
    source = machine.csv(content)
    machine.run(machine.order(source))
    content[0]["prs_FirstName"] = "zqOther"
    machine.csv(content)
    with pytest.raises(JournalError, match="file of their own") as refused:
        machine.run(machine.order(source))
    assert "zqOther" not in str(refused.value)


def test_two_processes_do_not_import_one_file(machine: Machine) -> None:
    source = machine.csv(rows(4, seed=9))

    def again(_: Progress) -> None:
        with pytest.raises(JournalError, match="another process"):
            machine.run(machine.order(source))

    assert machine.run(machine.order(source), again).mark.recorded == 4


def test_a_case_that_was_recorded_meanwhile_stops_the_import(machine: Machine) -> None:
    source = machine.csv(rows(4, seed=10))
    order = machine.order(source)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Importer, "_known", lambda *_: set())
        machine.run(order)
        before = machine.counts()
        order.journal.unlink()
        with pytest.raises(ImportConflictError):
            machine.run(order)
    assert machine.counts() == before


@pytest.mark.parametrize(
    ("agency", "of", "rule"),
    [
        ("xk-nac", "me-nac", "key-of-another-agency"),
        ("xk-nac", None, "unknown-key"),
        ("xk-unheard-of", "xk-nac", "unknown-agency"),
    ],
)
def test_a_key_that_is_not_the_agencys_signs_nothing(
    machine: Machine, agency: str, of: str | None, rule: str
) -> None:
    key = machine.agencies.keys[of] if of else agency_keys.generate()
    with pytest.raises(Refusal) as refused:
        machine.run(machine.order(machine.csv(rows(2)), agency=agency, private=key))
    assert refused.value.rule == rule
    assert machine.counts() == (0, 0)


def another_key(machine: Machine, ledger: Ledger, member: UUID | None = None) -> OKPKey:
    """A second key of the coordinator's, which may be revoked without losing the first."""
    key = agency_keys.generate()
    grant = machine.agencies.grant("xk-nac", key)
    registered = KeyRegistered(acted_at=PAST, grant=grant, member=member)
    signed = machine.agencies.sign("xk-nac", registered, None)
    ledger.append_to_registry(signed_action.read(signed))
    return key


def revoke(machine: Machine, ledger: Ledger, key: OKPKey) -> None:
    revoked = KeyRevoked(acted_at=START, key_id=agency_keys.key_id(key))
    ledger.append_to_registry(signed_action.read(machine.agencies.sign("xk-nac", revoked, None)))


def test_a_revoked_key_records_no_more(
    machine: Machine, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.importing.import_run.BATCH", 4)
    key = another_key(machine, ledger)
    order = machine.order(machine.csv(rows(20, seed=11)), private=key, chunk=10)
    done: list[int] = []

    def revoke_after_the_first(progress: Progress) -> None:
        if not done:
            revoke(machine, ledger, key)
            done.append(progress.mark.recorded)

    with pytest.raises(Refusal, match="revoked") as refused:
        machine.run(order, revoke_after_the_first)
    assert refused.value.rule == "revoked-key"
    machine.holds()
    events, _ = machine.counts()
    with pytest.raises(Refusal, match="revoked"):
        machine.run(order)
    assert machine.counts()[0] == events
    # The next key of the agency goes on.
    summary = machine.run(replace(order, private=machine.agencies.keys["xk-nac"]))
    assert summary.mark.recorded == 20
    machine.holds()


def test_the_key_of_a_member_who_is_disabled_records_no_more(
    machine: Machine, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key itself is revoked later, by an act on the ledger."""
    monkeypatch.setattr("api.importing.import_run.BATCH", 4)
    by = Manager("xk-nac", None)
    keys = person_keys(machine.settings, country_keys(machine.settings, ["XK"]))
    with Database(machine.conninfo) as database:
        members = Members(database, keys)
        member = members.signed_in("XK", "xk-nac", "p" * 43).id
        order = machine.order(
            machine.csv(rows(20, seed=11)), private=another_key(machine, ledger, member), chunk=10
        )
        with pytest.raises(Refusal, match="disabled"):
            machine.run(order, lambda _: members.disable(member, by))
        events, _ = machine.counts()
        with pytest.raises(Refusal, match="disabled"):
            machine.run(order)
        assert machine.counts()[0] == events
        members.enable(member, by)
        assert machine.run(order).mark.recorded == 20
    machine.holds()


def test_a_registry_that_moves_stops_nothing(
    machine: Machine, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.importing.import_run.BATCH", 4)
    order = machine.order(machine.csv(rows(12, seed=12)), chunk=5)
    summary = machine.run(order, lambda _: another_key(machine, ledger) and None)
    assert summary.mark.recorded == 12
    machine.holds()


def test_others_append_between_the_chunks(
    machine: Machine, ledger: Ledger, agencies: Agencies, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.importing.import_run.BATCH", 5)
    over, appended = threading.Event(), []

    def append() -> None:
        while not over.is_set():
            case_id = uuid4()
            signed = signed_action.read(agencies.sign("me-police-thb", opening(("ME",)), case_id))
            appended.append(ledger.append(signed, case_id, 0).position)

    other = threading.Thread(target=append)
    other.start()
    try:
        summary = machine.run(machine.order(machine.csv(rows(60, seed=13)), chunk=15))
    finally:
        over.set()
        other.join()
    assert summary.mark.recorded == 60
    assert summary.first is not None
    assert summary.last is not None
    assert any(summary.first < position < summary.last for position in appended)
    machine.holds()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "no columns"),
        ("zqName,zqOther\n1,2\n", "1, 2"),
        ("prs_FirstName,prs_FirstName\na,b\n", "same name"),
        ('prs_FirstName\na\n"b\n', "from row 3"),
    ],
)
def test_a_file_as_a_whole_may_be_none(machine: Machine, content: str, what: str) -> None:
    source = machine.directory / "cases.csv"
    source.write_text(content)
    with pytest.raises(ImportFileError, match=what) as refused:
        machine.run(machine.order(source, ""))
    assert "zq" not in str(refused.value)


def test_an_encoding_is_guessed_and_one_that_is_named_must_be_right(machine: Machine) -> None:
    source = machine.csv(rows(2, seed=14))
    source.write_bytes(source.read_text().encode("utf-16"))
    with pytest.raises(ImportFileError, match="encoding"):
        machine.run(machine.order(source, f'encoding = "utf-8"\n{MAP}'))
    done = machine.run(machine.order(source))
    assert (done.mark.recorded, done.form.encoding) == (2, "utf-16")
    assert done.form.guessed == ("encoding", "delimiter")


def test_a_vault_that_is_elsewhere_takes_nothing_in(machine: Machine) -> None:
    machine.settings = machine.settings.model_copy(update={"countries": ("ME",)})
    with pytest.raises(ValueError, match="no node of XK"):
        machine.run(machine.order(machine.csv(rows(2))))


def test_a_journal_that_is_none_is_not_believed(machine: Machine) -> None:
    source = machine.csv(rows(2))
    machine.order(source).journal.write_text('{"nothing": 1}\n')
    with pytest.raises(JournalError, match="not the journal"), ExitStack():
        machine.run(machine.order(source))


@pytest.mark.process
def test_a_spreadsheet_becomes_cases_and_a_rehearsal_shows_its_first_persons_to_a_terminal(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = (one for one in messy_files() if one.name == "titles.xlsx")
    source = machine.directory / file.name
    source.write_bytes(file.content)
    order = machine.order(source, file.told, dry_run=True)
    rehearsed = machine.run(order)
    assert (rehearsed.mark.recorded, rehearsed.mark.refused) == (3, 0)
    assert rehearsed.mark.no_cases == {"above-names": 2}
    for is_terminal in (True, False):
        screen = Console(force_terminal=is_terminal, width=160, file=StringIO())
        monkeypatch.setattr(import_reports, "out", screen)
        import_reports.print_persons(order, rehearsed)
        assert ("Šćepanović" in screen.file.getvalue()) is is_terminal  # type: ignore[attr-defined]
    done = machine.run(machine.order(source, file.told))
    assert (done.mark.recorded, done.mark.no_cases, done.form.sheet) == (
        3, {"above-names": 2}, "Slučajevi",
    )  # fmt: skip
    assert machine.run(machine.order(source, file.told)).recorded_now == 0
    machine.holds()


def test_the_agencys_own_number_is_kept_and_one_number_is_one_case(machine: Machine) -> None:
    text = f'file_number = "Broj"\n{MAP}'
    content = [{**one, "Broj": f"NJ-{n}/2024"} for n, one in enumerate(rows(5, seed=40), 1)]
    content[3]["Broj"] = "nj 2 / 2024"  # the second one in another writing
    content[4]["Broj"] = "bez broja"
    source = machine.csv(content, "numbered.csv")
    done = machine.run(machine.order(source, text))
    assert (done.mark.recorded, done.mark.refused) == (3, 2)
    told = {(one.rule, one.column) for one, _ in reasons(source.with_suffix(".errors"))}
    assert told == {("number-again", "Broj"), ("file-number-form", "Broj")}
    case_ids = [case_id_of(machine.import_id(source), row) for row in (2, 3, 4)]
    with psycopg.connect(machine.conninfo) as connection:
        kept = connection.execute(
            "SELECT case_id, agency, sealed FROM vault_xk.agency_values WHERE kind = 'file_number'"
        ).fetchall()
    assert {(row[0], row[1]) for row in kept} == {(one, "xk-nac") for one in case_ids}
    assert not any(b"2024" in bytes(row[2]) for row in kept)
    own = country_keys(machine.settings, ["XK"])
    keys = person_keys(machine.settings, own)["XK"]
    with Database(machine.conninfo, max_size=1) as database:
        numbers = FileNumbers(
            database, "XK", keys, keys.make, search_keys(machine.settings, own)["XK"]
        )
        assert numbers.find("nj 3 2024", 5) == [(case_ids[2], "xk-nac")]
        assert numbers.of_cases(case_ids)[case_ids[0]][0].number == "NJ-1/2024"
    # The same numbers come again, in a later file of the office.
    later = [{**one, "Broj": f"NJ-{n}/2024"} for n, one in enumerate(rows(3, seed=41), 2)]
    again = machine.csv(later, "later.csv")
    rehearsed = machine.run(machine.order(again, text, dry_run=True))
    assert (rehearsed.mark.recorded, rehearsed.mark.refused) == (1, 2)
    assert [one.rule for one, _ in reasons(again.with_suffix(".errors"))] == ["number-known"]
    passed = machine.run(machine.order(again, text, skip_known=True))
    assert (passed.recorded_now, passed.mark.refused) == (1, 0)
    assert machine.run(machine.order(again, text)).recorded_now == 0
    machine.holds()


UPDATING = """
file_number = "Broj"
[columns]
found_on = "case_opened.acted_at"
[defaults]
"case_opened.ground" = "police_action"
"case_opened.indicators" = "unaccompanied_child"
"case_closed.reason" = "lost_contact"
[update]
source = "document"
certainty = "confirmed"
"""


def test_a_row_of_a_known_number_records_what_it_changes(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The police may read who the person is, and not the address: that stays with the office."""
    police = {"agency": "xk-dhtqnj", "private": machine.agencies.keys["xk-dhtqnj"]}
    content = [
        {
            "Broj": f"NJ-{number}/2024",
            **{name: one[name] for name in one if name[:4] in ("prs_", "foun")},
            "case_opened.age_group": "child",
            "prs_Citizenship": "XK",
        }
        for number, one in enumerate(rows(3, seed=44), 1)
    ]
    source = machine.csv(content, "first.csv")
    assert machine.run(machine.order(source, UPDATING, **police)).mark.recorded == 3
    case_ids = [case_id_of(machine.import_id(source), row) for row in (2, 3, 4)]
    later = [dict(one) for one in content]
    later[0] |= {"prs_FirstName": "zq1111111111111111", "prs_Citizenship": "XK;AL"}
    later[1] |= {"risk_assessed.risk_level": "high", "risk_assessed.acted_at": "2025-03-01"}
    # The protocol lets this agency close no case: the row is refused, whole.
    closed = {"cas_Status": "Closed", "case_closed.acted_at": "2025-03-01"}
    later[2] |= {"prs_FirstName": "zq3333333333333333", **closed}
    later.append(content[0] | {"Broj": "NJ-9/2024", "prs_FirstName": "zq2222222222222222"})
    again = machine.csv(later, "later.csv")
    without = UPDATING.partition("[update]")[0]
    with pytest.raises(ValueError, match=r"\[update\]"):
        machine.run(machine.order(again, without, update_known=True, **police))
    before = machine.counts()
    update = {"update_known": True, **police}
    rehearsed = machine.run(machine.order(again, UPDATING, dry_run=True, **update))
    mark = rehearsed.mark
    assert (mark.updated, mark.unchanged, mark.recorded, mark.refused) == (2, 0, 1, 1)
    assert mark.not_imported == {"prs_MobilePhone": 2, "prs_MailingStreet": 2}
    assert machine.counts() == before
    assert [(row, one.name, one.after) for row, one in rehearsed.changes] == [
        (2, "first_name", "zq1111111111111111"),
        (2, "citizenship", ["XK", "AL"]),
        (3, "risk_assessed", None),
    ]
    for is_terminal in (True, False):
        screen = Console(force_terminal=is_terminal, width=160, file=StringIO())
        monkeypatch.setattr(import_reports, "out", screen)
        import_reports.print_changes(rehearsed)
        assert ("zq1111" in screen.file.getvalue()) is is_terminal  # type: ignore[attr-defined]
    done = machine.run(machine.order(again, UPDATING, map_digest="update", **update))
    assert [(one.action, n) for one, n in reasons(again.with_suffix(".errors"))] == [("", 1)]
    assert (done.mark.updated, done.mark.unchanged, done.recorded_now) == (2, 0, 1)
    with Ledger(environment(machine.conninfo, pool_size=2)) as ledger:
        cases = ledger.cases(case_ids)
    kinds = [[act.kind for act in cases[one].history.values()] for one in case_ids]
    assert kinds == [
        ["case_opened", "identity_recorded"], ["case_opened", "risk_assessed"], ["case_opened"],
    ]  # fmt: skip
    # The same file once more, as another map: nothing differs any more.
    counted = machine.counts()
    anew = machine.run(machine.order(again, UPDATING, map_digest="anew", **update))
    assert (anew.mark.updated, anew.mark.unchanged) == (0, 2)
    assert machine.counts() == counted
    with psycopg.connect(machine.conninfo) as connection:
        readings = connection.execute(
            "SELECT operation, granted, count(*) FROM vault_xk.readings GROUP BY 1, 2"
        ).fetchall()
    assert {(row[0], row[1]) for row in readings} == {("read", True), ("read", False)}
    machine.holds()
