"""Finds that two cases are of one person, in two countries or in one, and tells the coordinators.

Follows the ledger for the country's own cases, makes points of each for each other country under a
mask of its own, and gives each country its points back under the own mask. Where two cases have a
token in common, their evidence is compared and weighed. What is found is kept in both vaults. Every
step may be repeated: what is still to be done is in the vault's tables.
"""

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
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
from ledger.vault.duplicates.candidates import (
    AnsweredEvidence,
    AskedEvidence,
    question_digest,
)
from ledger.vault.duplicates.identity_forms import (
    BLOCKING_FORMS,
    EVIDENCE_FORMS,
    ComparedIdentity,
    Form,
    blocking_forms,
    evidence,
)
from ledger.vault.duplicates.masks import (
    Mask,
    Masks,
    check_points,
    check_proof,
    own_token,
    point,
    token,
)
from ledger.vault.duplicates.matches import Candidate, Match
from ledger.vault.duplicates.messages import (
    DoubledCase,
    DoubledEvidence,
    DuplicateAssessed,
    DuplicateFound,
    DuplicateWithdrawn,
    MaskedCase,
    MaskedEvidence,
    Message,
    TokensWithdrawn,
)
from ledger.vault.duplicates.own_tokens import OwnCase
from ledger.vault.duplicates.received_tokens import ReceivedPoints, TooManyReceivedError
from ledger.vault.duplicates.weighing import Weighed, name_bits, strength, threshold, weigh
from ledger.vault.held_fields import Held
from ledger.vault.held_statements import ended_statements
from ledger.vault.sealed_parcels import Content, NotHereYetError, Parcel, ParcelError
from ledger.vault.sent_parcels import SentParcel
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.person import AgeAssessed, IdentityRecorded
from ledger.vocabulary.picklists import Purpose

_BATCH = 2_000
_AT_ONCE = 50
_EVERY_SECONDS = 5.0
"""A notice of the database wakes the matcher at each event; this is for notices that are lost."""
_BETWEEN_BATCHES_SECONDS = 0.25
"""A look asks many questions: what comes meanwhile is answered by one."""
_AT_LEAST_EVERY_SECONDS = 5.0
_AFTER_QUOTA_SECONDS = 3_600.0
_BACKOFF = Backoff(0.2, 2.0)
WORK = "match"
_COMPARED = (
    "first_name",
    "second_name",
    "middle_name",
    "birthdate",
    "citizenship",
    "gender",
    "identity_number",
)
_WIDEST_RANGE_YEARS = 2
"""An estimated age is compared if its bounds are no further apart."""
_STATES_ANEW = frozenset({IdentityRecorded.kind, AgeAssessed.kind, "correction"})
"""The kinds after which another identity may count than before."""
_IDENTITY = TypeAdapter(ComparedIdentity)
_log = structlog.get_logger(__name__)


class DuplicateMatcher(PeriodicWorker):
    """One thread, for each country whose node this process is."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        masks: Mapping[str, Masks],
        delivery: ParcelDelivery,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._masks = masks
        self._delivery = delivery
        self._is_told = True
        """Whether there is something to tell another country, or all is to be looked at anyway."""
        self._looked = time.monotonic(), 0
        """When the last look ended, by ``time.monotonic()``, and the ledger's head before it."""
        self._addressed: dict[tuple[str, str], str] = {}
        self._weighs_again_at: dict[tuple[str, str], float] = {}
        """After a day's quota was used up, by ``time.monotonic()``, by own and other country."""
        self._unread: set[UUID] = set()
        """Cases whose disclosures do not open here; each is logged, and tried, once."""
        super().__init__(
            "match",
            self._look_if_due,
            every=_EVERY_SECONDS,
            backoff=_BACKOFF,
        )

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
            if node is not None and vault.party in protocol.party_codes:
                moved |= self._follow(vault, protocol)
                others = [
                    other
                    for other in registry.country_keys
                    if other != vault.party and other in protocol.party_codes
                ]
                masks = self._masks_for(vault, others, registry.protocol_id)
                for other in masks:
                    self._address(vault, other, registry.country_keys[other].id)
                may_read = not vault.closed_groups(
                    node.role, Operation.MATCH, (FieldGroup.IDENTITY,)
                )
                if may_read:
                    moved |= self._index(vault, node, masks)
                    moved |= self._compare_own(vault, node)
                for other, mask in masks.items():
                    if not vault.duplicates.has_work(other, mask.id):
                        continue
                    with suppress(QuotaError):  # that country has to fetch first
                        moved |= self._answer(vault, other, mask, registry)
                        moved |= self._tell(vault, other, mask, registry)
                        if may_read:
                            moved |= self._compare(vault, node, other, mask, registry)
        return moved

    def _follow(self, vault: Vault, protocol: Protocol) -> bool:
        """Note the country's own cases, and the present parties of each."""
        after, head = vault.progress(WORK), self._ledger.head()
        upto = min(head, after + _BATCH)
        if upto <= after:
            return False
        changed = self._ledger.subjects_of_kinds(CHANGES_PARTIES, after=after, upto=upto)
        stated = self._ledger.subjects_of_kinds(_STATES_ANEW, after=after, upto=upto)
        foreign: dict[UUID, str] = {}
        for case in self._ledger.cases({*changed, *stated}).values():
            if (opener := opened_by(case, protocol)) == vault.party:
                self._unread.discard(case.id)
                vault.duplicates.add_case(case.id, self._references(vault, case.id, protocol))
                vault.duplicates.joined(case.id, case.state.parties)
                if case.id in stated:
                    vault.duplicates.stated_anew(case.id)
            else:
                foreign[case.id] = opener
        vault.duplicates.note_opened(foreign)
        vault.advance(WORK, upto)
        return True

    def _masks_for(self, vault: Vault, others: Iterable[str], protocol: str) -> Mapping[str, Mask]:
        """Return the masks for other countries, without those that do not open."""
        masks: dict[str, Mask] = {}
        for other in others:
            try:
                masks[other] = self._masks[vault.party].mask(protocol, other)
            except SealError as error:
                _log.error("a mask does not open", other=other, error=type(error).__name__)
        return masks

    def _address(self, vault: Vault, other: str, key: str) -> None:
        """Note the country key to which parcels are sealed; after a change all is sent again."""
        if self._addressed.get((vault.party, other)) != key:
            vault.duplicates.address(other, key)
            self._addressed[vault.party, other] = key

    def _index(self, vault: Vault, node: Agency, masks: Mapping[str, Mask]) -> bool:
        """Make points of the cases that have none under the masks of now, with one reading each."""
        named = {other: mask.id for other, mask in masks.items()}
        named[vault.party] = self._own_key(vault)[0]
        cases = vault.duplicates.without_tokens(named, _AT_ONCE, self._unread)
        for case_id, of_case in groupby(cases, lambda one: one.case_id):
            self._index_case(vault, node, case_id, tuple(of_case), masks)
        return bool(cases)

    def _index_case(
        self,
        vault: Vault,
        node: Agency,
        case_id: UUID,
        cases: Iterable[OwnCase],
        masks: Mapping[str, Mask],
    ) -> None:
        known = self._read(vault, node, case_id)
        if known is None:
            return
        for one in cases:
            if one.other == vault.party:
                key, secret = self._own_key(vault)
                tokens = {own_token(secret, form): kind_of(form) for form in blocking_forms(known)}
                vault.duplicates.put_own_tokens(one, key, tokens)
                vault.duplicates.drop_unfounded(vault.party, own=one.reference)
                found = vault.duplicates.own_candidates(one.reference)
                vault.duplicates.add_candidates(found)
            else:
                mask = masks[one.other]
                points, kinds = masked_points(mask, one.reference, known)
                vault.duplicates.put_points(one, mask.id, points, kinds)

    def _references(self, vault: Vault, case_id: UUID, protocol: Protocol) -> Mapping[str, UUID]:
        """Return how each country knows an own case, the same again after a restored backup."""
        secret = self._masks[vault.party].secret(vault.party)
        return {
            other: UUID(bytes=own_token(secret, f"reference|{other}|{case_id}"), version=4)
            for other in protocol.party_codes
        }

    def _own_key(self, vault: Vault) -> tuple[str, bytes]:
        """Return the name and the secret of the tokens that compare the country's own cases."""
        secret = self._masks[vault.party].secret(vault.party)
        return own_token(secret, "name").hex(), secret

    def _read(self, vault: Vault, node: Agency, case_id: UUID) -> ComparedIdentity | None:
        """Read what is compared of a person, with an entry in the access log.

        Returns ``None`` if the case or its data key is not here; the case is left out then.
        """
        case = self._ledger.case(case_id)
        if case is None:  # this node rejoined the ledger, which does not have the case yet
            self._unread.add(case_id)
            return None
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
            ended = ended_statements(vault, case, [(one.action_id, one.field) for one in held])
            return identity(held, case, ended)
        except (KeyMissingError, SealError) as error:
            self._unread.add(case_id)
            _log.error("a case cannot be compared", error=type(error).__name__)
            return None

    def _compare_own(self, vault: Vault, node: Agency) -> bool:
        """Weigh pairs of the country's own cases that have a token in common."""
        kept, party = vault.duplicates, vault.party
        candidates = kept.to_compare(party, _AT_ONCE, self._unread)
        for candidate in candidates:
            references = (candidate.reference, candidate.other_reference)
            cases = [kept.case_of(party, reference) for reference in references]
            known = [self._read(vault, node, case) for case in cases if case is not None]
            if len(known) == 2:
                mine, theirs = known
                if mine is None or theirs is None:
                    continue  # it is compared once both open here
                forms = evidence(mine)
                others = {(form.kind, form.text) for form in evidence(theirs)}
                agreed = [form for form in forms if (form.kind, form.text) in others]
                self._keep_weighed(vault, candidate, forms, agreed)
            kept.compared(candidate)
        return bool(candidates)

    def _keep_weighed(
        self, vault: Vault, candidate: Candidate, forms: Sequence[Form], agreed: Sequence[Form]
    ) -> None:
        """Weigh the evidence of a pair, and keep the match if it is strong enough.

        A match that was found before and is too weak now is withdrawn.

        Raises ``QuotaUsedUpError``.
        """
        named, cases, others = vault.duplicates.with_the_names(candidate)
        weighed, least = weigh(forms, agreed, name_bits(named, cases)), threshold(others)
        if weighed.bits >= least and weighed.agrees:
            keep(vault, match_of(candidate, weighed, least))
        else:
            vault.duplicates.withdraw_duplicate(candidate.other, candidate.pair)

    def _answer(self, vault: Vault, other: str, mask: Mask, registry: Registry) -> bool:
        """Give ``other`` its points back under the own mask too."""
        kept, moved = vault.duplicates, False
        for stale in kept.to_double(other, mask.id, _AT_ONCE):
            renewed = replace(stale, doubled_with=mask.id)
            kept.double(other, renewed, [token(one) for one in mask.apply(stale.points)])
            self._look_closer(vault, other, received=stale.reference)
            moved = True
        for received in kept.to_answer(other, mask.id, _AT_ONCE):
            multiples = mask.apply(received.points)
            doubled = DoubledCase(
                reference=received.reference,
                mask=received.mask,
                by=mask.id,
                doubled=texts(multiples),
                proof=mask.prove(received.points, multiples).hex(),
            )
            self._send(vault, other, registry, doubled, received.reference)
            kept.answered(other, received)
            moved = True
        return moved

    def _answer_evidence(
        self, vault: Vault, node: Agency, asked: AskedEvidence, mask: Mask, registry: Registry
    ) -> bool:
        candidate = asked.candidate
        case_id = vault.duplicates.case_of(candidate.other, candidate.reference)
        if case_id is not None:
            known = self._read(vault, node, case_id)
            if known is None:
                return False  # it is answered once the case opens here
            own = masked_evidence(mask, vault.party, candidate, evidence(known))
            answer = DoubledEvidence(
                sender_reference=candidate.reference,
                receiver_reference=candidate.other_reference,
                question=question_digest(asked.points),
                doubled=texts(mask.of_pair(pair_text(vault.party, candidate)).apply(asked.points)),
                own=texts(sorted(own.values())),
            )
            self._send(vault, candidate.other, registry, answer, candidate.pair)
        vault.duplicates.answered_evidence(asked)
        return True

    def _compare(
        self, vault: Vault, node: Agency, other: str, mask: Mask, registry: Registry
    ) -> bool:
        """Ask ``other`` for the evidence of candidates, answer it, and weigh what it answered."""
        kept, moved = vault.duplicates, False
        place = (vault.party, other)
        if place in self._delivery.full:  # no person is read for a parcel that cannot go
            return False
        for asked in kept.to_answer_evidence(other, _AT_ONCE, self._unread):
            moved |= self._answer_evidence(vault, node, asked, mask, registry)
        for candidate in kept.to_compare(other, _AT_ONCE, self._unread):
            case_id = kept.case_of(other, candidate.reference)
            if case_id is None:
                kept.compared(candidate)
                continue
            known = self._read(vault, node, case_id)
            if known is None:
                continue
            own = masked_evidence(mask, vault.party, candidate, evidence(known))
            points = sorted(own.values())
            question = MaskedEvidence(
                sender_reference=candidate.reference,
                receiver_reference=candidate.other_reference,
                points=texts(points),
            )
            self._send(vault, other, registry, question, candidate.pair)
            kept.asked(candidate, points)
            moved = True
        if time.monotonic() < self._weighs_again_at.get(place, 0.0):
            return moved
        for answered in kept.to_weigh(other, _AT_ONCE, self._unread):
            try:
                self._weigh(vault, node, answered, mask)
            except QuotaUsedUpError:  # each attempt would read the person again
                self._weighs_again_at[place] = time.monotonic() + _AFTER_QUOTA_SECONDS
                break
            moved = True
        return moved

    def _weigh(self, vault: Vault, node: Agency, answered: AnsweredEvidence, mask: Mask) -> None:
        kept, candidate = vault.duplicates, answered.candidate
        case_id = kept.case_of(candidate.other, candidate.reference)
        if case_id is None:
            kept.compared(candidate)
            return
        known = self._read(vault, node, case_id)
        if known is None:
            return
        forms = evidence(known)
        own = masked_evidence(mask, vault.party, candidate, forms)
        if sorted(own.values()) != list(answered.points):
            kept.compare_again(candidate)
            return
        doubled = dict(zip(answered.points, answered.doubled, strict=True))
        of_pair = mask.of_pair(pair_text(vault.party, candidate))
        theirs = set(of_pair.apply(answered.theirs))
        agreed = [form for form in forms if doubled[own[form]] in theirs]
        self._keep_weighed(vault, candidate, forms, agreed)
        kept.compared(candidate)

    def _tell(self, vault: Vault, other: str, mask: Mask, registry: Registry) -> bool:
        """Send ``other`` the points, withdrawals and duplicates that it does not have yet."""
        kept, moved = vault.duplicates, False
        for reference in kept.to_withdraw(other, _AT_ONCE):
            withdrawn = TokensWithdrawn(reference=reference)
            self._send(vault, other, registry, withdrawn, reference)
            kept.withdrew(other, reference)
            moved = True
        for due in kept.to_send(other, mask.id, _AT_ONCE):
            message = MaskedCase(
                reference=due.reference,
                case_id=due.case_id,
                mask=due.computed_with,
                points=texts(due.points),
            )
            self._send(vault, other, registry, message, due.reference)
            kept.sent(other, due)
            moved = True
        for found in kept.to_tell(other, _AT_ONCE):
            match = found.match
            told = DuplicateFound(
                sender_reference=match.reference,
                receiver_reference=match.other_reference,
                agrees=match.agrees,
                strength=match.strength,
                found_at=found.found_at,
            )
            self._send(vault, other, registry, told, match.id)
            kept.told(found)
            moved = True
        for duplicate in kept.withdrawals_to_tell(other, _AT_ONCE):
            withdrawal = DuplicateWithdrawn(duplicate=duplicate)
            self._send(vault, other, registry, withdrawal, duplicate)
            kept.withdrawal_told(duplicate)
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
        make_due = {
            "masked_case": kept.tokens_due,
            "doubled_case": kept.answer_due,
            "masked_evidence": kept.evidence_due,
            "doubled_evidence": kept.evidence_answer_due,
            "tokens_withdrawn": kept.withdrawal_due,
            "duplicate_found": kept.telling_due,
            "duplicate_withdrawn": kept.withdrawal_of_duplicate_due,
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
        except NotAPointError as error:
            raise ParcelError("not-a-point", "a number in it is no point") from error
        except TooManyReceivedError as error:
            raise ParcelError("too-many-cases", "its sender names too many cases") from error
        except QuotaUsedUpError:
            quota = {MaskedCase: Quota.CHANGED_CASES, MaskedEvidence: Quota.ASKED_ANEW}.get(
                type(content), Quota.DUPLICATES
            )
            vault.quotas.refused(parcel.sender, quota)
            raise
        self.look()

    def _take_in(self, vault: Vault, parcel: Parcel, message: Message, registry: Registry) -> None:
        protocol = registry.protocol_today(clock.now())
        is_party = parcel.sender in protocol.party_codes
        if node_that_matches(protocol, parcel.sender) is None or not is_party:
            raise ParcelError("no-matching", "the protocol knows no matching by the sender's node")
        sender, kept = parcel.sender, vault.duplicates
        match message:
            case MaskedCase():
                self._take_points(vault, sender, message, registry)
            case DoubledCase():
                self._take_doubled(vault, sender, message, registry)
            case TokensWithdrawn():
                kept.take_withdrawal(sender, message.reference)
            case MaskedEvidence():
                if sender > vault.party:
                    raise ParcelError("not-the-askers", "the other country of the pair asks")
                candidate = Candidate(sender, message.receiver_reference, message.sender_reference)
                kept.take_question(AskedEvidence(candidate, points_of(message.points)))
            case DoubledEvidence():
                if sender < vault.party:
                    raise ParcelError("not-asked", "the other country of the pair is asked")
                candidate = Candidate(sender, message.receiver_reference, message.sender_reference)
                doubled, own = points_of(message.doubled), points_of(message.own)
                kept.take_answer(candidate, message.question, doubled, own)
            case DuplicateFound():
                ours, theirs = message.receiver_reference, message.sender_reference
                agrees = tuple(dict.fromkeys(message.agrees))
                match = Match(sender, ours, theirs, agrees, message.strength)
                kept.found(match, min(message.found_at, clock.now()), told=True)
            case DuplicateWithdrawn():
                if sender > vault.party:
                    raise ParcelError("not-the-askers", "the other country of the pair compares")
                kept.take_withdrawn_duplicate(sender, message.duplicate)
            case DuplicateAssessed():
                assessed_at = min(message.assessed_at, clock.now())
                kept.take_assessment(sender, message.duplicate, message.finding, assessed_at)

    def _take_points(
        self, vault: Vault, sender: str, message: MaskedCase, registry: Registry
    ) -> None:
        if message.case_id is not None:
            case = self._ledger.case(message.case_id)
            if case is None:
                raise NotHereYetError(cases=[message.case_id])
            protocol = registry.protocol_today(clock.now())
            if opened_by(case, protocol) != sender:
                raise ParcelError("not-the-senders", "the case is not the sender's to name")
            if vault.party not in case.state.parties:  # or this copy has not come so far
                message = message.model_copy(update={"case_id": None})
        mask = self._masks[vault.party].mask(registry.protocol_id, sender)
        received = ReceivedPoints(
            reference=message.reference,
            case_id=message.case_id,
            points=points_of(message.points),
            mask=message.mask,
            doubled_with=mask.id,
        )
        tokens = [token(one) for one in mask.apply(received.points)]
        vault.duplicates.take_points(sender, received, tokens)
        vault.duplicates.drop_unfounded(sender, received=message.reference)
        self._look_closer(vault, sender, received=message.reference)

    def _take_doubled(
        self, vault: Vault, sender: str, message: DoubledCase, registry: Registry
    ) -> None:
        mask = self._masks[vault.party].mask(registry.protocol_id, sender)
        sent = vault.duplicates.points(sender, message.reference)
        if sent is None or not mask.id == message.mask == sent.computed_with:
            return  # other points were sent since
        if message.by == mask.id:
            raise ParcelError("own-mask", "it names the receiver's mask as the sender's")
        multiples, by = points_of(message.doubled), points_of([message.by])[0]
        try:
            check_proof(by, sent.points, multiples, bytes.fromhex(message.proof))
        except ValueError as error:
            if self._answers_earlier(vault, sender, message):
                return  # the identity was stated anew while the answer was on its way
            raise ParcelError("proof-fails", str(error)) from error
        tokens = {
            token(one): kind
            for one, kind in zip(multiples, sent.kinds, strict=True)
            if kind is not None
        }
        if vault.duplicates.take_tokens_of(
            sender, message.reference, message.mask, sent.points, tokens
        ):
            vault.duplicates.drop_unfounded(sender, own=message.reference)
        self._look_closer(vault, sender, own=message.reference)

    @staticmethod
    def _answers_earlier(vault: Vault, sender: str, message: DoubledCase) -> bool:
        """Return whether a message truly answers points that the case had before."""
        multiples, by = points_of(message.doubled), points_of([message.by])[0]
        for points in vault.duplicates.earlier_points(sender, message.reference):
            with suppress(ValueError):
                check_proof(by, points, multiples, bytes.fromhex(message.proof))
                return True
        return False

    def _look_closer(
        self, vault: Vault, other: str, *, own: UUID | None = None, received: UUID | None = None
    ) -> None:
        """Keep new candidates, in the country that asks: the one whose code comes first."""
        if vault.party < other:
            found = vault.duplicates.candidates(other, own=own, received=received)
            vault.duplicates.add_candidates(found)


class NotAPointError(ValueError):
    """A message holds a number that is no point of the group."""


def texts(points: Iterable[bytes]) -> tuple[str, ...]:
    """Return points as they stand in messages."""
    return tuple(one.hex() for one in points)


def points_of(listed: Iterable[str]) -> tuple[bytes, ...]:
    """Return the points of a message. Raises ``NotAPointError``."""
    points = tuple(bytes.fromhex(one) for one in listed)
    try:
        check_points(points)
    except ValueError as error:
        raise NotAPointError from error
    return points


def kind_of(form: str) -> str:
    """Return the kind of a blocking form, such as ``names``."""
    return form.partition("|")[0]


def masked_points(
    mask: Mask, reference: UUID, known: ComparedIdentity
) -> tuple[Sequence[bytes], Sequence[str | None]]:
    """Return the points of a case under a mask in random order, with the kind of each.

    Points of no form fill up to ``BLOCKING_FORMS``; their kind is ``None``. They are the same as
    long as nothing that is compared changes, so that a repetition does not tell them apart.
    """
    forms = blocking_forms(known)
    about = reference.bytes + identity_digest(evidence(known))
    missing = BLOCKING_FORMS - len(forms)
    points = mask.apply(point(form) for form in forms)
    points += [mask.filler(about, number) for number in range(missing)]
    kinds: list[str | None] = [*map(kind_of, forms), *[None] * missing]
    placed = sorted(zip(points, kinds, strict=True), key=lambda one: one[0])
    return [one for one, _ in placed], [kind for _, kind in placed]


def identity_digest(forms: Iterable[Form]) -> bytes:
    """Return a digest of all that is compared of a person."""
    return hashlib.sha256("\n".join(f"{one.kind}|{one.text}" for one in forms).encode()).digest()


def pair_text(party: str, candidate: Candidate) -> str:
    """Return the name of a pair of cases, the same in both countries and of no other pair."""
    cases = ((party, candidate.reference), (candidate.other, candidate.other_reference))
    return "|".join(f"{country}|{reference}" for country, reference in sorted(cases))


def masked_evidence(
    mask: Mask, party: str, candidate: Candidate, forms: Sequence[Form]
) -> Mapping[Form | int, bytes]:
    """Return the evidence of one pair under the pair's mask, by its form, filled up by points.

    The points of another pair are others, so that evidence is compared within its pair alone.
    """
    text = pair_text(party, candidate)
    of_pair = mask.of_pair(text)
    points: dict[Form | int, bytes] = dict(
        zip(
            forms,
            of_pair.apply(point(f"{text}|{one.kind}|{one.text}") for one in forms),
            strict=True,
        )
    )
    about = identity_digest(forms)
    missing = range(EVIDENCE_FORMS - len(points))
    points.update((number, of_pair.filler(about, number)) for number in missing)
    return points


def match_of(candidate: Candidate, weighed: Weighed, least: float) -> Match:
    """Return the match that a candidate turned out to be."""
    return Match(
        candidate.other,
        candidate.reference,
        candidate.other_reference,
        weighed.agrees,
        strength(weighed.bits, least),
    )


def keep(vault: Vault, match: Match) -> None:
    """Store a match that was found here; it is sent to the other country later.

    Raises ``QuotaUsedUpError``.
    """
    try:
        is_new = vault.duplicates.found(match, clock.now(), told=match.other == vault.party)
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
    stated = [
        one
        for one in held
        if one.received_from is None
        and one.action_id in case.history
        and (one.action_id, one.field) not in ended
    ]
    own = {
        one.field: one.value
        for one in stated
        if one.field in _COMPARED and case.history[one.action_id].kind in STATING
    }
    if "birthdate" not in own and (year := estimated_year(stated, case)) is not None:
        own["birthdate"] = date(year, 1, 1)  # compared as a guessed date
    return _IDENTITY.validate_python(own)


def estimated_year(stated: Iterable[Held], case: Case) -> int | None:
    """Return the year of birth that the newest assessment of age gives, if it is narrow enough."""
    assessed: dict[UUID, dict[str, int]] = {}
    for one in stated:
        if case.history[one.action_id].kind == AgeAssessed.kind:
            assessed.setdefault(one.action_id, {})[one.field] = one.value
    newest = next((one for one in reversed(list(case.history)) if one in assessed), None)
    if newest is None:
        return None
    known = assessed[newest]
    if "birth_year" in known:
        return known["birth_year"]
    if not known.keys() >= {"age_from", "age_to"}:
        return None
    if known["age_to"] - known["age_from"] > _WIDEST_RANGE_YEARS:
        return None
    age = (known["age_from"] + known["age_to"]) // 2
    return case.history[newest].acted_at.year - age
