"""Finds that this country and another opened a case on the same person, and tells both.

Follows the ledger for the country's own cases, makes blind indexes of them under the key of each
two countries, and sends each country its own. What agrees is kept in both vaults, for their
coordinators. Every step may be repeated: what is still to be done is in the vault's tables.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from uuid import UUID

import structlog
from pydantic import TypeAdapter

from api.exchange.parcel_delivery import ParcelDelivery
from ledger.application import Ledger
from ledger.procedure.case import Case
from ledger.procedure.case_fold import CHANGES_PARTIES
from ledger.procedure.protocol import NODE, Agency, Operation, Protocol
from ledger.procedure.readings import Asked
from ledger.procedure.registry import Registry
from ledger.procedure.statements import STATING
from ledger.replication.mailbox import QuotaError
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.system.backoff import Backoff
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.daily_quotas import Quota, QuotaUsedUpError
from ledger.vault.deposits import KeyMissingError
from ledger.vault.duplicates.matches import Match
from ledger.vault.duplicates.messages import (
    DuplicateAssessed,
    DuplicateFound,
    MatchTokens,
    Message,
    ShareGiven,
    TokensWithdrawn,
)
from ledger.vault.duplicates.own_tokens import OwnCase
from ledger.vault.duplicates.received_tokens import TooManyReceivedError
from ledger.vault.duplicates.shares import PairKey, Shares, fingerprint, pair_key
from ledger.vault.duplicates.tokens import THRESHOLD, ComparedIdentity, strength, tokens
from ledger.vault.held_fields import Held
from ledger.vault.held_statements import ended_statements
from ledger.vault.sealed_parcels import Content, NotHereYetError, Parcel, ParcelError
from ledger.vault.sent_parcels import SentParcel
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import IdentityRecorded
from ledger.vocabulary.picklists import Purpose

_BATCH = 2_000
_AT_ONCE = 50
_EVERY_SECONDS = 1.0
_BETWEEN_BATCHES_SECONDS = 0.25
"""A look asks many questions: what comes meanwhile is answered by one."""
_AT_LEAST_EVERY_SECONDS = 3.0
_BACKOFF = Backoff(0.2, 2.0)
WORK = "match"
_COMPARED = ("first_name", "second_name", "birthdate", "citizenship")
_STATES_ANEW = frozenset({IdentityRecorded.kind, "correction"})
"""The kinds after which another identity may count than before."""
_IDENTITY = TypeAdapter(ComparedIdentity)
_log = structlog.get_logger(__name__)


class DuplicateMatcher(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        shares: Mapping[str, Shares],
        delivery: ParcelDelivery,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._shares = shares
        self._delivery = delivery
        self._is_told = True
        """Whether there is something to tell another country, or all is to be looked at anyway."""
        self._looked = time.monotonic(), 0
        """When the last look ended, by ``time.monotonic()``, and the ledger's head before it."""
        self._unread: set[UUID] = set()
        """Cases whose disclosures do not open here; each is logged, and tried, once."""
        super().__init__("match", self._look_if_due, every=_EVERY_SECONDS, backoff=_BACKOFF)

    def _look_if_due(self) -> float | None:
        """Look where the ledger has grown, a message came, or the last look is long ago."""
        head = self._ledger.head()
        looked_at, looked_to = self._looked
        is_long_ago = time.monotonic() - looked_at >= _AT_LEAST_EVERY_SECONDS
        if not self._is_told and head == looked_to and not is_long_ago:
            return None
        self._is_told = False
        try:
            moved = self.step()
        except BaseException:
            self._is_told = True
            raise
        self._looked = time.monotonic(), head
        if not moved:
            return None
        self._is_told = True  # there may be more
        self.rest(_BETWEEN_BATCHES_SECONDS)
        return 0.0

    def look(self) -> None:
        """Wake the matcher, since there is something to send to another country."""
        self._is_told = True
        self.wake()

    def step(self) -> bool:
        """Do some of each piece of work that is due, and return whether anything was due."""
        registry = self._ledger.registry()
        if registry is None:
            return False
        protocol = registry.protocol_today(clock.now())
        moved = False
        for vault in self._vaults:
            node = node_that_matches(protocol, vault.party)
            if node is not None:
                moved |= self._follow(vault, protocol)
                others = [other for other in registry.country_keys if other != vault.party]
                agreed: dict[str, PairKey] = {}
                for other in others:
                    with suppress(QuotaError):  # that country has to fetch first
                        if (key := self._exchange(vault, other, registry)) is not None:
                            agreed[other] = key
                moved |= self._index(vault, node, agreed)
                for other in others:
                    with suppress(QuotaError):
                        moved |= self._tell(vault, other, registry)
        return moved

    def _follow(self, vault: Vault, protocol: Protocol) -> bool:
        """Note the country's own cases, and the present parties of each."""
        after, head = vault.progress(WORK), self._ledger.head()
        upto = min(head, after + _BATCH)
        if upto <= after:
            return False
        changed = self._ledger.subjects_of_kinds(CHANGES_PARTIES, after=after, upto=upto)
        stated = self._ledger.subjects_of_kinds(_STATES_ANEW, after=after, upto=upto)
        for case in self._ledger.cases({*changed, *stated}).values():
            if opened_by(case, protocol) == vault.party:
                self._unread.discard(case.id)
                vault.duplicates.add_case(case.id, protocol.party_codes - {vault.party})
                vault.duplicates.joined(case.id, case.state.parties)
                if case.id in stated:
                    vault.duplicates.stated_anew(case.id)
        vault.advance(WORK, upto)
        return True

    def _exchange(self, vault: Vault, other: str, registry: Registry) -> PairKey | None:
        """Give ``other`` this country's share. Returns the key of both, once both gave theirs."""
        shares = self._shares[vault.party]
        ours, theirs = shares.ours(other), shares.theirs(other)
        address = registry.country_keys[other].id
        holds = fingerprint(theirs)
        what = f"{fingerprint(ours)} {holds} {address}"
        if vault.duplicates.share_sent(other) != what:
            vault.duplicates.address(other, address)
            share = ShareGiven(share=ours.hex(), holds=holds)
            self._send(vault, other, registry, share, None)
            vault.duplicates.sent_share(other, what)
        if theirs is None:
            return None
        return pair_key(registry.protocol_id, {vault.party: ours, other: theirs})

    def _index(self, vault: Vault, node: Agency, keys: Mapping[str, PairKey]) -> bool:
        """Make tokens of the cases that have none under the keys of now, with one reading each."""
        if vault.closed_groups(node.role, Operation.MATCH, (FieldGroup.IDENTITY,)):
            return False  # the vault's tables follow a moment after the version in force
        named = {other: key.id for other, key in keys.items()}
        cases = vault.duplicates.without_tokens(named, _AT_ONCE, self._unread)
        for case_id, of_case in groupby(cases, lambda one: one.case_id):
            self._index_case(vault, node, case_id, tuple(of_case), keys)
        return bool(cases)

    def _index_case(
        self,
        vault: Vault,
        node: Agency,
        case_id: UUID,
        cases: Iterable[OwnCase],
        keys: Mapping[str, PairKey],
    ) -> None:
        case = self._ledger.case(case_id)
        if case is None:  # this node rejoined the ledger, which does not have the case yet
            self._unread.add(case_id)
            return
        reading = vault.readings.record(
            Asked(
                agency=node.id,
                role=node.role,
                case_id=case_id,
                operation=Operation.MATCH,
                groups=(FieldGroup.IDENTITY,),
                purpose=Purpose.IDENTIFICATION,
            )
        )
        try:
            held = vault.personal_fields(reading)
            known = identity(
                held,
                case,
                ended_statements(vault, case, [(one.action_id, one.field) for one in held]),
            )
        except (KeyMissingError, SealError) as error:
            self._unread.add(case_id)
            _log.error("a case cannot be compared", error=type(error).__name__)
            return
        for one in cases:
            key = keys[one.other]
            vault.duplicates.put_tokens(one, key.id, tokens(key.secret, known))

    def _tell(self, vault: Vault, other: str, registry: Registry) -> bool:
        """Send ``other`` the tokens, withdrawals and duplicates that it does not have yet."""
        kept, moved = vault.duplicates, False
        for reference in kept.to_withdraw(other, _AT_ONCE):
            withdrawn = TokensWithdrawn(reference=reference)
            self._send(vault, other, registry, withdrawn, reference)
            kept.withdrew(other, reference)
            moved = True
        for due in kept.to_send(other, _AT_ONCE):
            try:
                keep(vault, kept.matches(other, own=due.reference))
            except QuotaUsedUpError:  # its tokens go out once all that they agree with is kept
                continue
            listed = tuple(one.hex() for one in due.tokens)
            message = MatchTokens(reference=due.reference, case_id=due.case_id, tokens=listed)
            self._send(vault, other, registry, message, due.reference)
            kept.sent(other, due)
            moved = True
        for found in kept.to_tell(other, _AT_ONCE):
            match = found.match
            told = DuplicateFound(
                sender_reference=match.reference,
                receiver_reference=match.other_reference,
                agrees=match.agrees,
                found_at=found.found_at,
            )
            self._send(vault, other, registry, told, match.id)
            kept.told(found)
            moved = True
        for found in kept.assessments_to_tell(other, _AT_ONCE):
            if found.finding is not None and found.assessed_at is not None:
                assessed = DuplicateAssessed(
                    duplicate=found.match.id,
                    finding=found.finding,
                    assessed_at=found.assessed_at,
                )
                self._send(vault, other, registry, assessed, found.match.id)
                kept.assessment_told(found)
                moved = True
        return moved

    def _send(
        self, vault: Vault, other: str, registry: Registry, message: Message, about: UUID | None
    ) -> None:
        self._delivery.send(vault, other, registry, message, about)

    def send_again(self, vault: Vault, parcel: SentParcel) -> bool:
        """Make a message due again that did not arrive. Returns whether it still holds."""
        kept, other = vault.duplicates, parcel.recipient
        if parcel.kind == "share_given":
            kept.sent_share(other, None)
            return True
        make_due = {
            "match_tokens": kept.tokens_due,
            "tokens_withdrawn": kept.withdrawal_due,
            "duplicate_found": kept.telling_due,
            "duplicate_assessed": kept.assessment_due,
        }.get(parcel.kind)
        if make_due is None or parcel.about is None:
            return False
        is_due = make_due(other, parcel.about)
        self.look()
        return is_due

    def take_in(self, vault: Vault, parcel: Parcel, content: Content, registry: Registry) -> None:
        """Take in a message from another country's node.

        Raises ``NotHereYetError`` while this node's copy of the ledger lacks the events that the
        message depends on, ``QuotaUsedUpError`` if the message must wait for another day, and
        ``ParcelError`` if the sender may not state it.
        """
        if not isinstance(content, Message):
            raise ParcelError("not-a-message", "it is no message on duplicates")
        try:
            self._take_in(vault, parcel, content, registry)
        except TooManyReceivedError as error:
            raise ParcelError("too-many-cases", "its sender names too many cases") from error
        except QuotaUsedUpError:
            vault.quotas.refused(parcel.sender, Quota.DUPLICATES)
            raise
        self.look()

    def _take_in(self, vault: Vault, parcel: Parcel, message: Message, registry: Registry) -> None:
        protocol = registry.protocol_today(clock.now())
        if node_that_matches(protocol, parcel.sender) is None:
            raise ParcelError("no-matching", "the protocol knows no matching by the sender's node")
        sender, kept = parcel.sender, vault.duplicates
        match message:
            case ShareGiven():
                self._take_share(vault, sender, message)
            case MatchTokens():
                self._take_tokens(vault, sender, message, protocol)
            case TokensWithdrawn():
                kept.take_withdrawal(sender, message.reference)
            case DuplicateFound():
                if strength(message.agrees) < THRESHOLD:
                    raise ParcelError("weak-match", "what it found is too weak")
                ours, theirs = message.receiver_reference, message.sender_reference
                agrees = tuple(dict.fromkeys(message.agrees))
                kept.found(Match(sender, ours, theirs, agrees), message.found_at, told=True)
            case DuplicateAssessed():
                kept.take_assessment(
                    sender, message.duplicate, message.finding, message.assessed_at
                )

    def _take_share(self, vault: Vault, sender: str, message: ShareGiven) -> None:
        shares = self._shares[vault.party]
        shares.take(sender, bytes.fromhex(message.share))
        if message.holds != fingerprint(shares.ours(sender)):
            vault.duplicates.sent_share(sender, None)  # it lost ours, or never had it

    def _take_tokens(
        self, vault: Vault, sender: str, message: MatchTokens, protocol: Protocol
    ) -> None:
        if message.case_id is not None:
            case = self._ledger.case(message.case_id)
            if case is None:
                raise NotHereYetError(cases=[message.case_id])
            if opened_by(case, protocol) != sender or vault.party not in case.state.parties:
                raise ParcelError("not-the-senders", "the case is not the sender's to name")
        listed = [bytes.fromhex(one) for one in message.tokens]
        vault.duplicates.take_tokens(sender, message.reference, message.case_id, listed)
        keep(vault, vault.duplicates.matches(sender, received=message.reference))


def keep(vault: Vault, matches: Iterable[Match]) -> None:
    """Store the matches that were found here; they are sent to the other country later.

    Raises ``QuotaUsedUpError``.
    """
    for match in matches:
        try:
            is_new = vault.duplicates.found(match, clock.now(), told=False)
        except QuotaUsedUpError:
            vault.quotas.refused(match.other, Quota.DUPLICATES)
            raise
        if is_new:
            _log.info("a possible duplicate is found", party=vault.party, other=match.other)


def node_that_matches(protocol: Protocol, party: str) -> Agency | None:
    """Return a country's node if the access matrix lets it compare cases."""
    if not protocol.allows(NODE, Operation.MATCH, FieldGroup.IDENTITY):
        return None
    return next((a for a in protocol.agencies if a.role == NODE and a.party == party), None)


def opened_by(case: Case, protocol: Protocol) -> str:
    """Return the country whose agency opened a case."""
    return protocol.agencies_by_id[next(iter(case.history.values())).agency].party


def identity(
    held: Sequence[Held], case: Case, ended: Mapping[tuple[UUID, str], UUID]
) -> ComparedIdentity:
    """Return the person's identity as the country's own agencies state it now.

    ``ended`` has the statements that do not count.
    """
    own = {
        one.field: one.value
        for one in held
        if one.received_from is None
        and one.field in _COMPARED
        and one.action_id in case.history
        and case.history[one.action_id].kind in STATING
        and (one.action_id, one.field) not in ended
    }
    return _IDENTITY.validate_python(own)
