"""Detect that a node's database is an older copy of its own.

:mod:`ledger.replication.history_mark` remembers how far the ledger had come. A node compares its
database with the mark when it starts, every two seconds, and before a refusal that an older copy
would explain.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from api.client.schemas.health import Effect
from api.continuity.key_faults import KeyFaults
from api.runtime.settings import Settings
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.log.merkle import Tree
from ledger.replication.history_mark import (
    HistoryMark,
    MarkFile,
    OperatorDecision,
    TakenOver,
    WitnessWentBack,
    advanced,
    decided,
    record_decision,
)
from ledger.store.database import Database
from ledger.system.periodic_worker import PeriodicWorker

RULE = "history-changed"
TAKEN_OVER = "ledger-taken-over"
TITLE = "The ledger here is not the one that was recorded"
KEEP_WITHIN_SECONDS = 1.0
"""The mark moves so soon after an event."""
_LOOK_SECONDS = 5.0
"""A notice of the database wakes the marker at each event; this is for notices that are lost."""
_log = structlog.get_logger(__name__)


def mark_file(settings: Settings) -> MarkFile:
    """Return the history mark's file, in the key directory that all processes of a node share."""
    return MarkFile(settings.key_directory / "history-mark")


class HistoryGuard:
    """Compares the database with the mark, and keeps the mark."""

    def __init__(self, ledger: Ledger, file: MarkFile, settings: Settings) -> None:
        self.when_outdated: Callable[[], None] = lambda: None
        """Called once, when what this process has in memory may be of another history."""
        self._ledger = ledger
        self._file = file
        self._settings = settings
        self._lock = threading.Lock()
        self._began: tuple[bool, int] | None = None
        """Whether the history was in doubt, and the number of decisions, at the last look."""
        self.now: tuple[Trouble, ...] = ()
        """The faults at the last look."""
        self._ahead: dict[str, int] = {}
        self._claimed: dict[str, int] = {}
        """The larger sizes that witnesses claim in this process without a proof."""
        self.is_taken_over = False
        """Whether the parties made another node the ledger node, at the last look."""

    def look(self) -> Sequence[Trouble]:
        """Compare the database with the history mark, and return the troubles.

        It is a check of readiness.
        """
        mark = self._file.read()
        if mark is not None:
            self._notice(mark)
        if mark is not None and mark.went_back is None:
            noted = self._ledger.rows.noted_size  # first: it grows while the tree is read
            tree = self._ledger.tree()
            if tree.size >= noted and mark.reached.is_in(tree):
                self._ledger.rows.note_size(tree.size)
            else:
                self.keep()
                if (mark := self._file.read()) is not None:
                    self._notice(mark)
        return self.now

    def keep(self) -> None:
        """Move the mark to where the ledger is; remember it where the ledger went back."""
        self._change(lambda mark: mark)

    @property
    def is_in_doubt(self) -> bool:
        """Return whether events may be missing.

        If so, nothing is removed that depends on an event.
        """
        return self._began is not None and self._began[0]

    def is_shorter(self) -> bool:
        """Return whether the database has fewer events than this process saw in it."""
        rows = self._ledger.rows
        return rows.frontier().size < rows.noted_size

    def went_back_from(self, size: int) -> None:
        """Remember that the database had so many events, and has fewer. Raises ``OSError``."""
        self._ledger.rows.note_size(size)
        self.look()

    def another_leads(self, found: TakenOver) -> None:
        """Remember the parties' decision that another node is the ledger node."""
        if not self.is_taken_over:
            self._change(lambda m: m.changed(taken_over=m.taken_over or found))
            _log.error("another node is the ledger node", since=found.since, told_by=found.told_by)
            self.look()

    def follows(self) -> None:
        """Forget that another node is the ledger node: this one is a country's node by now."""
        mark = self._file.read()
        if mark is not None and mark.taken_over is not None:
            self._change(lambda m: m.changed(taken_over=None))

    def witness_is_ahead(self, name: str, size: int) -> None:
        """Remember a witness that proves to hold more events than this database has."""
        self._claimed.pop(name, None)
        if self._ahead.get(name) != size:
            self._change(lambda m: m.changed(witnesses_ahead={**m.witnesses_ahead, name: size}))
            self._ahead[name] = size
            _log.error("a witness holds more events than this ledger has", witness=name, size=size)

    def witness_claims(self, name: str, size: int) -> None:
        """Remember for this process a witness that claims to hold more, and shows no proof."""
        if self._claimed.get(name) != size:
            self._claimed[name] = size
            _log.error("a witness claims more events, without a proof", witness=name, size=size)

    def claims(self) -> Sequence[Trouble]:
        """Return troubles for the witnesses' claims.

        It is a check of readiness, and forbids nothing.
        """
        return [
            Trouble(
                rule="witness-ahead",
                message=f"The witness {name} says that it holds {size} events. It shows no "
                "checkpoint of them that this log's key signed. Recording goes on. Ask the "
                "witness's country.",
                title=TITLE,
            )
            for name, size in self._claimed.copy().items()
        ]

    def witness_went_back(self, name: str, cosigned: int, holds: int) -> None:
        """Remember a witness that holds less than it cosigned."""
        found = WitnessWentBack(found_at=datetime.now(UTC), cosigned=cosigned, holds=holds)
        self._change(lambda m: m.changed(witnesses_back={name: found, **m.witnesses_back}))
        _log.error("a witness holds less than it cosigned", witness=name, size=holds)

    def witness_follows(self, name: str) -> None:
        """Forget that a witness was ahead: it cosigned a checkpoint that this ledger has."""
        self._claimed.pop(name, None)
        if name in self._ahead:
            self._change(
                lambda m: m.changed(
                    witnesses_ahead={n: s for n, s in m.witnesses_ahead.items() if n != name}
                )
            )
            del self._ahead[name]

    def _change(self, change: Callable[[HistoryMark], HistoryMark]) -> None:
        def changed(mark: HistoryMark | None) -> HistoryMark:
            # What was noted before an operator's decision no longer counts.
            known = mark is not None and self._began == _state(mark)
            noted = self._ledger.rows.noted_size if known else 0
            return change(advanced(mark, self._ledger.tree(), noted))

        self._file.change(changed)

    def _notice(self, mark: HistoryMark) -> None:
        """Clear the caches if the history is another than the one that this process began with.

        Then the process is started again, if that is possible, so that no cached data is left
        anywhere.
        """
        state = _state(mark)
        with self._lock:
            before = self._began
            if before is None:
                self._ahead = dict(mark.witnesses_ahead)
            elif before != state:
                if mark.is_in_doubt:
                    _log.error("the history is in doubt", reached=mark.reached.size)
                else:
                    self._ledger.rows.noted_size = 0  # decided: fewer events are right
                self._ledger.forget()
            self._began, self.now = state, tuple(troubles_of(mark, self._settings))
            self.is_taken_over = mark.taken_over is not None
        if before not in (None, state):
            self.when_outdated()


def _state(mark: HistoryMark) -> tuple[bool, int]:
    """Return the state of a history mark, which is the same as long as the history is the same.

    After a change, all cached data is out of date.
    """
    return mark.is_in_doubt, len(mark.decisions)


def troubles_of(mark: HistoryMark, settings: Settings) -> list[Trouble]:
    """Return the troubles that a history mark states, each with what this node's operator does."""
    found = []
    if mark.went_back is not None:
        reached, had = mark.went_back.reached, mark.went_back.had.size
        is_shorter = had < reached
        what = (
            f"The database had {had} events; the ledger had come to {reached}."
            if is_shorter
            else f"The first {reached} events in the database are not those that were recorded."
        )
        found.append(_trouble(RULE, what, Effect.NO_RECORDING, _to_decide(settings, is_shorter)))
    if (taken := mark.taken_over) is not None:
        found.append(
            Trouble(
                rule=TAKEN_OVER,
                message="The parties made another node the ledger node: the decision is at "
                f"position {taken.since} of the ledger, as {taken.told_by} proves. This node "
                f"records nothing. {_to_rejoin(settings)}",
                effect=Effect.NO_RECORDING,
                title="Another node is the ledger node",
            )
        )
    for name, size in mark.witnesses_ahead.items():
        undecided = name in mark.undecided_witnesses
        found.append(
            _trouble(
                "witness-ahead",
                f"The witness {name} holds a tree of {size} events, which this log's key signed; "
                f"the database has fewer.",
                Effect.NO_RECORDING if undecided else Effect.WARNING,
                _to_decide(settings, is_shorter=True)
                if undecided
                else "An operator decided to go on without them. Ask the witness's country, whose "
                "node has them.",
            ).model_copy(update={"protocol_goes_on": True})
        )
    for name, back in mark.witnesses_back.items():
        found.append(
            _trouble(
                "witness-went-back",
                f"The witness {name} held {back.holds} events after it had cosigned "
                f"{back.cosigned}; it was asked again from there.",
                Effect.WARNING,
                "Ask the witness's operator what happened, then run `case-ledger node "
                "accept-history`.",
            )
        )
    return found


def _trouble(rule: str, what: str, effect: Effect, to_do: str) -> Trouble:
    message = f"{what} Reading goes on. {to_do}"
    return Trouble(rule=rule, message=message, effect=effect, title=TITLE)


def _to_decide(settings: Settings, is_shorter: bool) -> str:
    """Return what the operator of this node does about a database that went back."""
    if not is_shorter:
        return (
            "Keep everything, and compare `case-ledger node history` with the other parties before "
            "anybody decides."
        )
    if settings.ledger_url is not None:
        return (
            "This copy completes itself from the ledger node. Then decide with `case-ledger node "
            "accept-history`."
        )
    if settings.countries == ():
        return (
            "Ask another country's operator for an export (`case-ledger log export --signed`), "
            "take it in with `case-ledger node complete`, then decide with `case-ledger node "
            "accept-history`."
        )
    return (
        "Complete this ledger from exports or from other nodes' copies with `case-ledger node "
        "complete`, then decide with `case-ledger node accept-history`."
    )


def _to_rejoin(settings: Settings) -> str:
    """Return what the operator of a ledger node does once another node is the ledger node."""
    if settings.countries == ():
        return (
            "This node has no country, so that it has nothing to bring back: stop `case-ledger "
            "serve`, and keep the disk as evidence."
        )
    named = "" if settings.countries else "this node's country in CASE_LEDGER_COUNTRIES and "
    return (
        f"Stop this node, name {named}the new ledger node in CASE_LEDGER_LEDGER_URL, and run "
        "`case-ledger node rejoin`."
    )


class HistoryMarker(PeriodicWorker):
    """Moves the mark within a second of an event, so that no append waits for it."""

    def __init__(self, history: HistoryGuard) -> None:
        self._history = history
        super().__init__("mark", history.keep, every=_LOOK_SECONDS)

    def _close(self) -> None:
        try:
            self._history.keep()
        except Exception as error:
            _log.warning("the mark is not moved", error=type(error).__name__)


class NothingToDecideError(ValueError):
    """Neither the database nor a witness went back."""


def accept(
    database: Database,
    tree: Callable[[], Tree],
    file: MarkFile,
    keys: KeyFaults,
    by: str,
    why: str,
) -> OperatorDecision:
    """Record an operator's decision to go on from the present database and key files.

    The decision goes first into the database, then into the mark: a node reads the mark, and then
    records again. Raises ``NothingToDecideError``.
    """
    made: list[OperatorDecision] = []

    def change(mark: HistoryMark | None) -> HistoryMark:
        if mark is None or not (mark.needs_decision or keys):
            raise NothingToDecideError("nothing went back here: there is nothing to decide")
        after, decision = decided(mark, tree(), by, why)
        lost = {
            party: tuple(sorted({*mark.lost_keys.get(party, ()), *missing}))
            for party, missing in keys.missing.items()
        }
        after = after.changed(key_files=keys.there, lost_keys={**mark.lost_keys, **lost})
        made.append(decision)
        with database.connection() as connection:
            record_decision(connection, decision)
        return after

    file.change(change)
    return made[0]
