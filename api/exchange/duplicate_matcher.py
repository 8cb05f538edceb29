"""Finds that two cases are of one person, in two countries or in one, and tells the coordinators.

Follows the ledger for the country's own cases, makes points of each for each other country under a
mask of its own, and gives each country its points back under the own mask. Where two cases have a
token in common, their evidence is compared and weighed. What is found is kept in both vaults. Every
step may be repeated: what is still to be done is in the vault's tables.
"""

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
from ledger.vault.duplicates.candidates import AnsweredEvidence, AskedEvidence
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
    own_token,
    point,
    random_point,
    token,
)
from ledger.vault.duplicates.matches import Candidate, Match
from ledger.vault.duplicates.messages import (
    DoubledCase,
    DoubledEvidence,
    DuplicateAssessed,
    DuplicateFound,
    MaskedCase,
    MaskedEvidence,
    Message,
    TokensWithdrawn,
)
from ledger.vault.duplicates.own_tokens import OwnCase, Sendable
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
_EVERY_SECONDS = 1.0
_BETWEEN_BATCHES_SECONDS = 0.25
"""A look asks many questions: what comes meanwhile is answered by one."""
_AT_LEAST_EVERY_SECONDS = 3.0
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
            if node is not None and vault.party in protocol.party_codes:
                moved |= self._follow(vault, protocol)
                others = [
                    other
                    for other in registry.country_keys
                    if other != vault.party and other in protocol.party_codes
                ]
                masks = {
                    other: self._masks[vault.party].mask(registry.protocol_id, other)
                    for other in others
                }
                for other in others:
                    self._address(vault, other, registry.country_keys[other].id)
                if not vault.closed_groups(node.role, Operation.MATCH, (FieldGroup.IDENTITY,)):
                    moved |= self._index(vault, node, masks)
                    moved |= self._compare_own(vault, node)
                    for other, mask in masks.items():
                        with suppress(QuotaError):  # that country has to fetch first
                            moved |= self._compare(vault, node, other, mask, registry)
                for other, mask in masks.items():
                    with suppress(QuotaError):
                        moved |= self._answer(vault, other, mask, registry)
                        moved |= self._tell(vault, other, mask, registry)
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
                vault.duplicates.add_case(case.id, protocol.party_codes)
                vault.duplicates.joined(case.id, case.state.parties)
                if case.id in stated:
                    vault.duplicates.stated_anew(case.id)
            else:
                foreign[case.id] = opener
        vault.duplicates.note_opened(foreign)
        vault.advance(WORK, upto)
        return True

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
        forms = blocking_forms(known)
        for one in cases:
            if one.other == vault.party:
                key, secret = self._own_key(vault)
                tokens = {own_token(secret, form): kind_of(form) for form in forms}
                vault.duplicates.put_own_tokens(one, key, tokens)
                found = vault.duplicates.own_candidates(one.reference)
                vault.duplicates.add_candidates(found)
            else:
                mask = masks[one.other]
                vault.duplicates.put_points(one, mask.id, *masked_points(mask, forms))

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
        candidates = kept.to_compare(party, _AT_ONCE)
        for candidate in candidates:
            references = (candidate.reference, candidate.other_reference)
            cases = [kept.case_of(party, reference) for reference in references]
            known = [self._read(vault, node, case) for case in cases if case is not None]
            mine, theirs = known if len(known) == 2 else (None, None)
            if mine is not None and theirs is not None:
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

        Raises ``QuotaUsedUpError``.
        """
        named, cases, others = vault.duplicates.with_the_names(candidate)
        weighed, least = weigh(forms, agreed, name_bits(named, cases)), threshold(others)
        if weighed.bits >= least and weighed.agrees:
            keep(vault, match_of(candidate, weighed, least))

    def _answer(self, vault: Vault, other: str, mask: Mask, registry: Registry) -> bool:
        """Give ``other`` its points back under the own mask too."""
        kept, moved = vault.duplicates, False
        for stale in kept.to_double(other, mask.id, _AT_ONCE):
            renewed = replace(stale, doubled_with=mask.id)
            kept.double(other, renewed, [token(one) for one in mask.apply(stale.points)])
            moved = True
        for received in kept.to_answer(other, mask.id, _AT_ONCE):
            doubled = DoubledCase(
                reference=received.reference,
                mask=received.mask,
                doubled=texts(mask.apply(received.blinded)),
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
        known = None if case_id is None else self._read(vault, node, case_id)
        if known is not None:
            answer = DoubledEvidence(
                sender_reference=candidate.reference,
                receiver_reference=candidate.other_reference,
                doubled=texts(mask.apply(asked.points)),
                own=texts(sorted(masked_evidence(mask, candidate, evidence(known)).values())),
            )
            self._send(vault, candidate.other, registry, answer, candidate.reference)
        vault.duplicates.answered_evidence(asked)
        return True

    def _compare(
        self, vault: Vault, node: Agency, other: str, mask: Mask, registry: Registry
    ) -> bool:
        """Ask ``other`` for the evidence of candidates, answer it, and weigh what it answered."""
        kept, moved = vault.duplicates, False
        for asked in kept.to_answer_evidence(other, _AT_ONCE):
            moved |= self._answer_evidence(vault, node, asked, mask, registry)
        for candidate in kept.to_compare(other, _AT_ONCE):
            case_id = kept.case_of(other, candidate.reference)
            known = None if case_id is None else self._read(vault, node, case_id)
            if known is None:
                kept.compared(candidate)
                continue
            points = sorted(masked_evidence(mask, candidate, evidence(known)).values())
            question = MaskedEvidence(
                sender_reference=candidate.reference,
                receiver_reference=candidate.other_reference,
                points=texts(points),
            )
            self._send(vault, other, registry, question, candidate.reference)
            kept.asked(candidate, points)
            moved = True
        for answered in kept.to_weigh(other, _AT_ONCE):
            with suppress(QuotaUsedUpError):  # it is weighed on another day
                self._weigh(vault, node, answered, mask)
                moved = True
        return moved

    def _weigh(self, vault: Vault, node: Agency, answered: AnsweredEvidence, mask: Mask) -> None:
        kept, candidate = vault.duplicates, answered.candidate
        case_id = kept.case_of(candidate.other, candidate.reference)
        known = None if case_id is None else self._read(vault, node, case_id)
        if known is None:
            kept.compared(candidate)
            return
        forms = evidence(known)
        own = masked_evidence(mask, candidate, forms)
        if not {own[form] for form in forms} <= set(answered.points):
            kept.compare_again(candidate)
            return
        doubled = dict(zip(answered.points, answered.doubled, strict=True))
        theirs = set(mask.apply(answered.theirs))
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
        for due in kept.to_send(other, _AT_ONCE):
            if mask.id != due.computed_with:
                continue
            message = MaskedCase(
                reference=due.reference,
                case_id=due.case_id,
                mask=due.computed_with,
                points=texts(due.points),
                blinded=texts(blinded_points(mask, due)),
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
            is_case = isinstance(content, MaskedCase)
            quota = Quota.CHANGED_CASES if is_case else Quota.DUPLICATES
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
                candidate = Candidate(sender, message.receiver_reference, message.sender_reference)
                if not kept.take_question(AskedEvidence(candidate, points_of(message.points))):
                    raise ParcelError("too-many-questions", "its sender asks too much at once")
            case DoubledEvidence():
                candidate = Candidate(sender, message.receiver_reference, message.sender_reference)
                kept.take_answer(candidate, points_of(message.doubled), points_of(message.own))
            case DuplicateFound():
                ours, theirs = message.receiver_reference, message.sender_reference
                agrees = tuple(dict.fromkeys(message.agrees))
                match = Match(sender, ours, theirs, agrees, message.strength)
                kept.found(match, message.found_at, told=True)
            case DuplicateAssessed():
                kept.take_assessment(
                    sender, message.duplicate, message.finding, message.assessed_at
                )

    def _take_points(
        self, vault: Vault, sender: str, message: MaskedCase, registry: Registry
    ) -> None:
        if message.case_id is not None:
            case = self._ledger.case(message.case_id)
            if case is None:
                raise NotHereYetError(cases=[message.case_id])
            protocol = registry.protocol_today(clock.now())
            if opened_by(case, protocol) != sender or vault.party not in case.state.parties:
                raise ParcelError("not-the-senders", "the case is not the sender's to name")
        mask = self._masks[vault.party].mask(registry.protocol_id, sender)
        received = ReceivedPoints(
            reference=message.reference,
            case_id=message.case_id,
            points=points_of(message.points),
            blinded=points_of(message.blinded),
            mask=message.mask,
            doubled_with=mask.id,
        )
        tokens = [token(one) for one in mask.apply(received.points)]
        vault.duplicates.take_points(sender, received, tokens)
        self._look_closer(vault, sender, received=message.reference)

    def _take_doubled(
        self, vault: Vault, sender: str, message: DoubledCase, registry: Registry
    ) -> None:
        mask = self._masks[vault.party].mask(registry.protocol_id, sender)
        sent = vault.duplicates.points(sender, message.reference)
        if sent is None or not mask.id == message.mask == sent.computed_with:
            return  # other points were sent since
        answers = points_of(message.doubled)
        known = [i for i, kind in enumerate(sent.kinds) if kind is not None]
        unblinded = mask.unblind(
            sent.reference.bytes, [sent.points[i] for i in known], [answers[i] for i in known]
        )
        tokens = {token(one): sent.kinds[i] or "" for i, one in zip(known, unblinded, strict=True)}
        vault.duplicates.take_tokens_of(sender, message.reference, message.mask, tokens)
        self._look_closer(vault, sender, own=message.reference)

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


def masked_points(mask: Mask, forms: Sequence[str]) -> tuple[Sequence[bytes], Sequence[str | None]]:
    """Return the points of a case under a mask in random order, with the kind of each.

    Random points fill up to ``BLOCKING_FORMS``; their kind is ``None``.
    """
    kinds: list[str | None] = [kind_of(form) for form in forms]
    points = mask.apply(point(form) for form in forms)
    missing = BLOCKING_FORMS - len(forms)
    points += [random_point() for _ in range(missing)]
    placed = sorted(zip(points, [*kinds, *[None] * missing], strict=True), key=lambda one: one[0])
    return [one for one, _ in placed], [kind for _, kind in placed]


def blinded_points(mask: Mask, sent: Sendable) -> Sequence[bytes]:
    """Return the points of a case blinded, random ones in place of those that only fill up."""
    return [
        random_point() if kind is None else mask.blind(sent.reference.bytes, [one])[0]
        for one, kind in zip(sent.points, sent.kinds, strict=True)
    ]


def masked_evidence(
    mask: Mask, candidate: Candidate, forms: Sequence[Form]
) -> Mapping[Form | int, bytes]:
    """Return the evidence of one pair under a mask, by its form, filled up by random points.

    The points of another pair are others, so that evidence is compared within its pair alone.
    """
    first, second = sorted((candidate.reference, candidate.other_reference))
    points: dict[Form | int, bytes] = dict(
        zip(
            forms,
            mask.apply(point(f"{first}|{second}|{one.kind}|{one.text}") for one in forms),
            strict=True,
        )
    )
    points.update((number, random_point()) for number in range(EVIDENCE_FORMS - len(points)))
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
