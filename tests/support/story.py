"""The demo's story, told to a test's server by its agencies."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from api.demo.story import STORY
from tests.support.serving import Server


@dataclass(frozen=True)
class Told:
    """The ids of the story's cases, and its last position."""

    cases: dict[str, UUID]
    ids: dict[str, UUID]
    versions: dict[str, int]
    position: int


@dataclass(frozen=True)
class ToldStory:
    """The story in a database to copy, with the keys of the node that it was told to."""

    database: str
    keys: Path
    told: Told


def tell(server: Server, upto: str | None = None) -> Told:
    """Record the story, to its end or up to a step of it, and wait for the views."""
    cases = {alias: uuid4() for alias in dict.fromkeys(step.case for step in STORY)}
    ids: dict[str, UUID] = {}
    versions = dict.fromkeys(cases, 0)
    position = 0
    clients = {step.agency: server.client(step.agency) for step in STORY}
    for step in STORY:
        receipt = clients[step.agency].append(
            step.action(ids), cases[step.case], versions[step.case]
        )
        ids[step.name], versions[step.case] = receipt.action_id, receipt.case_version
        position = receipt.position
        if step.name == upto:
            break
    with server.client("xk-nac") as coordinator:
        for case_id in cases.values():
            coordinator.case(case_id, at_least=position)
            list(coordinator.trail(case_id, at_least=position))
    for client in clients.values():
        client.close()
    return Told(cases, ids, versions, position)
