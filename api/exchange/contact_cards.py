"""The cards of contact points, between the vaults of the parties.

A card belongs to no case. Its fields lie in each vault under an id that no case has
(``ledger.procedure.subject_ids``), with a data key of their own. Every party gets it. A vault
erases it once it is not in force any more: another card or none took its place, or the contact
point ended.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

import structlog

from ledger.application import Ledger
from ledger.procedure.contact_points import cards_in_force
from ledger.procedure.registry import Registry
from ledger.procedure.subject_ids import act_subject
from ledger.refusals import Refusal
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.event_rows import RecordedRow
from ledger.system import clock
from ledger.system.identifiers import new_id
from ledger.vault import sealed_parcels
from ledger.vault.acknowledgements import ParcelOutcome
from ledger.vault.deposits import KeyMissingError
from ledger.vault.sealed_parcels import NotHereYetError, Parcel, ParcelError, Presentation
from ledger.vault.vault import ReceivedDeposit, Vault
from ledger.vocabulary.registration import ContactCardGiven

_FIELDS = ContactCardGiven.disclosable_fields()
_log = structlog.get_logger(__name__)


def given(rows: Iterable[RecordedRow], registry: Registry) -> Mapping[UUID, str]:
    """Return the parties of the cards in force that these events gave, by the card's id."""
    acts = {row.action_id for row in rows if row.originator_id == registry.ledger_id}
    return {card: party for card, party in _in_force(registry).items() if card in acts}


def queue_again(vault: Vault, recipient: str, registry: Registry) -> None:
    """Queue all of the vault's own cards in force, also those that the recipient had before."""
    queue(vault, recipient, _in_force(registry), registry, again=True)


def queue(
    vault: Vault,
    recipient: str,
    cards: Mapping[UUID, str],
    registry: Registry,
    *,
    again: bool = False,
) -> None:
    """Queue the vault's own cards among ``cards`` for a recipient.

    Repeating it is harmless. ``again``: send also what the recipient acknowledged before.
    """
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
        again=again,
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
    actions = {row.action_id: row.event().action for row in ledger.rows_of_actions(ids)}
    texts = {card: action.sd_jwt for card, action in actions.items()}
    fields = dict.fromkeys(texts, "")
    for one in vault.own_case_fields([*texts]):
        if one.digest in actions[one.action_id].digests:
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

    ``action`` is recorded as it is. Raises ``ParcelError`` if it is no card, or not the sender's,
    and ``NotHereYetError`` if the sender left and this copy of the ledger has no joining since.
    """
    if action.kind != ContactCardGiven.kind:
        raise ParcelError("not-as-recorded", "it is no action that has fields for this country")
    if registry.directory.agencies_by_id[action.agency].party != parcel.sender:
        raise ParcelError("not-the-senders", "it is not the sender's to give")
    subject = act_subject(registry.ledger_id, action.id)
    has_left = parcel.sender not in registry.protocol_today(clock.now()).party_codes
    if has_left and action.id in _not_ended(registry):
        raise NotHereYetError(actions={action.id})  # the sender may have joined again meanwhile
    if action.id not in _in_force(registry) or vault.erased([subject]):
        return ParcelOutcome.ERASED
    digests = {one.digest for one in disclosures}
    held = vault.held_digests([action.id]).get(action.id, frozenset())
    if not {(digest, parcel.sender) for digest in digests} <= held:
        received = ReceivedDeposit(parcel.sender, new_id())
        try:
            vault.deposit(action, subject, disclosures, received=received)
        except Refusal:  # it ended meanwhile
            return ParcelOutcome.ERASED
    return ParcelOutcome.TAKEN_IN


def read(vault: Vault, ledger_id: UUID, cards: Iterable[UUID]) -> Mapping[UUID, Mapping[str, str]]:
    """Return the fields of cards that the vault holds, by the card's id.

    Only fields that the act itself disclosed are returned. A card whose data key is missing, or
    that did not arrive, is left out.
    """
    found: dict[UUID, Mapping[str, str]] = {}
    for card in cards:
        try:
            held = vault.case_fields(act_subject(ledger_id, card))
        except KeyMissingError:
            _log.error("the data key of a contact card is missing", party=vault.party)
            continue
        fields = {
            one.field: one.value for one in held if one.action_id == card and one.field in _FIELDS
        }
        if fields:
            found[card] = fields
    return found


def erase_ended(vault: Vault, ledger: Ledger, registry: Registry) -> int:
    """Erase the cards that the ledger ended, and return how many. Nothing of them comes in again.

    The ledger alone decides. No clock has a part in it. An id that is a case's is left alone.
    """
    ended = [
        act_subject(registry.ledger_id, card.id)
        for one in registry.contacts
        for card in one.cards
        if card.ended_at is not None or one.ended_at is not None
    ]
    erased = vault.erased(ended) if ended else set()
    count = 0
    for subject in _of_no_case(ledger, [one for one in ended if one not in erased]):
        vault.erase(subject, is_confirmed=True)  # no country owes a statement on it
        count += 1
    if count:
        _log.info("contact cards are erased", party=vault.party, cards=count)
    return count


def remove_as_left(vault: Vault, ledger: Ledger, registry: Registry, party: str) -> int:
    """Remove the cards that ``party``, which left, may not share any more. Return how many.

    Those are the cards of that party, and in its own vault those of all others. They come in again
    if the party joins again: until then they are not in force, and nothing is sent to the party.
    """
    subjects = [
        act_subject(registry.ledger_id, card.id)
        for one in registry.contacts
        if (one.party != party if vault.party == party else one.party == party)
        for card in one.cards
    ]
    count = sum(vault.remove(subject) for subject in _of_no_case(ledger, subjects))
    if count:
        _log.info("contact cards are removed", party=vault.party, cards=count)
    return count


def _of_no_case(ledger: Ledger, subjects: Sequence[UUID]) -> list[UUID]:
    """Return the ids among ``subjects`` that no case has.

    A case that was opened before these ids were reserved may have such an id.
    """
    cases = ledger.cases(subjects, keep=False) if subjects else {}
    if cases:
        _log.error("a case has the id of a contact card's fields", cases=len(cases))
    return [subject for subject in subjects if subject not in cases]


def _not_ended(registry: Registry) -> Collection[UUID]:
    """Return the cards that no act ended, also those of parties that left."""
    return {card.id for one in registry.contacts if (card := one.card) is not None}


def _in_force(registry: Registry) -> Mapping[UUID, str]:
    return cards_in_force(registry.contacts, registry.protocol_today(clock.now()))
