"""Sends what this country's agencies recorded to whom it is for, and takes in what was sent here.

``case`` fields go to every country party to the case, personal fields on a release alone. A
cursor for each recipient follows the ledger; it moves once what lies before it was handed in, so
that nothing is left out, and what is sent twice is taken in once.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import structlog

from api.background import Background
from api.mailing import PostOffice
from api.matching import TakeMessage
from ledger import entry
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


class Sharing(Background):
    """One thread sends, one fetches, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        keys: Mapping[str, CountryKey],
        post: PostOffice,
        via: str,
        take_message: TakeMessage,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._keys = keys
        self._post = post
        self._via = via
        self._done = -1
        """The ledger's head when all before it had been handed in."""
        self._take_message = take_message
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
                if self.fetch():
                    pause = _BETWEEN_BATCHES_SECONDS
            except Exception as error:
                _log.warning("fetching interrupted", error=type(error).__name__)
                pause = _AFTER_TROUBLE_SECONDS
            self._stopping.wait(pause)

    def send(self) -> bool:
        """Hand in what one more batch of events asks for. Returns whether there was any event."""
        head = self._ledger.rows.max_notification_id() or 0
        registry = self._ledger.registry() if head != self._done else None
        if registry is None:
            return False
        moved = False
        for vault in self._vaults:
            for recipient in registry.country_keys:
                if recipient != vault.party:
                    moved |= self._send_to(vault, recipient, registry)
        if not moved:
            self._done = head
        return moved

    def _send_to(self, vault: Vault, recipient: str, registry: Registry) -> bool:
        # At another ledger node all is handed in again: the old one's mailbox may be lost.
        work = f"send to {recipient} via {self._via}"
        after = vault.progress(work)
        rows = self._ledger.rows.select_rows(after=after, limit=_BATCH)
        if not rows:
            return False
        for case_id, of_case in _by_case(rows, registry.protocol.ledger_id).items():
            case = self._ledger.case(case_id, upto_position=rows[-1].position)
            if case is not None and recipient in case.state.parties:
                self._send_case(vault, recipient, registry, case, of_case)
        vault.advance(work, rows[-1].position)
        return True

    def _send_case(
        self,
        vault: Vault,
        recipient: str,
        registry: Registry,
        case: Case,
        rows: Sequence[RecordedRow],
    ) -> None:
        protocol = registry.protocol
        acts = [case.history[row.action_id] for row in rows]
        joins = any(recipient in addressed_parties(act, protocol) for act in acts)
        sent = case.history.values() if joins else acts
        own = [act for act in sent if protocol.agencies_by_id[act.agency].party == vault.party]
        if not own:
            return
        held = [one for one in vault.case_fields(case.id) if one.received_from is None]
        wanted = {act.id for act in own}
        self._hand_in(vault, recipient, registry, [h for h in held if h.action_id in wanted], None)
        for act in acts:
            if act in own and _releases_to(act, recipient):
                self._release(vault, recipient, registry, case, act)

    def _release(
        self, vault: Vault, recipient: str, registry: Registry, case: Case, release: Act
    ) -> None:
        """Take out what a release names, which is written into the access log, and send it."""
        agency = registry.protocol.agencies_by_id[release.agency]
        groups = tuple(FieldGroup(group) for group in release.fields["groups"])
        basis = BasisNamed(
            kind=LegalBasis(release.fields["basis"]), action=UUID(release.fields["basis_action"])
        )
        reading = vault.readings.record(
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
            for one in vault.personal_fields(reading)
            if one.received_from is None and one.digest in named.get(one.action_id, ())
        ]
        self._hand_in(vault, recipient, registry, held, release.id)

    def _hand_in(
        self,
        vault: Vault,
        recipient: str,
        registry: Registry,
        held: Iterable[Held],
        release: UUID | None,
    ) -> None:
        for action_id, presentation in presentations_by_action(self._ledger.rows, held).items():
            content = Presentation(presentation=presentation, release=release)
            key = registry.country_keys[recipient]
            self._post.put(
                parcels.pack(content, action_id, registry.protocol, vault.party, recipient, key)
            )

    def fetch(self) -> bool:
        """Take in what waits. Returns whether anything was taken out of the mailbox."""
        registry = self._ledger.registry()
        if registry is None:
            return False
        moved = False
        for vault in self._vaults:
            waiting = self._post.waiting(vault.party, _FETCH)
            done = [parcel.id for parcel in waiting if self._take_in(vault, parcel, registry)]
            if done:
                self._post.remove(vault.party, done)
                moved = True
        return moved

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
    text, _ = entry.unseal(row.state)
    return text


def _releases_to(act: Act, recipient: str) -> bool:
    return act.kind == "information_released" and act.fields["recipient"] == recipient


def _by_case(rows: Iterable[RecordedRow], ledger_id: UUID) -> Mapping[UUID, Sequence[RecordedRow]]:
    found: dict[UUID, list[RecordedRow]] = {}
    for row in rows:
        if row.originator_id != ledger_id:
            found.setdefault(row.originator_id, []).append(row)
    return found
