"""The cards of contact points, between the vaults of the parties.

A card belongs to no case. Its fields lie in each vault under the id of the act that gave it, with a
data key of their own. Every party gets it. A vault erases it once it is not in force any more:
another card or none took its place, or the contact point ended.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID, uuid4

import structlog

from ledger.application import Ledger
from ledger.procedure.contact_points import cards_in_force
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.vault import sealed_parcels
from ledger.vault.acknowledgements import ParcelOutcome
from ledger.vault.deposits import KeyMissingError
from ledger.vault.sealed_parcels import Parcel, ParcelError, Presentation
from ledger.vault.vault import ReceivedDeposit, Vault
from ledger.vocabulary.registration import ContactCardGiven

_log = structlog.get_logger(__name__)


def given(rows: Iterable[RecordedRow], registry: Registry) -> Mapping[UUID, str]:
    """Return the parties of the cards in force that these events gave, by the card's id."""
    acts = {row.action_id for row in rows if row.originator_id == registry.ledger_id}
    return {card: party for card, party in _in_force(registry).items() if card in acts}


def queue(vault: Vault, recipient: str, cards: Mapping[UUID, str], registry: Registry) -> None:
    """Queue the vault's own cards among ``cards`` for a recipient. Repeating it is harmless."""
    own = [card for card, party in cards.items() if party == vault.party]
    vault.sent.queue(
        recipient,
        [
            (
                sealed_parcels.presentation_id(
                    registry.directory, vault.party, recipient, card, None
                ),
                card,
                None,
            )
            for card in own
        ],
    )


def presentations(
    vault: Vault, ledger: Ledger, recipient: str, action_ids: Collection[UUID]
) -> Mapping[UUID, Presentation]:
    """Return the fields of the vault's own cards in force among ``action_ids``, by the card's id.

    Raises ``KeyMissingError`` if the data key of a card is missing.
    """
    registry = ledger.adopted()
    if recipient not in registry.protocol_today(clock.now()).party_codes:
        return {}
    ids = [
        card
        for card, party in _in_force(registry).items()
        if party == vault.party and card in action_ids
    ]
    if not ids:
        return {}
    texts = {row.action_id: row.event().action.sd_jwt for row in ledger.rows_of_actions(ids)}
    fields = dict.fromkeys(texts, "")
    for one in vault.own_case_fields([*texts]):
        fields[one.action_id] += f"{one.encoded}~"
    return {
        card: Presentation(presentation=text + fields[card])
        for card, text in texts.items()
        if fields[card]
    }


def take_in(
    vault: Vault,
    parcel: Parcel,
    action: SignedAction,
    disclosures: Sequence[Disclosure],
    registry: Registry,
) -> ParcelOutcome:
    """Take in the card of another party's contact point.

    ``action`` is recorded as it is. Raises ``ParcelError`` if it is no card, or not the sender's.
    """
    if action.kind != ContactCardGiven.kind:
        raise ParcelError("not-as-recorded", "it is no action that has fields for this country")
    if registry.directory.agencies_by_id[action.agency].party != parcel.sender:
        raise ParcelError("not-the-senders", "it is not the sender's to give")
    if action.id not in _in_force(registry) or vault.erased([action.id]):
        return ParcelOutcome.ERASED
    digests = {one.digest for one in disclosures}
    held = vault.held_digests([action.id]).get(action.id, frozenset())
    if not {(digest, parcel.sender) for digest in digests} <= held:
        received = ReceivedDeposit(parcel.sender, uuid4())
        try:
            vault.deposit(action, action.id, disclosures, received=received)
        except Refusal:  # it ended meanwhile
            return ParcelOutcome.ERASED
    return ParcelOutcome.TAKEN_IN


def read(vault: Vault, cards: Iterable[UUID]) -> Mapping[UUID, Mapping[str, str]]:
    """Return the fields of cards that the vault holds, by the card's id.

    A card whose data key is missing, or that did not arrive, is left out.
    """
    found: dict[UUID, Mapping[str, str]] = {}
    for card in cards:
        try:
            held = vault.case_fields(card)
        except KeyMissingError:
            _log.error("the data key of a contact card is missing", party=vault.party)
            continue
        if held:
            found[card] = {one.field: one.value for one in held}
    return found


def erase_ended(vault: Vault, registry: Registry) -> int:
    """Erase the cards that the ledger ended, and return how many. Nothing of them comes in again.

    The ledger alone decides. No clock has a part in it.
    """
    ended = [
        card.id
        for one in registry.contacts
        for card in one.cards
        if card.ended_at is not None or one.ended_at is not None
    ]
    return _erase(vault, ended)


def erase_as_left(vault: Vault, registry: Registry, party: str) -> int:
    """Erase the cards that end as ``party`` has left, and return how many.

    Those are the cards of that party, and in its own vault those of all others.
    """
    ended = [
        card.id
        for one in registry.contacts
        if (one.party != party if vault.party == party else one.party == party)
        for card in one.cards
    ]
    return _erase(vault, ended)


def _erase(vault: Vault, cards: Sequence[UUID]) -> int:
    erased = vault.erased(cards) if cards else set()
    count = 0
    for card in cards:
        if card not in erased:
            vault.erase(card)
            vault.confirmed(card)  # no country owes a word on it
            count += 1
    if count:
        _log.info("contact cards are erased", party=vault.party, cards=count)
    return count


def _in_force(registry: Registry) -> Mapping[UUID, str]:
    return cards_in_force(registry.contacts, registry.protocol_today(clock.now()))
