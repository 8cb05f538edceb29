"""The audit of a country's access log across cases, by its coordinator and oversight bodies.

Each look is an entry of the same log, written before any entry is read. Who may audit is a reading
of the procedure: no published text says it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from api.services.personal_data_access import PersonalDataAccess, Reader, asked_by
from ledger.application import Ledger
from ledger.procedure.protocol import COORDINATOR, OVERSIGHT, Agency, Operation
from ledger.procedure.readings import Reading, Sought
from ledger.refusals import Ground, Refusal
from ledger.system import clock
from ledger.vault.access_log import NO_CASE, EntryFilter, EntryPage
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.picklists import Purpose

ANCHORED_EVERY_SECONDS = 3600.0
"""A node anchors the access logs of its vaults so often."""
_STEP = 500
"""Entries of a download that are in memory at once."""
_LATE_AFTER = timedelta(seconds=2 * ANCHORED_EVERY_SECONDS)
"""An anchor that has not come after twice that time is late."""


@dataclass(frozen=True, slots=True)
class AuditedEntries:
    """The entry on the look itself, and the entries that it shows."""

    look: Reading
    page: EntryPage


@dataclass(frozen=True, slots=True)
class SpanOfLog:
    """Every entry of a span, the first one first, and the entry on the look itself."""

    look: Reading
    readings: Sequence[Reading]
    changed: tuple[int, ...]
    begins_at: datetime | None
    """The time of the first entry that is kept, where earlier ones have ended."""
    is_cut: bool


@dataclass(frozen=True, slots=True)
class AnchorStanding:
    """The progress of the ledger in fixing a country's access log."""

    entries: int
    anchored: int
    unanchored_since: datetime | None
    """When the first entry was written that the ledger has not fixed; ``None``: it has all."""
    is_late: bool


def check_may_audit(agency: Agency) -> None:
    """Check that an agency may audit its country's access log. Raises ``Refusal``."""
    if agency.international or agency.role not in (COORDINATOR, OVERSIGHT):
        raise Refusal(
            Ground.NOT_ALLOWED,
            "coordinators-and-oversight",
            "The audit is for a country's coordinator and its oversight bodies.",
        )


class AccessLogAudit:
    """Audits of the access logs of the countries that a node serves."""

    def __init__(self, ledger: Ledger, vaults: Vaults, opening: PersonalDataAccess) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._opening = opening

    def entries(
        self, reader: Reader, only: EntryFilter, *, before: int | None, limit: int
    ) -> AuditedEntries:
        """Write the look down, and return the entries before it, the last one first.

        Raises ``Refusal`` (``coordinators-and-oversight``, ``unknown-case``, ``cross-site``).
        """
        vault, look = self._looked(reader, only)
        place = look.seq if before is None else min(before, look.seq)
        return AuditedEntries(look, vault.readings.filtered(only, before=place, limit=limit))

    def every(self, reader: Reader, only: EntryFilter, *, most: int) -> Iterator[Reading]:
        """Write the look down, and return an iterator of at most ``most`` entries that hold.

        Raises ``Refusal`` as :meth:`entries` does, before the iteration.
        """
        vault, look = self._looked(reader, only)
        return _pages(vault, only, look.seq, most)

    def everything(
        self, reader: Reader, only: EntryFilter, *, most: int, sought: Sought
    ) -> SpanOfLog:
        """Write the look down, and return at most ``most`` entries before it, and the changed ones.

        ``sought`` is in the entry of the look. Raises ``Refusal`` as :meth:`entries` does.
        """
        vault, look = self._looked(reader, only, sought)
        log, before = vault.readings, look.seq
        found: list[Reading] = []
        changed: list[int] = []
        following: int | None = before
        while following is not None and len(found) < most:
            page = log.filtered(only, before=following, limit=min(_STEP, most - len(found)))
            found += page.readings
            changed += page.readings.changed
            following = page.following
        begins_at = log.first_after(log.ended()[0]) if log.ended()[0] else None
        return SpanOfLog(
            look, found[::-1], tuple(sorted(changed)), begins_at, following is not None
        )

    def _looked(
        self, reader: Reader, only: EntryFilter, sought: Sought | None = None
    ) -> tuple[Vault, Reading]:
        check_may_audit(reader.agency)
        if only.case_id not in (None, NO_CASE):
            self._opening.case_of(reader, only.case_id)
        case_id = only.case_id or NO_CASE
        # The same purpose as of a review: to protect the persons whose data was opened.
        asked = asked_by(reader, case_id, Operation.AUDIT, (), Purpose.PROTECTION)
        vault = self._vaults.of(reader.agency.party)
        return vault, vault.readings.record(asked, sought=sought)

    def anchor(self, agency: Agency) -> AnchorStanding:
        """Return how far the ledger has fixed the access log of an agency's country.

        No entry's content is read, so no look is written down. Raises ``Refusal``.
        """
        check_may_audit(agency)
        log = self._vaults.of(agency.party).readings
        known = self._ledger.adopted().readings.get(agency.party)
        anchored = known.entries if known is not None else 0
        since = log.first_after(anchored)
        return AnchorStanding(
            entries=log.head()[0],
            anchored=anchored,
            unanchored_since=since,
            is_late=since is not None and clock.now() - since > _LATE_AFTER,
        )


def _pages(vault: Vault, only: EntryFilter, before: int, most: int) -> Iterator[Reading]:
    left = most
    while left > 0:
        found = vault.readings.filtered(only, before=before, limit=min(_STEP, left))
        yield from found.readings
        left -= len(found.readings) + len(found.readings.changed)
        if found.following is None:
            return
        before = found.following
