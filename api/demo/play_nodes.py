"""Plays the story across a ledger node and three countries' nodes, and breaks what can break."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from joserfc.jwk import OKPKey
from rich.console import Console

from api.cli.output import print_json
from api.client import LedgerClient, RefusedError, WaitingError
from api.demo import DemoError
from api.demo.machines import Machine
from api.demo.story import FORBIDDEN, STORY, Step, has_story
from api.node.setting_up.settings_file import read_settings
from api.runtime.settings import Settings
from ledger.log.note import VerifierKey
from ledger.log.policy import Policy, TrustedWitness
from ledger.procedure.named_checkpoint import named_by
from ledger.procedure.protocol import (
    COORDINATOR,
    NODE,
    KeyChange,
    Protocol,
    with_assumptions_adopted,
)
from ledger.signing import keys
from ledger.signing.key_possession import grant_of, request_of
from ledger.system.identifiers import new_id
from ledger.system.polling import Polling
from ledger.vocabulary.levels import Level
from ledger.vocabulary.registration import (
    CountryKeyRegistered,
    KeyChangeConfirmed,
    KeyRegistered,
    LogPolicyAdopted,
)

_WAIT_SECONDS = 60.0
_ALBANIA_LEAVES = 8
_LEDGER_KILLED = 24
_FORKED = 34
_DESTROYED = 44
"""After how many steps of the story something happens."""


@dataclass
class Narration:
    """The story so far: printed for people as it happens, and given to programs at the end."""

    console: Console
    quiet: bool
    scenes: dict[str, list[str]] = field(default_factory=dict)

    def scene(self, title: str) -> None:
        self.scenes[title] = []
        if not self.quiet:
            self.console.rule(f"[bold]{title}[/]", align="left")

    def shown(self, what: str) -> None:
        self.scenes[list(self.scenes)[-1]].append(what)
        if not self.quiet:
            self.console.print(f"[green]✓[/] {what}", highlight=False)


@dataclass
class World:
    """The machines, and how far the story is told."""

    directory: Path
    protocol: Protocol
    ledger: Machine
    countries: Mapping[str, Machine]
    held: Mapping[str, OKPKey]
    """Each agency's key, as it has it on a machine of its own."""
    told: Narration
    cases: dict[str, UUID] = field(default_factory=lambda: {"A": new_id(), "B": new_id()})
    versions: dict[str, int] = field(default_factory=lambda: {"A": 0, "B": 0})
    ids: dict[str, UUID] = field(default_factory=dict)
    done: int = 0
    refused: int = 0

    @property
    def machines(self) -> list[Machine]:
        return [self.ledger, *self.countries.values()]

    def client(self, agency: str, url: str | None = None, patience: float = 30) -> LedgerClient:
        """Return an agency's client of its own country's node, or of ``url``."""
        node = self.countries[self.protocol.agencies_by_id[agency].party]
        return LedgerClient(
            url or node.url,
            agency=agency,
            key=self.held[agency],
            protocol=self.protocol.id,
            patience=patience,
        )

    def coordinators(self) -> list[str]:
        return [a.id for a in self.protocol.agencies if a.role == COORDINATOR]

    def tell_until(self, number: int) -> None:
        """Play the story up to a step, with the attempts and refusals on the way."""
        while self.done < number:
            step = STORY[self.done]
            with self.client(step.agency) as client:
                receipt = client.append(
                    step.action(self.ids), self.cases[step.case], self.versions[step.case]
                )
            self._note(step, receipt.case_version, receipt.action_id)
            for attempt in (f for f in FORBIDDEN if f.after == step.name):
                try:
                    with self.client(attempt.agency) as client:
                        client.append(
                            attempt.action(self.ids),
                            self.cases[attempt.case],
                            self.versions[attempt.case],
                        )
                except RefusedError as error:
                    check(error.problem.rule == attempt.rule, f"refused by {error.problem.rule}")
                    self.refused += 1
                else:
                    raise DemoError(f"{attempt.name} was not refused")

    def hand_in(self, at_most: int) -> list[tuple[Step, UUID]]:
        """Hand steps in while the ledger node is away: each is kept and waits.

        It ends where a country would act on an event that only the other country has yet.
        """
        waiting: list[tuple[Step, UUID]] = []
        acting: dict[str, str] = {}
        for step in STORY[self.done : self.done + at_most]:
            party = self.protocol.agencies_by_id[step.agency].party
            if acting.setdefault(step.case, party) != party:
                break
            with self.client(step.agency, patience=0) as client:
                try:
                    client.append(
                        step.action(self.ids), self.cases[step.case], self.versions[step.case]
                    )
                except WaitingError as error:
                    waiting.append((step, error.outcome.action_id))
                else:
                    raise DemoError("an action was recorded without a ledger node")
            # The country goes on from what its own agencies did.
            self._note(step, self.versions[step.case] + 1, waiting[-1][1])
        return waiting

    def outcome(self, step: Step, action_id: UUID) -> Any:
        with self.client(step.agency) as client:
            return client.outcome(action_id)

    def _note(self, step: Step, version: int, action_id: UUID) -> None:
        self.versions[step.case] = version
        self.ids[step.name] = action_id
        self.done += 1


def check(holds: bool, otherwise: object) -> None:
    """Check that a condition holds.

    Raises ``DemoError`` if it does not.
    """
    if not holds:
        raise DemoError(str(otherwise))


def until(holds: Callable[[], bool], what: str) -> float:
    """Wait until something holds. Returns the seconds that it took; raises ``DemoError``."""
    polling = Polling()
    while not holds():
        if polling.waited > _WAIT_SECONDS:
            raise DemoError(f"not within {_WAIT_SECONDS:.0f} seconds: {what}")
        polling.pause()
    return polling.waited


def play_nodes(settings: Settings, *, as_json: bool) -> None:
    """Play the whole story with several nodes, in a new directory.

    Raises ``DemoError``, ``MachineError``.
    """
    protocol = with_assumptions_adopted(settings.load_protocol())
    if not has_story(protocol):
        raise DemoError(
            f"demo-nodes plays the story of other agencies than those of {protocol.id};"
            " `case-ledger demo` plays a story from that protocol's rules"
        )
    told = Narration(Console(), quiet=as_json)
    directory = settings.data_directory / "demo-nodes"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    directory.chmod(0o755)
    with _set_up(directory, protocol, told) as world:
        _story(world)
        _witness_away(world)
        _ledger_killed(world)
        _forked(world)
        _destroyed(world)
        _the_same_everywhere(world)
    if as_json:
        print_json({"scenes": told.scenes})


@contextmanager
def _set_up(directory: Path, protocol: Protocol, told: Narration) -> Iterator[World]:
    told.scene("A ledger node and three countries' nodes, each with its own keys and PostgreSQL")
    ledger = Machine(directory / "ledger")
    countries = {code: Machine(directory / code.lower()) for code in sorted(protocol.party_codes)}
    held = {agency.id: keys.generate() for agency in protocol.agencies}
    for agency in protocol.agencies:
        if agency.role == NODE:
            keys.save(held[agency.id], countries[agency.party].keys / f"{agency.id}.jwk")
    world = World(directory, protocol, ledger, countries, held, told)
    try:
        adoption = _introduce(world)
        ledger.start()
        for coordinator in world.coordinators():
            # A node may copy once its key is registered, so the ledger node is told itself.
            node = f"{coordinator[:2]}-node"
            with world.client(coordinator, ledger.url) as client:
                client.append_to_registry(_registration(world, node))
        for machine in countries.values():
            machine.start()
        told.shown(f"adopted, and compared by every country: {adoption[:16]}…")
        for machine in countries.values():
            until(lambda m=machine: m.ready().get("head", 0) > 3, "a copy of the first events")  # type: ignore[misc]
        registered = 0
        acting = {step.agency for step in STORY} | {attempt.agency for attempt in FORBIDDEN}
        for agency in protocol.agencies:
            if agency.id in acting and agency.role not in (COORDINATOR, NODE):
                with world.client(f"{agency.party.lower()}-nac") as client:
                    receipt = client.append_to_registry(_registration(world, agency.id))
                if protocol.confirming_roles(agency.role, KeyChange.REGISTRATION):
                    other = next(c for c in protocol.party_codes if c != agency.party)
                    now = datetime.now(UTC)
                    confirmed = KeyChangeConfirmed(acted_at=now, proposal=receipt.action_id)
                    with world.client(f"{other.lower()}-nac") as client:
                        client.append_to_registry(confirmed)
                registered += 1
        told.shown(f"{registered} agencies' keys registered through their own countries' nodes")
        for code, machine in countries.items():
            with world.client(f"{code.lower()}-nac") as client:
                key = machine.run("keys", "country", code)
                client.append_to_registry(CountryKeyRegistered(acted_at=datetime.now(UTC), key=key))
        told.shown("each country's key registered, to which the others seal what it may have")
        yield world
    finally:
        for machine in world.machines:
            machine.stop()


def _story(world: World) -> None:
    world.told.scene("The story begins")
    world.tell_until(_ALBANIA_LEAVES)
    head = _head(world.ledger)
    for machine in world.countries.values():
        until(lambda m=machine: _published(m) >= head, "a published checkpoint everywhere")  # type: ignore[misc]
    world.told.shown(
        f"{world.done} actions through two countries' nodes; {head} events copied, verified and "
        "cosigned by three"
    )


def _witness_away(world: World) -> None:
    world.told.scene("Albania's node is down")
    albania = world.countries["AL"]
    albania.stop()
    before = _published(world.ledger)
    world.tell_until(_LEDGER_KILLED)
    head = _head(world.ledger)
    until(lambda: _published(world.ledger) >= head, "publication without Albania")
    ready = world.ledger.ready()
    check(ready["witnesses"]["XK"] >= head > ready["witnesses"]["AL"], ready)
    world.told.shown(
        f"appends go on, to position {head}; Kosovo's and Montenegro's witnesses publish it, as "
        f"the protocol says; Albania's stands at {ready['witnesses']['AL']}"
    )
    check(before < head, "nothing was recorded without Albania")
    albania.start()
    took = until(lambda: world.ledger.ready()["witnesses"]["AL"] >= head, "Albania's cosignature")
    world.told.shown(
        f"Albania returns, copies, verifies from where it was, and cosigns {took:.1f} s later"
    )


def _ledger_killed(world: World) -> None:
    world.told.scene("The ledger node loses power")
    head = _head(world.ledger)
    until(lambda: all(_head(m) == head for m in world.countries.values()), "equal copies")
    world.ledger.kill()
    world.ledger.copy_to(world.directory / "stolen", port=world.ledger.port)
    waiting = world.hand_in(4)
    check(len(waiting) > 1, "too little was handed in")
    states = {world.outcome(*handed).state for handed in waiting}
    check(states <= {"waiting"}, states)
    with world.client("xk-nac") as client:
        check(len(list(client.cases())) == len(world.cases), "cases cannot be read")
    world.told.shown(
        f"{len(waiting)} actions are kept in two countries' outboxes; cases are still read"
    )
    world.ledger.start()
    took = until(
        lambda: all(world.outcome(*handed).receipt is not None for handed in waiting),
        "an outcome for each action that waited",
    )
    positions = [world.outcome(*handed).receipt.position for handed in waiting]
    world.told.shown(f"it returns; {took:.1f} s later all are recorded, at {positions}")
    world.tell_until(_FORKED)


def _forked(world: World) -> None:
    world.told.scene("Someone with an old disk of the ledger node, and its key, tells another past")
    head = _head(world.ledger)
    until(lambda: all(_published(m) >= head for m in world.countries.values()), "publication")
    world.ledger.stop()
    forger = Machine(world.directory / "stolen", port=world.ledger.port)
    forger.settings = dict(world.ledger.settings)
    forger.start()
    try:
        while _head(forger) <= head:
            with world.client("al-nac", forger.url) as client:
                client.append_to_registry(_registration(world, "al-spak", keys.generate()))
        for code, machine in world.countries.items():
            until(
                lambda m=machine: m.ready().get("rule") == "log-diverged",  # type: ignore[misc]
                f"{code} notices the fork",
            )
        check(_published(forger) < head, "a forked checkpoint was published")
    finally:
        forger.destroy()
    for code, machine in world.countries.items():
        with world.client(f"{code.lower()}-nac") as client:
            check(len(list(client.events().events)) > 0, "events cannot be read")
        machine.stop()
        (found,) = machine.json("node", "evidence")
        check(found["held"] != found["refused"] and found["settled_at"] is None, found)
        world.told.shown(
            f"{code} copies nothing of it, cosigns nothing, keeps both signed notes: "
            f"{found['what']}"
        )
        machine.run("node", "settle", "--why", "A stolen disk was used; it is destroyed.")
    world.ledger.start()
    for machine in world.countries.values():
        machine.start()
    world.told.shown("the parties have looked at it, and go on with the ledger that they know")


def _destroyed(world: World) -> None:
    world.told.scene("The ledger node is destroyed for good")
    world.tell_until(_DESTROYED)
    head = _head(world.ledger)
    world.ledger.destroy()
    waiting = world.hand_in(2)
    heir = world.countries["ME"]
    new_log = VerifierKey.parse(heir.run("log", "key"))
    witnesses = {code: _witness(machine, code) for code, machine in world.countries.items()}
    policy = str(Policy.of(new_log, witnesses, world.protocol.publishing_parties))
    decisions = []
    for coordinator in world.coordinators():
        # Each coordinator signs at home; only the signed word travels.
        path = world.directory / f"{coordinator}.decision"
        with world.client(coordinator) as client:
            action = LogPolicyAdopted(
                acted_at=datetime.now(UTC),
                policy=policy,
                checkpoint=named_by(client.checkpoint()),
            )
            path.write_text(f"{client.sign(action, None)}\n", encoding="ascii")
        decisions.append(str(path))
    heir.stop()
    others = [world.countries[code].url for code in ("XK", "AL")]
    pulled = [word for url in others for word in ("--also-from", url)]
    taken = heir.json("node", "take-over", *decisions, *pulled)
    check(taken["decision"] == head + len(decisions), taken)
    world.told.shown(
        f"Montenegro's copy has all {head} events; the three coordinators' signed decision is "
        f"recorded at {head + 1} to {taken['decision']}"
    )
    del heir.settings["ledger_url"]
    world.ledger = heir
    heir.start()
    for code, machine in world.countries.items():
        if machine is not heir:
            machine.settings["ledger_url"] = heir.url
            machine.stop()
            machine.start()
            world.told.shown(f"{code} follows it, as the recorded decision says")
    for handed in waiting:
        until(lambda h=handed: world.outcome(*h).receipt is not None, "an outcome")  # type: ignore[misc]
    world.told.shown(f"the {len(waiting)} actions that waited in outboxes are recorded")
    world.tell_until(len(STORY))
    world.told.shown(f"the story ends: {world.done} actions, {world.refused} others refused")


def _the_same_everywhere(world: World) -> None:
    world.told.scene("What each country has in the end")
    head = _head(world.ledger)
    machines = world.countries
    until(lambda: all(_published(m) >= head for m in machines.values()), "publication everywhere")
    trails = {}
    for code in ("XK", "ME"):
        with world.client(f"{code.lower()}-nac") as client:
            trails[code] = [
                entry.model_dump(mode="json")
                for case_id in world.cases.values()
                for entry in client.trail(case_id, at_least=head)
            ]
    check(trails["XK"] == trails["ME"], "the countries' audit trails differ")
    world.told.shown(
        f"Kosovo's and Montenegro's audit trails are one and the same: {len(trails['XK'])} acts"
    )
    for viewer, other in (("XK", "ME"), ("ME", "XK")):
        expected = _told_by(world, other)
        until(lambda v=viewer, e=expected: e <= _disclosed(world, v), "the other country's fields")  # type: ignore[misc]
        world.told.shown(
            f"{viewer} holds all {len(expected)} notes for both countries that {other} recorded, "
            "sealed on the way, checked against the signed digests"
        )
    roots = set()
    for code, machine in machines.items():
        machine.stop()
        report = machine.json("verify", "ledger", "--policy", str(machine.home / "policy"))
        check(report["holds"] and report["covered"] == report["events"] == head, report)
        roots.add(report["root"])
        world.told.shown(
            f"{code} verifies its {report['events']} events: signatures, rules, tree, "
            f"{report['checkpoints']} checkpoints"
        )
    check(len(roots) == 1, roots)


def _told_by(world: World, party: str) -> set[str]:
    """Return the ``case`` texts that a country's agencies recorded in the story.

    Both countries may read these texts.
    """
    return {
        value
        for step in STORY
        if world.protocol.agencies_by_id[step.agency].party == party
        for action in (step.action(world.ids),)
        for name, value in action.disclosable_claims().items()
        if action.level(name).level is Level.CASE and isinstance(value, str)
    }


def _disclosed(world: World, party: str) -> set[str]:
    with world.client(f"{party.lower()}-nac") as client:
        return {
            value
            for case_id in world.cases.values()
            for one in client.case(case_id).disclosed
            for value in one.fields.values()
            if isinstance(value, str)
        }


def _witness(machine: Machine, code: str) -> TrustedWitness:
    key = VerifierKey.parse(machine.run("witness", "key", code))
    return TrustedWitness(key, f"{machine.url}/witness/{code}")


def _introduce(world: World) -> str:
    """Set every node up as people do, by `node init` on each side. Gives the adoption's hash."""

    def init(machine: Machine, side: str, *words: str) -> dict[str, Any]:
        at = ("--address", machine.url, "--port", str(machine.port))
        place = ("--directory", str(machine.home))
        done: dict[str, Any] = machine.json("node", "init", side, *place, *at, *words)
        return done

    def handed(done: Mapping[str, Any]) -> tuple[str, ...]:
        # The fingerprint is what people read out to each other by telephone.
        return ("--from", str(done["hand_over"]), "--compared", str(done["fingerprint"]))

    first = handed(init(world.ledger, "ledger"))
    files: list[str] = []
    for coordinator in world.coordinators():
        code = coordinator[:2].upper()
        path = world.directory / f"{coordinator}.public.json"
        key = world.held[coordinator]
        request = request_of(key, protocol=world.protocol.id, agency=coordinator)
        path.write_text(request.model_dump_json())
        machine = world.countries[code]
        files += handed(init(machine, code, *first, "--coordinator", str(path)))
    signer = world.coordinators()[0]
    own = world.directory / f"{signer}.jwk"
    keys.save(world.held[signer], own)
    signs = ("--adopt-as", signer, "--key", str(own))
    second = handed(init(world.ledger, "ledger", *files, *signs))
    world.ledger.settings |= read_settings(world.ledger.home / "node.env")
    for code, machine in world.countries.items():
        check(init(machine, code, *second)["complete"], f"{code} is not set up")
        machine.settings |= read_settings(machine.home / "node.env")
    return world.countries[signer[:2].upper()].settings["adoption"]


def _registration(world: World, agency: str, key: OKPKey | None = None) -> KeyRegistered:
    now = datetime.now(UTC)
    request = request_of(key or world.held[agency], protocol=world.protocol.id, agency=agency)
    grant = grant_of(
        request, valid_from=now - timedelta(days=1), valid_until=now + timedelta(days=365)
    )
    return KeyRegistered(acted_at=now, grant=grant)


def _head(machine: Machine) -> int:
    return int(machine.ready().get("head", 0))


def _published(machine: Machine) -> int:
    return int(machine.ready().get("published", 0))
