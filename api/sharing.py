"""Sends what this country's agencies recorded to whom it is for, and takes in what was sent here.

``case`` fields go to every country party to the case, personal fields on a release alone. A
cursor for each recipient follows the ledger; it moves once what lies before it was handed in, so
that nothing is left out, and what is sent twice is taken in once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from api.background import Background
from api.mailing import PostOffice
from api.matching import TakeMessage
from ledger.application import Ledger
from ledger.case import Case
from ledger.case_state import Act, addressed_parties
from ledger.protocol import Operation
from ledger.registry import Registry
from ledger.sd_jwt import SdJwt
from ledger.signing import SignedAction
from ledger.store.recorder import LedgerRecorder, RecordedRow
from ledger.vault import parcels
from ledger.vault.country_key import CountryKey
from ledger.vault.disclosures import Held, Received, Vault, Vaults
from ledger.vault.parcels import Parcel, ParcelError, Presentation
from ledger.vault.readings import Asked, BasisNamed
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose

_BATCH = 200
_FETCH = 50
_EVERY_SECONDS = 0.5
_BETWEEN_BATCHES_SECONDS = 0.05
"""So that under load they are batches, and requests come first."""
_AFTER_TROUBLE_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class _Way(NamedTuple):
    """From one country's vault to another country."""

    vault: Vault
    recipient: str
    log: str
    """The keys of the log. The mailbox of a log that was taken over may be lost: with other keys
    all is handed in again."""

    @property
    def work(self) -> str:
        """The name of the cursor in the vault."""
        return f"send to {self.recipient} via {self.log}"

    @property
    def name(self) -> tuple[str, str]:
        return self.vault.party, self.work


class Sharing(Background):
    """One thread sends, one fetches, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        keys: Mapping[str, CountryKey],
        post: PostOffice,
        log: Callable[[], str],
        take_message: TakeMessage,
    ) -> None:
        """``log`` returns the keys of the log in force: each log has a mailbox of its own."""
        self._ledger = ledger
        self._vaults = vaults
        self._keys = keys
        self._post = post
        self._log = log
        self._done: tuple[str, int] | None = None
        """The log, and the ledger's head when all before it had been handed in."""
        self._reached: dict[tuple[str, str], int] = {}
        """What :meth:`_stands` knows, by the vault's country and the name of the work."""
        self._take_message = take_message
        self.may_take: Callable[[], bool] = lambda: True
        """Whether this node may take in anything new; what waits for it stays in the mailbox."""
        super().__init__(send=self._send_regularly, fetch=self._fetch_regularly)

    def _send_regularly(self) -> None:
        while not self._stopping.is_set():
            pause = _EVERY_SECONDS
            try:
                if self.send():
                    pause = _BETWEEN_BATCHES_SECONDS
            except Exception as error:
                _log.warning("sharing interrupted", error=type(error).__name__)
                pause = _AFTER_TROUBLE_SECONDS
            self._stopping.wait(pause)

    def _fetch_regularly(self) -> None:
        while not self._stopping.is_set():
            pause = _EVERY_SECONDS
            try:
                if self.may_take() and self.fetch():
                    pause = _BETWEEN_BATCHES_SECONDS
            except Exception as error:
                _log.warning("fetching interrupted", error=type(error).__name__)
                pause = _AFTER_TROUBLE_SECONDS
            self._stopping.wait(pause)

    def send(self) -> bool:
        """Hand in what one more batch of events asks for. Returns whether more may wait."""
        head = self._ledger.rows.max_notification_id() or 0
        log = self._log()
        registry = self._ledger.registry() if (log, head) != self._done else None
        if registry is None:
            return False
        behind: dict[int, list[_Way]] = {}
        for way in self._ways(registry, log):
            if (stands := self._stands(way)) < head:
                behind.setdefault(stands, []).append(way)
        is_full = False
        for after, ways in behind.items():
            is_full |= self._send_batch(after, ways, registry)
        if not behind:
            self._done = log, head
        return is_full

    def _ways(self, registry: Registry, log: str) -> Iterator[_Way]:
        """From each country whose node this is to each other that can receive."""
        for vault in self._vaults:
            for recipient in registry.country_keys:
                if recipient != vault.party:
                    yield _Way(vault, recipient, log)

    def _stands(self, way: _Way) -> int:
        """Up to which event all was handed in. A crash may take back what the database has of it:
        then it is handed in again, once this process begins anew.
        """
        if way.name not in self._reached:
            self._reached[way.name] = way.vault.progress(way.work)
        return self._reached[way.name]

    def _send_batch(self, after: int, ways: Sequence[_Way], registry: Registry) -> bool:
        rows = self._ledger.rows.select_rows(after=after, limit=_BATCH)
        of_cases = _by_case(rows, registry.protocol.ledger_id)
        cases = self._ledger.cases(of_cases.keys())
        for way in ways:
            self._send_rows(way, registry, of_cases, cases)
            way.vault.advance(way.work, rows[-1].position)
            self._reached[way.name] = rows[-1].position
        return len(rows) == _BATCH

    def _send_rows(
        self,
        way: _Way,
        registry: Registry,
        of_cases: Mapping[UUID, Sequence[RecordedRow]],
        cases: Mapping[UUID, Case],
    ) -> None:
        """What of these events the recipient is to have: fields first, then what was released."""
        wanted: list[UUID] = []
        releases: list[tuple[Case, Act]] = []
        for case_id, rows in of_cases.items():
            case = cases.get(case_id)
            if case is None or way.recipient not in case.state.parties:
                continue
            acts = [case.history[row.action_id] for row in rows]
            joins = any(way.recipient in addressed_parties(a, registry.protocol) for a in acts)
            sent = case.history.values() if joins else acts
            wanted += [act.id for act in sent if _is_own(way, act, registry) and act.digests]
            releases += [
                (case, act)
                for act in acts
                if _is_own(way, act, registry) and _releases_to(act, way.recipient)
            ]
        if wanted:
            self._hand_in(way, registry, way.vault.own_case_fields(wanted), None)
        for case, release in releases:
            self._release(way, registry, case, release)

    def _release(self, way: _Way, registry: Registry, case: Case, release: Act) -> None:
        """Take out what a release names, which is written into the access log, and send it."""
        agency = registry.protocol.agencies_by_id[release.agency]
        groups = tuple(FieldGroup(group) for group in release.fields["groups"])
        basis = BasisNamed(
            kind=LegalBasis(release.fields["basis"]), action=UUID(release.fields["basis_action"])
        )
        reading = way.vault.readings.record(
            Asked(
                agency=agency.id,
                role=agency.role,
                key_id=release.key_id,
                case_id=case.id,
                operation=Operation.RELEASE,
                groups=groups,
                purpose=Purpose(release.fields["purpose"]),
            ),
            bases=dict.fromkeys(groups, basis),
            concerning=release.id,
        )
        named = parcels.released_digests(release)
        held = [
            one
            for one in way.vault.personal_fields(reading)
            if one.received_from is None and one.digest in named.get(one.action_id, ())
        ]
        self._hand_in(way, registry, held, release.id)

    def _hand_in(
        self, way: _Way, registry: Registry, held: Iterable[Held], release: UUID | None
    ) -> None:
        sender, recipient = way.vault.party, way.recipient
        key = registry.country_keys[recipient]
        for action_id, presentation in presentations_by_action(self._ledger.rows, held).items():
            content = Presentation(presentation=presentation, release=release)
            self._post.put(
                parcels.pack(content, action_id, registry.protocol, sender, recipient, key)
            )

    def fetch(self) -> bool:
        """Take in what waits. Returns whether more may wait."""
        registry = self._ledger.registry()
        if registry is None:
            return False
        is_full = False
        for vault in self._vaults:
            waiting = self._post.waiting(vault.party, _FETCH)
            done = [parcel.id for parcel in waiting if self._take_in(vault, parcel, registry)]
            if done:
                self._post.remove(vault.party, done)
                is_full |= len(waiting) == _FETCH
        return is_full

    def _take_in(self, vault: Vault, parcel: Parcel, registry: Registry) -> bool:
        """Returns whether the parcel can be removed: it was taken in, or never can be."""
        try:
            content = parcels.unpack(parcel, registry.protocol, self._keys[vault.party])
            if isinstance(content, Presentation):
                return self._take_presentation(vault, parcel, content, registry)
            return self._take_message(vault, parcel, content, registry)
        except ParcelError as error:
            _log.error("a parcel is refused", sender=parcel.sender, why=str(error))
        return True

    def _take_presentation(
        self, vault: Vault, parcel: Parcel, content: Presentation, registry: Registry
    ) -> bool:
        action, parsed = parcels.read(content)
        if not self._is_here(action.id, content.release):
            return False
        self._keep(vault, parcel, registry, content, action, parsed)
        return True

    def _is_here(self, action_id: UUID, release: UUID | None) -> bool:
        """Whether this node's own copy of the ledger has what the parcel stands on."""
        needed = [action_id] if release is None else [action_id, release]
        return self._ledger.rows.recorded_action_ids(needed) == set(needed)

    def _keep(
        self,
        vault: Vault,
        parcel: Parcel,
        registry: Registry,
        content: Presentation,
        action: SignedAction,
        parsed: SdJwt,
    ) -> None:
        row = self._ledger.rows.find_action(action.id)
        if row is None or recorded_text(row) != action.sd_jwt or action.case_id is None:
            raise ParcelError("it is not what is recorded")
        case = self._ledger.case(action.case_id)
        if case is None:
            raise ParcelError("there is no such case")
        parcels.check(content, action, parsed.disclosures, parcel, case, registry.protocol)
        if vault.erased([case.id]):
            return
        received = Received(parcel.sender, parcel.id)
        vault.deposit(action, case.id, parsed.disclosures, received=received)


def presentations(rows: LedgerRecorder, held: Iterable[Held]) -> tuple[str, ...]:
    """Recorded SD-JWTs with the disclosures of these fields, and no others."""
    return tuple(presentations_by_action(rows, held).values())


def presentations_by_action(rows: LedgerRecorder, held: Iterable[Held]) -> Mapping[UUID, str]:
    """The same by action; an action that is not recorded here has none."""
    found: dict[UUID, str] = {}
    for one in held:
        if one.action_id not in found:
            row = rows.find_action(one.action_id)
            if row is None:
                continue
            found[one.action_id] = recorded_text(row)
        found[one.action_id] += f"{one.encoded}~"
    return found


def recorded_text(row: RecordedRow) -> str:
    """The SD-JWT of a recorded action, without disclosures."""
    return row.event().action.sd_jwt


def _is_own(way: _Way, act: Act, registry: Registry) -> bool:
    """Whether an agency of the vault's country did it."""
    agency = registry.protocol.agencies_by_id.get(act.agency)
    return agency is not None and agency.party == way.vault.party


def _releases_to(act: Act, recipient: str) -> bool:
    return act.kind == "information_released" and act.fields["recipient"] == recipient


def _by_case(rows: Iterable[RecordedRow], ledger_id: UUID) -> Mapping[UUID, Sequence[RecordedRow]]:
    found: dict[UUID, list[RecordedRow]] = {}
    for row in rows:
        if row.originator_id != ledger_id:
            found.setdefault(row.originator_id, []).append(row)
    return found
