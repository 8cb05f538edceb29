"""`case-ledger import` as an operator runs it, beside the node that serves."""

from pathlib import Path

from api.demo.node_process import NodeProcess
from tests.support.command_line import CommandLine
from tests.support.htcds import rows, write_csv, write_map
from tests.support.process import wait_until_published
from tests.support.waiting import until

COORDINATORS = ("xk-nac", "me-nac", "al-nac")


def test_an_agency_brings_its_existing_cases(directory: Path, database: str) -> None:
    content = rows(40, seed=30)
    content[3]["prs_Gender"] = "zqNobodysGender"
    source = write_csv(directory / "cases.csv", content)
    names = write_map(directory / "map.toml")
    cli = CommandLine(directory, {"CASE_LEDGER_DATABASE_URL": database})
    public = {a: cli.json("keys", "new", a)["public"] for a in COORDINATORS}
    others = [w for a in COORDINATORS[1:] for w in ("--coordinator", f"{a}={public[a]}")]
    cli.json("adopt", "--as", "xk-nac", *others)
    words = ("import", str(source), "-a", "xk-nac", "--map", str(names))
    refused = cli.run("import", str(source), "-a", "xk-nac", code=1)  # without its map
    assert "map" in refused.stderr
    rehearsed = cli.run(*words, "--dry-run", code=2)
    assert "could be recorded" in rehearsed.stdout
    with NodeProcess(cli.env, directory / "serve.log") as node:
        cli.more["CASE_LEDGER_URL"] = node.url
        said = cli.run(*words, code=2)
        assert "39 (39 by this run)" in said.stdout
        assert "prs_Gender" in said.stdout
        again = cli.run(*words, "--json", code=2)
        assert '"recorded_now": 0' in again.stdout
        errors = (directory / "cases.csv.errors.csv").read_text()
        for text in (said.stdout, said.stderr, errors, again.stdout):
            assert "zq" not in text
        last = cli.json("events", "-a", "xk-nac", "--after", "1")["events"][-1]["position"]
        assert last > 80
        wait_until_published(node.url, last)
        until(lambda: len(cli.json("case", "-a", "xk-nac")) == 39, every=1)
        listed = cli.json("case", "-a", "xk-nac")
        assert cli.json("case", "-a", "me-nac") == []
        trail = cli.json("trail", "-a", "xk-nac", listed[0]["case_id"])
        assert {entry["signature"] for entry in trail} == {"valid"}
    assert cli.json("verify", "ledger")["holds"] is True
    country = CommandLine(directory, {"CASE_LEDGER_LEDGER_URL": "https://ledger.example"})
    assert "outbox" in country.run(*words, code=1).stderr
    assert cli.run("import", "nothing.csv", "-a", "xk-nac", code=1).stderr
