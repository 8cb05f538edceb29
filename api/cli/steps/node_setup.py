"""Ask the operator for the choices of a new node, and show its checks."""

import os
from collections.abc import Sequence
from pathlib import Path

import platformdirs
import typer
from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from api.cli.output import fail, out, print_json
from api.node.setting_up.checks import Check, CheckLevel
from api.node.setting_up.hand_over import CountryHandOver, LedgerHandOver, read_hand_over
from api.node.setting_up.sides import LEDGER, Adopter, SetUpResult, SideDirectory
from api.runtime.settings import Settings
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.signing import keys

_ATTEMPTS = 3
_COLOURS = {CheckLevel.OK: "green", CheckLevel.WARNING: "yellow", CheckLevel.FAILED: "bold red"}


def choose_directory(named: Path | None, side: str, is_asking: bool) -> Path:
    """Return the node's directory, as named or as the operator types it."""
    if named is None and (known := os.environ.get("CASE_LEDGER_DATA_DIRECTORY")):
        named = Path(known)  # the settings of an earlier run are in the environment
    if named is None and is_asking:
        suggested = platformdirs.user_data_path("case-ledger") / side.lower()
        named = Path(typer.prompt("Directory for keys, settings and data", str(suggested)))
    if named is None:
        fail("name the directory of this node: --directory DIR")
    return named.resolve()


def choose_party(side: str, protocol: Protocol) -> str | None:
    """Return the country's code, or ``None`` for the ledger node's side."""
    if side.lower() == LEDGER:
        return None
    if side.upper() in protocol.party_codes:
        return side.upper()
    codes = ", ".join(sorted(protocol.party_codes))
    raise ValueError(f"{side} is neither `ledger` nor one of {codes}")


def ask_address(place: SideDirectory, side: str, named: str | None, is_asking: bool) -> str:
    """Return the address of this node: the one that is named, or that of an earlier run."""
    own = place.own_file(side)
    before = read_hand_over(own).address if own.exists() else None
    if named is None and before is None and is_asking:
        named = typer.prompt("Address at which the other nodes reach this one (https://…)")
    found = (named or before or "").rstrip("/")
    if not found:
        fail("name the address at which the other nodes reach this one: --address https://…")
    try:
        return Settings(public_url=found).public_url or found
    except ValidationError:
        fail(f"{found} is no address: write scheme, host and port alone, such as https://a.example")


def take_in(
    place: SideDirectory,
    protocol: Protocol,
    party: str | None,
    received: Sequence[Path],
    compared: Sequence[str],
    is_asking: bool,
) -> None:
    """Accept other sides' files whose fingerprints were compared by telephone."""
    digits = {"".join(one.split()) for one in compared}
    read = [(path, read_hand_over(path)) for path in received]
    for path, one in read:
        _check_side(path, one, protocol, party)
    accepted = place.accepted
    before = accepted.ledger
    for path, one in read:
        if isinstance(one, LedgerHandOver) and before is not None:
            fixed = (before.origin, before.log_key)
            if (one.origin, one.log_key) != fixed:
                fail(
                    f"{path} names another log than the file that you accepted before"
                    f" ({before.origin}): ask the ledger node's side; a log is not exchanged here"
                )
        if accepted.has(one) or "".join(one.fingerprint.split()) in digits:
            continue
        whose = f"{one.party}'s node" if isinstance(one, CountryHandOver) else "the ledger node"
        if not is_asking:
            fail(
                f"{path} is not accepted yet: call the operator of {whose}, let them read out the"
                " fingerprint of their file, and name what you hear with --compared. The digits"
                " that you named so far are not those of this file"
            )
        out.print(
            f"{escape(str(path))} is the file of {whose}. Call its operator at a number that you"
            " know, and let them read out the fingerprint of their file.",
            highlight=False,
            soft_wrap=True,
        )
        if not _typed(one.fingerprint):
            fail(f"{path} is not accepted: the other side made another file, or it was changed")
    for _, one in read:
        accepted.keep(one)


def _typed(fingerprint: str) -> bool:
    """Ask for the digits that the other person reads out.

    They are not shown, so that nobody agrees without hearing them.
    """
    for _ in range(_ATTEMPTS):
        heard = typer.prompt("The 40 digits that you hear")
        if "".join(heard.split()) == "".join(fingerprint.split()):
            out.print("[green]They are those of the file.[/]")
            return True
        out.print("[red]They differ from those of the file.[/] Listen again, group by group.")
    return False


def _check_side(
    path: Path, one: LedgerHandOver | CountryHandOver, protocol: Protocol, party: str | None
) -> None:
    one.check(protocol)
    if party is None and not isinstance(one, CountryHandOver):
        fail(f"{path} is the ledger node's own file; name the countries' files here")
    if party is not None and not isinstance(one, LedgerHandOver):
        fail(f"{path} is a country's file; name the ledger node's file here")


def adopter_of(
    protocol: Protocol, agency: str | None, key: Path | None, years: int
) -> Adopter | None:
    """Return the coordinator that signs the adoption, with its key."""
    if agency is None:
        if key is not None:
            fail("--key is the key of the coordinator that --adopt-as names")
        return None
    known = protocol.agencies_by_id.get(agency)
    if known is None or known.role != COORDINATOR:
        fail(f"{agency} is no coordinator of the protocol")
    if key is None:
        fail(f"name the private key of {agency}: --key {agency}.jwk")
    return Adopter(agency, keys.load(key), years)


def show_checks(checks: Sequence[Check], as_json: bool) -> None:
    """Print what was checked on this machine."""
    if as_json:
        return
    table = Table("what", "", "found", box=None, pad_edge=False)
    for one in checks:
        table.add_row(one.name, f"[{_COLOURS[one.level]}]{one.level}[/]", escape(one.said))
    out.print(table)


def show_side(side: str, outcome: SetUpResult, checks: Sequence[Check], as_json: bool) -> None:
    """Print what was made, and the next steps."""
    if as_json:
        print_json(
            {
                "side": side,
                "complete": outcome.is_complete,
                "settings": str(outcome.settings_file),
                "hand_over": str(outcome.own_file),
                "fingerprint": outcome.fingerprint,
                "checks": [
                    {"name": one.name, "level": one.level, "said": one.said} for one in checks
                ],
                "next": list(outcome.next),
            }
        )
        return
    out.print()
    out.print(f"Settings: {outcome.settings_file}", soft_wrap=True, highlight=False)
    out.print(f"To hand over: {outcome.own_file}", soft_wrap=True, highlight=False)
    out.print(f"Its fingerprint: [bold]{outcome.fingerprint}[/]", highlight=False)
    out.print("\n[bold]What comes next[/]")
    for one in outcome.next:
        is_command = one.startswith(("case-ledger ", "set -a", "CASE_LEDGER_"))
        indent = "    " if is_command else ""
        out.print(f"{indent}{escape(one)}", soft_wrap=True, highlight=False)
