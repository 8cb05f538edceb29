"""Plays a story that was derived from a protocol's rules, and prints what each country sees."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from rich.console import Console

from api.cli.output import print_json
from api.cli.steps.case_tables import case_panel, trail_table
from api.demo.derived_story import DerivedStep
from api.demo.officials import ClientsByAgency, name_case_managers
from ledger.procedure.protocol import COORDINATOR, OVERSIGHT, Protocol
from ledger.system.identifiers import new_id

_BEGINNING = 3
"""So many steps has the case that stays open."""


def coordinators_of(protocol: Protocol) -> Sequence[str]:
    """Return the id of each party's coordinator, in the order of the parties."""
    found: dict[str, str] = {}
    for agency in protocol.agencies:
        if agency.role == COORDINATOR:
            found.setdefault(agency.party, agency.id)
    return [found[party.code] for party in protocol.parties if party.code in found]


def tell_derived(
    players: ClientsByAgency,
    console: Console,
    protocol: Protocol,
    story: Sequence[DerivedStep],
    *,
    as_json: bool,
) -> None:
    """Record the story, and print its case as each of its countries sees it, and the trail.

    A second case stays open after its first steps, so that a browser has something to
    do.
    """
    case, position = _record(players, story)
    open_case, position = _record(players, story[:_BEGINNING])
    view = players[story[0].agency].case(open_case, at_least=position).view
    _, position = name_case_managers(players, protocol, view, story[-1].acted_at)
    readers: Mapping[str, str] = {
        protocol.agencies_by_id[one].party: one for one in coordinators_of(protocol)
    }
    first = players[next(iter(readers.values()))].case(case, at_least=position).view
    views = {
        party: players[readers[party]].case(case, at_least=position).view
        for party in first.parties
        if party in readers
    }
    bodies = (agency.id for agency in protocol.agencies if agency.role == OVERSIGHT)
    reader = next(bodies, next(iter(readers.values())))
    trail = list(players[reader].trail(case, at_least=position))
    if as_json:
        print_json(
            {
                "protocol": protocol.id,
                "cases": {
                    "A": {
                        "views": {p: view.model_dump(mode="json") for p, view in views.items()},
                        "trail": [entry.model_dump(mode="json") for entry in trail],
                    }
                },
            }
        )
        return
    console.rule(f"[bold]{protocol.title}[/]: one invented case, played by its rules")
    for view in views.values():
        console.print(case_panel(view, story[-1].acted_at))
    console.rule("[bold]The case's trail in full[/]")
    console.print(trail_table(trail))


def _record(players: ClientsByAgency, steps: Sequence[DerivedStep]) -> tuple[UUID, int]:
    """Record steps as a new case. Returns the case's id and the position of its last event."""
    case, version, position = new_id(), 0, 0
    ids: dict[str, UUID] = {}
    for step in steps:
        receipt = players[step.agency].append(step.action(ids), case, version)
        ids[str(step.planned_id)] = receipt.action_id
        version, position = receipt.case_version, receipt.position
    return case, position
