"""Checks of vaults and their access logs, which the worker makes all the time.

One pass goes through all cases in the order of their ids: at once when the process starts, since
the database may be a restored copy, and then within half a day each. Cases with new events are
checked after a while too, so that what other countries send has time to come.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import structlog

from api.client.schemas.health import Effect
from api.exchange.access_log_anchor import anchored_readings
from api.runtime.trouble import Trouble
from ledger.application import Ledger
from ledger.events.event import ActionRecorded
from ledger.procedure.case import Case
from ledger.procedure.protocol import Protocol
from ledger.replication.outbox import Outbox
from ledger.store.database import Database
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.access_log import Readings
from ledger.vault.data_keys import DataKeys
from ledger.vault.documents.chunk_store import ChunkStore
from ledger.vault.documents.content_messages import ContentRefusal
from ledger.vault.documents.content_standings import ContentState
from ledger.vault.required_disclosures import FieldPart
from ledger.vault.vault import Vault, Vaults
from ledger.vault.vault_check import Checked, VaultCheck

_STEP_CASES = 20
_BATCH_EVENTS = 500
_LOOK_SECONDS = 5.0
_SOONEST_LOOK_SECONDS = 1.0
_FIRST_SHARE = 0.25
"""The share of one processor that the first pass after a start takes."""
_SHARE = 0.02
_PASS_SECONDS = 12 * 3600.0
"""A pass takes no longer: half a day is left for a node that was stopped."""
_SHORTEST_SECONDS = 5.0
_LONGEST_SECONDS = 60.0
_READINGS_SECONDS = 24 * 3600.0
_FIRST_READINGS_SECONDS = 60.0
_BACKOFF = Backoff(1.0, 30.0)
_PAUSE_FINDINGS = 1_000
"""Counting ends here: where so much differs, `verify` says all."""
_log = structlog.get_logger(__name__)

GivenUp = Callable[[str], Collection[UUID]]
"""Returns the persons of a country whose data keys an operator gave up as lost."""


@dataclass(frozen=True, slots=True)
class _Facts:
    """The check's questions to this node's ledger and outbox."""

    ledger: Ledger
    outbox: Outbox

    def recorded(self, action_ids: Sequence[UUID]) -> Mapping[UUID, ActionRecorded]:
        if not action_ids:
            return {}
        rows = self.ledger.rows_of_actions(action_ids)
        return {row.action_id: row.event() for row in rows}

    def undecided(self, action_ids: Sequence[UUID]) -> set[UUID]:
        return self.outbox.undecided(action_ids) if action_ids else set()

    def cases(self, case_ids: Sequence[UUID]) -> Mapping[UUID, Case]:
        return self.ledger.cases(case_ids, keep=False)

    def next_cases(self, after: UUID, limit: int) -> Sequence[UUID]:
        return self.ledger.next_subjects(after, limit)

    def receives(self, party: str) -> bool:
        registry = self.ledger.registry()
        return registry is not None and party in registry.country_keys


def vault_check(
    ledger: Ledger,
    database: Database,
    outbox: Outbox,
    party: str,
    keys: DataKeys,
    chunks: ChunkStore,
) -> VaultCheck:
    """Return the check of one country's vault against this node's ledger."""
    return VaultCheck(database, party, keys, _Facts(ledger, outbox), chunks)


class VaultChecker(PeriodicWorker):
    """Checks the vaults and access logs of this node, in one thread."""

    def __init__(
        self,
        ledger: Ledger,
        database: Database,
        outbox: Outbox,
        vaults: Vaults,
        matrix_of: Callable[[], Protocol],
        *,
        patience: float = 60.0,
        given_up: GivenUp = lambda _: (),
        is_in_doubt: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare the checks of the vaults.

        ``matrix_of`` returns the protocol whose access matrix the vaults' tables have. ``patience``
        is how many seconds the fields from other countries may take to arrive.
        """
        self._ledger = ledger
        self._database = database
        self._vaults = vaults
        self._matrix_of = matrix_of
        self._patience = patience
        self._given_up = given_up
        self._is_in_doubt = is_in_doubt
        self._look_seconds = min(_LOOK_SECONDS, max(_SOONEST_LOOK_SECONDS, patience / 10))
        self.when_missing: Callable[[], None] = lambda: None
        """Called when a check found that something is missing by the ledger."""
        self.when_content_gone: Callable[[], None] = lambda: None
        """Called when the content of another country's document is to come again."""
        self._checks = {
            vault.party: vault_check(
                ledger, database, outbox, vault.party, vault.keys, vault.documents.chunks
            )
            for vault in vaults
        }
        self._lock = threading.Lock()
        self._differing: dict[str, int] = {}
        """Findings of each vault: in the last pass, or in this one where there are more."""
        self._this_pass: dict[str, int] = {}
        self._readings: dict[str, int] = {}
        self._readings_at = time.monotonic() + _FIRST_READINGS_SECONDS
        self._step_at = 0.0
        self._after = UUID(int=0)
        """The pass goes on after this case."""
        self._steps, self._steps_of_last_pass = 0, 0
        self._heads: deque[tuple[float, int]] = deque()
        """Positions of the ledger, with when they were seen, by the monotonic clock."""
        self._settled: int | None = None
        """Fields of the events up to this position had their time to come from other countries."""
        self._checked_upto = 0
        """The cases of events up to here were checked since."""
        self._touched: set[UUID] = set()
        super().__init__(
            "check_vaults", self._work_once, every=self._look_seconds, backoff=_BACKOFF
        )

    def troubles(self) -> Sequence[Trouble]:
        """Return the troubles that the checks found."""
        with self._lock:
            found = [_vault_trouble(party, n) for party, n in self._differing.items() if n]
            found += [_readings_trouble(party, n) for party, n in self._readings.items() if n]
        for vault in self._vaults:
            found += missing_troubles(vault, timedelta(seconds=self._patience))
            found += content_troubles(vault, timedelta(seconds=self._patience))
        return found

    def touch(self, case_id: UUID) -> None:
        """Check a case at once: something of it that was missing came in."""
        with self._lock:
            self._touched.add(case_id)
        self.wake()

    def check(self) -> None:
        """Check all vaults and access logs now."""
        self.check_vaults()
        self._check_readings()

    def check_vaults(self) -> None:
        """Check all vaults now."""
        registry = self._ledger.registry()
        if registry is None:
            return
        self._look(time.monotonic())
        self._begin_pass()
        while self._step(registry.directory):
            pass

    def _work_once(self) -> float:
        self._work()
        return max(0.0, min(self._look_seconds, self._step_at - time.monotonic()))

    def _work(self) -> None:
        """Check the cases that changed, and take the next step of the pass if it is due."""
        registry = self._ledger.registry()
        if registry is None or self._is_in_doubt():
            self._step_at = time.monotonic() + _SOONEST_LOOK_SECONDS
            return
        began = time.monotonic()
        self._look(began)
        self._follow(registry.directory)
        if began >= self._step_at:
            if self._after.int == 0:
                self._begin_pass()
            began = time.monotonic()
            self._step(registry.directory)
            now = time.monotonic()
            self._step_at = now + self._pause(now - began)
        if time.monotonic() >= self._readings_at:
            self._check_readings()
            self._readings_at = time.monotonic() + _READINGS_SECONDS

    def _pause(self, seconds: float) -> float:
        """Return the seconds to wait after a step that took so many seconds."""
        if not self._steps_of_last_pass:
            return seconds / _FIRST_SHARE
        wanted = min(max(seconds / _SHARE, _SHORTEST_SECONDS), _LONGEST_SECONDS)
        return max(0.0, min(wanted, _PASS_SECONDS / self._steps_of_last_pass - seconds))

    def _look(self, now: float) -> None:
        """Note the position of the ledger; events from before the start are checked at once."""
        head = self._ledger.head()
        if self._settled is None:
            self._settled = self._checked_upto = head
        if not self._heads or self._heads[-1][1] != head:
            self._heads.append((now, head))
        while self._heads and now - self._heads[0][0] >= self._patience:
            self._settled = self._heads.popleft()[1]
        self._checked_upto = min(self._checked_upto, head)

    def _follow(self, protocol: Protocol) -> None:
        """Check the cases of events whose time to arrive is over, and those marked for it."""
        with self._lock:
            changed, self._touched = self._touched, set()
        upto = min(self._settled or 0, self._checked_upto + _BATCH_EVENTS)
        if upto > self._checked_upto:
            changed |= set(self._ledger.subjects_changed(self._checked_upto, upto))
        for vault in self._vaults:
            if changed:
                self._check_cases(vault, sorted(changed), protocol)
        self._checked_upto = max(upto, self._checked_upto)

    def _begin_pass(self) -> None:
        """Begin a new count with the faults that are of no case.

        These are the faults of the access matrix, and the keys that were given up.
        """
        self._after, self._steps, self._this_pass = UUID(int=0), 0, {}
        for vault in self._vaults:
            if removed := vault.give_up(self._given_up(vault.party)):
                _log.warning(
                    "disclosures whose keys are lost are given up",
                    party=vault.party,
                    disclosures=removed,
                )
            findings = self._checks[vault.party].matrix_findings(self._matrix_of())
            self._count(vault.party, sum(1 for _ in findings))

    def _step(self, protocol: Protocol) -> bool:
        """Check the next cases. Returns whether the pass goes on."""
        cases = sorted(
            {
                case_id
                for check in self._checks.values()
                for case_id in check.next_cases(self._after, _STEP_CASES)
            }
        )[:_STEP_CASES]
        for vault in self._vaults:
            if cases:
                self._count(vault.party, len(self._check_cases(vault, cases, protocol).findings))
        self._steps += 1
        if cases and not self.is_stopping:
            self._after = cases[-1]
            return True
        with self._lock:
            self._differing = dict(self._this_pass)
        self._after, self._steps_of_last_pass = UUID(int=0), self._steps
        return False

    def _check_cases(self, vault: Vault, cases: Sequence[UUID], protocol: Protocol) -> Checked:
        check = self._checks[vault.party]
        checked = check.check(cases, protocol)
        settled = self._settled or 0
        # An own deposit is there before its event; what others send comes later.
        missing = [
            one
            for one in checked.lacks
            if one.due.part is FieldPart.OWN or one.due.position <= settled
        ]
        vault.missing.keep(cases, missing)
        if missing:
            self.when_missing()
        if checked.superseded:
            _log.warning(
                "rows that do not hold gave way to sound ones",
                party=vault.party,
                rows=len(checked.superseded),
            )
            check.remove(checked.superseded)
        if gone := vault.contents.fetch_again(checked.broken_contents):
            _log.warning("contents that are gone are fetched again", party=vault.party, count=gone)
            self.when_content_gone()
        return checked

    def _count(self, party: str, findings: int) -> None:
        with self._lock:
            self._this_pass[party] = self._this_pass.get(party, 0) + findings
            if self._this_pass[party] > self._differing.get(party, 0):
                self._differing[party] = self._this_pass[party]

    def _check_readings(self) -> None:
        for vault in self._vaults:
            anchored = anchored_readings(self._ledger, vault.party)
            entries = self._counted(Readings(self._database, vault.party).findings(anchored))
            with self._lock:
                self._readings[vault.party] = entries

    def _counted(self, findings: Iterator[str]) -> int:
        count = 0
        for _ in findings:
            count += 1
            if count >= _PAUSE_FINDINGS or self.is_stopping:
                break
        return count


def missing_troubles(vault: Vault, patience: timedelta) -> list[Trouble]:
    """Return the trouble that a vault lacks fields that it must hold by the ledger."""
    counts = vault.missing.counts(patience=patience)
    found = []
    for is_lost, rule, what in (
        (False, "fields-missing", "are missing. The node asks the other countries for them"),
        (True, "fields-lost", "are lost: no country that should have them has them any more"),
    ):
        of = [one for one in counts if one.is_lost is is_lost]
        if parts := sum(one.parts for one in of):
            origins = ", ".join(
                f"{one.parts} {_PARTS[one.part]}{'' if one.part is FieldPart.OWN else one.origin}"
                for one in of
            )
            found.append(
                Trouble(
                    rule=rule,
                    message=f"Of what the ledger says that the vault of {vault.party} must hold, "
                    f"{parts} parts of actions' fields ({origins}) {what}. "
                    "See `case-ledger node missing`.",
                    effect=Effect.WARNING,
                    title="Fields are missing",
                )
            )
    return found


def content_troubles(vault: Vault, patience: timedelta) -> list[Trouble]:
    """Return the trouble that contents of other countries' documents do not come.

    A content that by the ledger is not to come, as after a withdrawal, is no trouble.
    """
    late = [
        one
        for one in vault.contents.counts(patience=patience)
        if one.state is ContentState.MISSING
        or (one.state is ContentState.REFUSED and one.refused not in _NOT_TO_COME)
    ]
    if not late:
        return []
    listed = ", ".join(
        f"{one.contents} of {one.origin or vault.party}"
        f"{f' ({one.refused})' if one.refused is not None else ''}"
        for one in late
    )
    return [
        Trouble(
            rule="contents-missing",
            message=f"The contents of {sum(one.contents for one in late)} documents that the vault "
            f"of {vault.party} should hold do not come ({listed}). The node goes on asking. See "
            "`case-ledger node missing`.",
            effect=Effect.WARNING,
            title="Contents of documents are missing",
        )
    ]


_NOT_TO_COME = frozenset({ContentRefusal.NOT_DUE.value, ContentRefusal.WITHDRAWN.value})
_PARTS = {
    FieldPart.OWN: "of its own agencies",
    FieldPart.CASE: "`case` fields of ",
    FieldPart.RELEASED: "released by ",
}


def _vault_trouble(party: str, findings: int) -> Trouble:
    return Trouble(
        rule="vault-differs",
        message=f"{findings} disclosures or rights in the vault of {party} are not as they were "
        f"deposited. Run `case-ledger verify vault {party}`.",
    )


def _readings_trouble(party: str, findings: int) -> Trouble:
    return Trouble(
        rule="access-log-differs",
        message=f"The access log of {party} does not hold in {findings} places. Run "
        f"`case-ledger verify readings {party}`.",
    )
