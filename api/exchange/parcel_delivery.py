"""Hands in what a country has to send, and writes down what became of it.

A parcel is sent until its recipient's node has signed an acknowledgement that verifies here. It is
sent again if it arrived damaged, expired, or is missing at the mailbox. Each step may be repeated,
and every crash leaves a parcel due or sent, so that it is met again.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from uuid import UUID

import structlog

from api.exchange import contact_cards
from api.exchange.parcel_transport import OutdatedMailboxError, PostOffice
from api.exchange.presentation import presentations_by_action
from api.exchange.presented_fields import presentations_for
from ledger.application import Ledger
from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, BasisNamed
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.replication.mailbox import Left, QuotaError
from ledger.replication.outcomes import MailboxOutcome
from ledger.signing.country_key import SealError
from ledger.system import clock
from ledger.vault import sealed_parcels
from ledger.vault.acknowledgements import (
    Acknowledgement,
    ParcelOutcome,
    digest_of,
    not_accepted,
    read_unsigned,
    verify,
)
from ledger.vault.deposits import KeyMissingError
from ledger.vault.disclosures import AccessMatrixBehindError
from ledger.vault.held_fields import Held
from ledger.vault.required_disclosures import released_digests
from ledger.vault.sealed_parcels import Content, Presentation
from ledger.vault.sent_parcels import PRESENTATION, SentParcel, SentState
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose

_AT_ONCE = 50
_OUTCOMES_AT_ONCE = 100
_ASKED_AT_ONCE = 500
LOOK_FOR_MISSING_SECONDS = 30.0
"""So often the mailbox is asked for parcels that were handed in that long ago."""
_HANDED_IN_SECONDS = 5.0
"""At its first look, a process asks for parcels that were handed in so long ago: it may have been
started again because another node is the ledger node now, whose mailbox has none of them."""
_log = structlog.get_logger(__name__)

SendAgain = Callable[[Vault, SentParcel], bool]
"""Makes a message due again. Returns whether there is still something to say."""


class ParcelDelivery:
    """Sends for each country whose node this process is. One thread takes its steps."""

    def __init__(self, ledger: Ledger, vaults: Vaults, post: PostOffice) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._post = post
        self.send_message_again: SendAgain = lambda _, __: False
        """Set by the module that sends messages. Without it a message is not sent again."""
        self._looked_at: dict[str, float] = {}
        """When the mailbox was asked for missing parcels last, by the monotonic clock."""
        self.full: set[tuple[str, str]] = set()
        """Senders and recipients between whom the mailbox takes no more for now."""
        self.is_outdated = False
        """Whether the ledger node runs an earlier program."""
        self.is_awaiting = False
        """True if the last step had something to hand in, or awaited outcomes."""
        self.when_sent: Callable[[], None] = lambda: None
        """Called after a message was handed in, whose outcome is to be collected."""

    def step(self) -> bool:
        """Hand in and collect once, for each country. Returns whether more may wait."""
        if self._ledger.known_registry is None and self._ledger.registry() is None:
            return False
        more = is_awaiting = False
        try:
            for vault in self._vaults:
                to_do = vault.sent.to_do()
                if to_do.has_unanswered or to_do.recipients:
                    is_awaiting = True
                    more |= self._hand_in_and_collect(vault, to_do.recipients)
                else:  # most steps find nothing to do, and need no registry
                    self.full -= {way for way in self.full if way[0] == vault.party}
                self._look_for_missing(vault)
        except OutdatedMailboxError:
            self.is_outdated = True
            raise
        self.is_outdated, self.is_awaiting = False, is_awaiting
        return more

    def _hand_in_and_collect(self, vault: Vault, due: Collection[str]) -> bool:
        """Hand in what is due to these countries, and collect. Returns whether more may wait."""
        registry = self._ledger.adopted()
        left = registry.protocol_today(clock.now()).left_parties
        more = False
        for recipient in registry.country_keys:
            if recipient in due and recipient not in left and recipient != vault.party:
                more |= self._hand_in_due(vault, recipient, registry)
            else:
                self.full.discard((vault.party, recipient))
        return self.collect(vault, registry) or more

    def send(
        self, vault: Vault, recipient: str, registry: Registry, message: Content, about: UUID | None
    ) -> None:
        """Hand in a message; the sending module keeps its content until this returns.

        Raises ``QuotaError`` if the mailbox takes no more now.
        """
        key = registry.country_keys[recipient]
        parcel = sealed_parcels.pack(
            message, about, registry.directory, vault.party, recipient, key
        )
        vault.sent.sending(parcel.id, recipient, message.kind, about, digest_of(parcel))
        try:
            self._post.put(parcel)
        except QuotaError:
            self.full.add((vault.party, recipient))
            raise
        self.when_sent()

    def _hand_in_due(self, vault: Vault, recipient: str, registry: Registry) -> bool:
        due = vault.sent.due(recipient, _AT_ONCE)
        if not due:
            self.full.discard((vault.party, recipient))
            return False
        messages = [one for one in due if one.kind != PRESENTATION]
        for one in messages:
            vault.sent.waits_for_module(one)
            if not self.send_message_again(vault, one):
                vault.sent.drop([one.id])
        presentations = [one for one in due if one.kind == PRESENTATION]
        made = self._presentations(vault, recipient, presentations)
        handed_in: dict[UUID, bytes] = {}
        try:
            for one, content in made:
                self._hand_in(vault, one, content, registry, handed_in)
        except QuotaError:
            self.full.add((vault.party, recipient))
            return False
        finally:
            if handed_in:
                vault.sent.handed_in(handed_in)
        self.full.discard((vault.party, recipient))
        return len(due) == _AT_ONCE

    def _hand_in(
        self,
        vault: Vault,
        one: SentParcel,
        content: Presentation,
        registry: Registry,
        handed_in: dict[UUID, bytes],
    ) -> None:
        key = registry.country_keys[one.recipient]
        parcel = sealed_parcels.pack(
            content, one.about, registry.directory, vault.party, one.recipient, key
        )
        try:
            self._post.put(parcel)
        except QuotaError:
            raise
        except Refusal as refusal:
            _log.error("a parcel is not taken", recipient=one.recipient, rule=refusal.rule)
            vault.sent.again(one, refusal.rule)
            return
        handed_in[one.id] = digest_of(parcel)

    def _presentations(
        self, vault: Vault, recipient: str, due: Sequence[SentParcel]
    ) -> list[tuple[SentParcel, Presentation]]:
        """Make the due presentations from the vault's fields.

        A parcel for which the vault holds nothing is forgotten. If the key of one person is
        missing, only that person's parcels wait.
        """
        made: list[tuple[SentParcel, Presentation]] = []
        for release, group in groupby(
            sorted(due, key=lambda one: str(one.release)), key=lambda one: one.release
        ):
            listed = list(group)
            try:
                made += self._of_release(vault, recipient, release, listed)
            except AccessMatrixBehindError:
                for one in listed:
                    vault.sent.again(one, "access-matrix-behind")
            except (KeyMissingError, SealError):
                for one in listed:
                    try:
                        made += self._of_release(vault, recipient, release, [one])
                    except (KeyMissingError, SealError) as error:
                        _log.error("fields cannot be sent", error=type(error).__name__)
                        vault.sent.again(one, "vault-key-missing")
        return made

    def _of_release(
        self, vault: Vault, recipient: str, release: UUID | None, due: Sequence[SentParcel]
    ) -> list[tuple[SentParcel, Presentation]]:
        actions = [one.about for one in due if one.about is not None]
        if release is None:
            found = {
                **presentations_for(vault, self._ledger, recipient, actions),
                **contact_cards.presentations(vault, self._ledger, recipient, actions),
            }
        else:
            wanted = set(actions)
            held = [one for one in self._released(vault, release) if one.action_id in wanted]
            found = {
                action: Presentation(presentation=text, release=release)
                for action, text in presentations_by_action(self._ledger.rows, held).items()
            }
        self._take_back(vault, [one for one in due if one.about not in found])
        return [
            (one, found[one.about]) for one in due if one.about is not None and one.about in found
        ]

    def _take_back(self, vault: Vault, parcels: Sequence[SentParcel]) -> None:
        """Forget parcels that the recipient must not have, and remove those that wait for it."""
        if waiting := [one.id for one in parcels if one.digest is not None]:
            try:
                taken = self._post.take_back(vault.party, waiting)
            except OutdatedMailboxError:  # they stay there until they expire
                taken = 0
            _log.info("parcels are taken back", party=vault.party, parcels=taken)
        vault.sent.drop([one.id for one in parcels])

    def _released(self, vault: Vault, release_id: UUID) -> list[Held]:
        """Take out the fields that a release names, and write this into the access log."""
        row = self._ledger.row_of_action(release_id)
        case = self._ledger.case(row.originator_id) if row is not None else None
        release = case.history.get(release_id) if case is not None else None
        if case is None or release is None:
            return []
        today = self._ledger.adopted().protocol_today(clock.now())
        recipient = release.fields["recipient"]
        if recipient not in case.state.parties or recipient in today.left_parties:
            return []
        agency = self._ledger.adopted().agreement.of_act(release).agencies_by_id[release.agency]
        # What the version of today closes leaves the country no more, though it was released.
        groups = tuple(
            group
            for group in map(FieldGroup, release.fields["groups"])
            if today.allows(agency.role, Operation.RELEASE, group)
        )
        if not groups:
            return []
        if vault.closed_groups(agency.role, Operation.RELEASE, groups):
            raise AccessMatrixBehindError(release_id)
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
        named = released_digests(release)
        return [
            one
            for one in vault.personal_fields(reading)
            if one.received_from is None and one.digest in named.get(one.action_id, ())
        ]

    def collect(self, vault: Vault, registry: Registry) -> bool:
        """Write down the outcomes of a country's parcels, and return whether more may wait."""
        left = self._post.outcomes(vault.party, _OUTCOMES_AT_ONCE)
        if not left:
            return False
        known = vault.sent.get([one.parcel_id for one in left])
        for one in left:
            if (parcel := known.get(one.parcel_id)) is not None:
                self._apply(vault, parcel, one, registry)
        self._post.settle(vault.party, [one.seq for one in left])
        return len(left) == _OUTCOMES_AT_ONCE

    def _apply(self, vault: Vault, parcel: SentParcel, left: Left, registry: Registry) -> None:
        if parcel.state is not SentState.SENT:
            return
        if left.outcome is not MailboxOutcome.ACKNOWLEDGED or left.acknowledgement is None:
            vault.sent.again(parcel, left.outcome.value)
            return
        try:
            said = self._read(left.acknowledgement, parcel.recipient, registry)
            _check(said, vault.party, parcel)
        except Refusal as refusal:
            # The mailbox's operator can write anything. The parcel counts as not acknowledged.
            _log.error(
                "an acknowledgement is refused", recipient=parcel.recipient, why=str(refusal)
            )
            vault.sent.again(parcel, "acknowledgement")
            return
        if said.outcome is not ParcelOutcome.TAKEN_IN:
            _log.warning(
                "a parcel was not taken in",
                recipient=parcel.recipient,
                outcome=said.outcome.value,
                reason=said.reason,
            )
        settled = vault.sent.acknowledged(parcel, said.outcome, said.reason, left.acknowledgement)
        if settled and parcel.kind != PRESENTATION and said.outcome in _DONE:
            vault.sent.drop([parcel.id])

    def _read(self, text: str, recipient: str, registry: Registry) -> Acknowledgement:
        if text.startswith("{") and self._vaults.has(recipient):
            return read_unsigned(text)
        return verify(text, registry, clock.now()).content

    def _look_for_missing(self, vault: Vault) -> None:
        now = time.monotonic()
        looked_at = self._looked_at.get(vault.party)
        if looked_at is not None and now - looked_at < LOOK_FOR_MISSING_SECONDS:
            return
        registry = self._ledger.registry()
        while registry is not None and self.collect(vault, registry):
            pass
        if looked_at is None:
            self.find_missing(vault, timedelta(seconds=_HANDED_IN_SECONDS))
        else:
            self.find_missing(vault)
        self._looked_at[vault.party] = now

    def find_missing(
        self, vault: Vault, age: timedelta = timedelta(seconds=LOOK_FOR_MISSING_SECONDS)
    ) -> int:
        """Mark the parcels that the mailbox does not have as due again, and return their number.

        A mailbox that was restored from a backup lacks parcels, and so does another ledger node.
        """
        after, count = 0, 0
        while sent := vault.sent.unanswered(after, _ASKED_AT_ONCE, age):
            digests: Mapping[UUID, bytes] = {one.id: one.digest or b"" for one in sent}
            missing = self._post.missing(vault.party, digests)
            for one in sent:
                if one.id in missing:
                    vault.sent.again(one, "missing")
            count += len(missing)
            after = sent[-1].seq
        if count:
            _log.warning("parcels are missing at the mailbox", party=vault.party, parcels=count)
        return count


_DONE = (ParcelOutcome.TAKEN_IN, ParcelOutcome.ERASED)


def _check(said: Acknowledgement, sender: str, parcel: SentParcel) -> None:
    """Check that an acknowledgement is of the parcel that was sent last.

    Raises ``Refusal`` if it is of another parcel.
    """
    names = (said.parcel, said.sender, said.recipient)
    if names != (parcel.id, sender, parcel.recipient):
        raise not_accepted("it is of another parcel")
    is_same = parcel.digest is not None and said.digest == parcel.digest.hex()
    if said.outcome is not ParcelOutcome.DAMAGED and not is_same:
        raise not_accepted("it is of other bytes than were sent last")
