"""Takes in a signed action: from the text that an agency sends to the receipt that it gets.

An append has seven steps. Each way below runs them from top to bottom:

1. Parse: the SD-JWT becomes the signed action and its disclosures.
2. Authorise the sender: the signer itself, or the node of the signer's country.
3. Check the disclosures: each against its digest and its field's model.
4. Deposit the disclosures in the vault of the sender's country.
5. Decide by the rules in force (``ledger.procedure.deciding``).
6. Record: the event gets its position and its time, and is durable. The time is known only then, so
   the rules are asked once more, by that time, without the signature.
7. Answer with the receipt.

There are three ways. :class:`DirectAppend` is the ledger node's: it runs all steps at once.
:class:`OutboxAppend` is a country node's: after step 4 it puts the action into the outbox, and the
ledger node runs the other steps when it can be reached. :class:`GuardedAppend` stands before either
and refuses to record while a trouble of the node forbids it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol as Interface
from typing import TypeVar
from uuid import UUID

from eventsourcing.persistence import PersistenceError
from rfc9457 import Problem

from api.client.schemas import Outcome, Receipt
from api.continuity.history_guard import HistoryGuard
from api.runtime.problem import problem
from api.runtime.readiness import check_may_record
from api.runtime.status import StatusCache
from api.runtime.trouble import Trouble
from api.services.action_status import Outcomes
from api.services.decisions import SignedDecisions
from api.services.linked_cases import check_linked_case, check_merge
from api.services.named_documents import named_documents
from api.services.person_dates import check_person_dates
from api.services.personal_data_access import write_down_refused
from api.services.receipts import receipt_document
from ledger.application import Decision, Ledger, deciding_again
from ledger.procedure.amendments import open_amendment, readable, unknown_amendment
from ledger.procedure.case_fold import annuls
from ledger.procedure.deciding import check_case
from ledger.procedure.disclosed_agencies import check_agencies, named_agencies
from ledger.procedure.protocol import NODE, Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.procedure.statements import STATING
from ledger.procedure.subject_ids import act_subject
from ledger.refusals import Ground, Refusal
from ledger.replication.outbox import Outbox
from ledger.replication.outcomes import OutboxState
from ledger.signing import signed_action
from ledger.signing.sd_jwt import Disclosure
from ledger.signing.signed_action import SignedAction
from ledger.store.database import ReconnectedError
from ledger.store.event_rows import RecordedRow
from ledger.store.recorder import ApartError
from ledger.system import clock
from ledger.system.retrying import AT_ONCE, retrying
from ledger.system.telemetry import span
from ledger.vault.deposits import KeyMissingError
from ledger.vault.documents.documents import NamedDocument
from ledger.vault.held_statements import ended_statements
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.action import Action
from ledger.vocabulary.documents import document_of

_PATIENCE_SECONDS = 5.0
_LOOK_SECONDS = 0.1
_DECISIONS = 2
"""So often an action is decided on again, where its refusal does not hold any more."""
_AGAIN = retrying(ReconnectedError, attempts=10, backoff=AT_ONCE)

T = TypeVar("T")


Check = Callable[[Registry], None]
"""Does step 3 by a registry. Raises ``Refusal``."""


@dataclass(frozen=True, slots=True)
class _Taken:
    """An action on a case that step 3 let pass, with what comes with it."""

    action: SignedAction
    disclosures: Sequence[Disclosure]
    documents: Sequence[NamedDocument]
    case_id: UUID
    case_version: int
    """The version that it acts on."""


class AppendService(Interface):
    """The append of a signed action. Each method raises ``Refusal``."""

    def on_case(
        self, sender: Agency, sent: str, case_id: UUID, case_version: int
    ) -> Receipt | Outcome:
        """Record an action on a case; an ``Outcome`` says that it waits, or was refused."""

    def on_protocol(self, sender: Agency, sent: str) -> Receipt | Outcome:
        """Record an act on the protocol itself."""

    def of_node(
        self, node: Agency, action: SignedAction, case_id: UUID | None, case_version: int
    ) -> None:
        """Record an action that this node itself signed, now or once the ledger node answers.

        It is on a case, or on the protocol itself if it names no case.
        """


class DirectAppend:
    """The ledger node records at once. Other nodes pass actions on without disclosures."""

    def __init__(
        self, ledger: Ledger, vaults: Vaults, decisions: SignedDecisions | None = None
    ) -> None:
        """Prepare the append at the ledger node.

        ``decisions`` signs the refusals of the rules; without it they are not signed.
        """
        self._ledger = ledger
        self._vaults = vaults
        self._decisions = decisions

    def on_case(self, sender: Agency, sent: str, case_id: UUID, case_version: int) -> Receipt:
        """Record an action on a case.

        Nothing of a refused action is kept, neither in the ledger nor in a vault. An error that is
        no refusal leaves the outcome open: the disclosures stay until it is known.
        """
        action, disclosures = _parsed(sent)  # step 1
        _authorise(self._ledger, sender, action)  # step 2
        try:
            if sender.role == NODE:  # the disclosures are in the vault of the sender's country
                _check_bare(disclosures)
                append = partial(self._ledger.append, action, case_id, case_version)
                receipt = self._by_rules(append, action, case_id, case_version)
            else:
                whole = signed_action.check_disclosures(action, disclosures)  # step 3
                vault = self._vaults.of(sender.party)
                check_case(action, case_id)
                check = partial(
                    _check_named, self._ledger, vault, action, disclosures, whole, case_version
                )
                checked = _by_what_is_known(self._ledger, check, case_id)
                _check_release(self._ledger, vault, action)
                documents = named_documents(self._ledger, vault, action, whole, case_id)
                taken = _Taken(action, disclosures, documents, case_id, case_version)
                # steps 4 to 6
                receipt = _AGAIN(lambda: self._record(vault, taken, check, checked))
        except Refusal as refusal:
            if sender.id == action.agency:  # another country's node writes its own down
                write_down_refused(self._vaults, sender, action, case_id, refusal.rule)
            raise
        return receipt_document(receipt)  # step 7

    def _record(self, vault: Vault, taken: _Taken, check: Check, checked: Registry) -> RecordedRow:
        """Deposit, decide and record: steps 4 to 6.

        ``checked`` is the registry that step 3 was done by. Where another one decides, step 3 is
        done again by that.

        The disclosures come first. The event is committed after them, to the same database's log,
        and waits for the disk, so the deposit need not. Raises ``ReconnectedError`` where the
        database may have crashed between the two commits: then both are to be done again, though
        the event may be there.
        """
        action, case_id, case_version = taken.action, taken.case_id, taken.case_version

        def decided() -> Decision | RecordedRow:
            decision = self._ledger.decide(action, case_version)
            if isinstance(decision, Decision) and decision.registry is not checked:
                check(decision.registry)
            return decision

        if (row := self._record_together(vault, taken, decided)) is not None:
            return row
        since = time.monotonic() if action.digests else None
        try:
            deposit = vault.deposit(
                action, case_id, taken.disclosures, durably=False, documents=taken.documents
            )  # step 4
        except Refusal:  # the person was erased, after this was recorded or before
            if (receipt := self._ledger.receipt_of(action)) is not None:
                return receipt
            raise

        def decided_and_recorded() -> tuple[RecordedRow, bool]:
            with span("ledger.record", {"kind": action.kind}):
                return deciding_again(
                    lambda: self._ledger.record(decided(), since=since)  # steps 5 and 6
                )

        try:
            receipt, is_new = self._by_rules(decided_and_recorded, action, case_id, case_version)
        except Refusal:
            _take_back(vault, action, deposit)
            raise
        if not is_new and vault.has_whole(action.id, besides=deposit):
            # What the action disclosed is in the vault since it was recorded.
            _take_back(vault, action, deposit)
        return receipt

    def _record_together(
        self, vault: Vault, taken: _Taken, decided: Callable[[], Decision | RecordedRow]
    ) -> RecordedRow | None:
        """Deposit and record in one transaction: steps 4 to 6 in one round trip.

        The result is ``None``, and nothing is kept, if the steps are to be done one after the
        other: another process appends too, the action has documents or was recorded before, or the
        deposit is refused. Raises ``Refusal`` if the rules refuse the action.
        """
        action = taken.action
        if taken.documents or not action.digests or not self._ledger.rows.appends_alone:
            return None
        try:
            alongside = vault.alongside(action, taken.case_id, taken.disclosures)
        except (Refusal, KeyMissingError):
            return None

        def recorded() -> tuple[RecordedRow, bool]:
            with span("ledger.record", {"kind": action.kind}):
                return deciding_again(lambda: self._ledger.record(decided(), alongside=alongside))

        try:
            row, is_new = self._by_rules(recorded, action, taken.case_id, taken.case_version)
        except ApartError:
            return None
        return row if is_new else None

    def on_protocol(self, sender: Agency, sent: str) -> Receipt:
        """Record an act on the protocol itself.

        Its disclosures, if it has any, lie in the vault apart from all cases (``act_subject``).
        """
        action, disclosures = _parsed(sent)
        _authorise(self._ledger, sender, action)
        append = partial(self._ledger.append_to_registry, action)
        if sender.role == NODE and sender.id != action.agency:
            _check_bare(disclosures)
        else:
            signed_action.check_disclosures(action, disclosures)
        if not disclosures:
            return receipt_document(self._by_rules(append, action, None, 0))
        vault = self._vaults.of(sender.party)
        if (receipt := self._ledger.receipt_of(action)) is not None:
            _complete(vault, action, disclosures, _subject(self._ledger, action))
            return receipt_document(receipt)
        deposit = vault.deposit(action, _subject(self._ledger, action), disclosures)
        try:
            return receipt_document(self._by_rules(append, action, None, 0))
        except Refusal:
            _take_back(vault, action, deposit)
            raise

    def of_node(
        self,
        node: Agency,  # noqa: ARG002
        action: SignedAction,
        case_id: UUID | None,
        case_version: int,
    ) -> None:
        """Record an action that this node itself signed."""
        if case_id is None:
            self._ledger.append_to_registry(action)
        else:
            self._ledger.append(action, case_id, case_version)

    def _by_rules(
        self,
        record: Callable[[], T],
        action: SignedAction,
        case_id: UUID | None,
        case_version: int,
    ) -> T:
        """Record an action by ``record``. Raises ``Refusal``, signed where the rules refuse it.

        The refusal that is signed is decided once more, by the state of one size of the ledger.
        Where that state accepts the action, it is recorded after all.
        """
        for _ in range(_DECISIONS):
            try:
                return record()
            except Refusal as refusal:
                if self._decisions is None:
                    raise
                signed = self._decisions.refusal(action, case_id, case_version)
                if signed is not None:
                    raise signed from refusal
        return record()


class OutboxAppend:
    """A country's node keeps an action durably, passes it on, and waits for its own copy of it."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        outbox: Outbox,
        outcomes: Outcomes,
        told: StatusCache,
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._outbox = outbox
        self._outcomes = outcomes
        self._told = told

    def on_case(
        self, sender: Agency, sent: str, case_id: UUID, case_version: int
    ) -> Receipt | Outcome:
        """Keep an action on a case, and pass it on.

        A refusal here is of an action that no ledger would take. The ledger node judges by the
        rules.
        """
        _check_no_node(sender)
        action, disclosures = _parsed(sent)  # step 1
        _authorise(self._ledger, sender, action)  # step 2
        whole = signed_action.check_disclosures(action, disclosures)  # step 3
        vault = self._vaults.of(sender.party)
        check_case(action, case_id)
        registry = self._ledger.adopted()
        _check_named(self._ledger, vault, action, disclosures, whole, case_version, registry)
        try:
            _check_release(self._ledger, vault, action)
        except Refusal as refusal:
            write_down_refused(self._vaults, sender, action, case_id, refusal.rule)
            raise
        documents = named_documents(self._ledger, vault, action, whole, case_id)
        if (receipt := self._ledger.receipt_of(action)) is not None:
            _complete(vault, action, disclosures, case_id, documents)
            return receipt_document(receipt)
        if not self._is_waiting(action):
            deposit = vault.deposit(action, case_id, disclosures, documents=documents)  # step 4
            # Steps 5 and 6 are the ledger node's; the outbox relay passes the action on to it.
            if not self._outbox.put(action, sender, case_id, case_version, deposit):
                vault.withdraw(action.id, deposit)  # the same came in at the same moment
        return self._await(action.id)  # step 7

    def on_protocol(self, sender: Agency, sent: str) -> Receipt | Outcome:
        """Keep an act on the protocol itself, and pass it on."""
        _check_no_node(sender)
        action, disclosures = _parsed(sent)
        _authorise(self._ledger, sender, action)
        signed_action.check_disclosures(action, disclosures)
        vault = self._vaults.of(sender.party)
        if (receipt := self._ledger.receipt_of(action)) is not None:
            _complete(vault, action, disclosures, _subject(self._ledger, action))
            return receipt_document(receipt)
        _check_readable(self._ledger, action)
        if not self._is_waiting(action):
            deposit = None
            if disclosures:
                deposit = vault.deposit(action, _subject(self._ledger, action), disclosures)
            if not self._outbox.put(action, sender, None, 0, deposit) and deposit is not None:
                vault.withdraw(action.id, deposit)
        return self._await(action.id)

    def of_node(
        self, node: Agency, action: SignedAction, case_id: UUID | None, case_version: int
    ) -> None:
        """Keep an action that this node itself signed, and pass it on."""
        if not self._is_waiting(action) and self._ledger.receipt_of(action) is None:
            self._outbox.put(action, node, case_id, case_version, None)

    def _is_waiting(self, action: SignedAction) -> bool:
        found = self._outbox.find(action)
        return found is not None and found.state is not OutboxState.REFUSED

    def _await(self, action_id: UUID) -> Receipt | Outcome:
        """Wait a little for the outcome, where the ledger node answers at all."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            outcome = self._outcomes.of(action_id)
            if outcome is None:
                raise RuntimeError("an action that was put into the outbox is not there")
            if outcome.receipt is not None:
                return outcome.receipt
            if outcome.problem is not None or self._is_away() or time.monotonic() > deadline:
                return outcome
            self._told.wait(_LOOK_SECONDS)

    def _is_away(self) -> bool:
        """Return whether the ledger node does not answer, or its log contradicts itself."""
        said = self._told.now
        diverged = any(trouble.rule == "log-diverged" for trouble in said.troubles)
        return diverged or (said.heard is not None and not said.heard.takes_actions)


class GuardedAppend:
    """Records as ``service`` does, unless a trouble of the node forbids it.

    An action that is recorded already gets its receipt all the same.
    """

    def __init__(
        self,
        ledger: Ledger,
        history: HistoryGuard,
        service: AppendService,
        troubles: Callable[[], Sequence[Trouble]],
        approving: Callable[[Agency, str], AbstractContextManager[None]] | None = None,
    ) -> None:
        """Prepare the guard.

        ``approving`` is entered while an approved action is recorded. It raises ``Refusal`` for one
        of a member of this node who is disabled, or that was taken back.
        """
        self._ledger = ledger
        self._history = history
        self._approving = approving
        self._service = service
        self._troubles = troubles

    def on_case(
        self, sender: Agency, sent: str, case_id: UUID, case_version: int
    ) -> Receipt | Outcome:
        """Record an action on a case, where recording is allowed."""
        approving: AbstractContextManager[None] = nullcontext()
        if not sent.endswith("~") and self._approving is not None:
            approving = self._approving(sender, sent)
        with self._by_this_history(), approving:
            return self._recorded_before(sender, sent, self._troubles()) or self._service.on_case(
                sender, sent, case_id, case_version
            )

    def on_protocol(self, sender: Agency, sent: str) -> Receipt | Outcome:
        """Record an act on the protocol itself, where recording is allowed."""
        troubles = [trouble for trouble in self._troubles() if not trouble.protocol_goes_on]
        with self._by_this_history():
            return self._recorded_before(sender, sent, troubles) or self._service.on_protocol(
                sender, sent
            )

    def of_node(
        self, node: Agency, action: SignedAction, case_id: UUID | None, case_version: int
    ) -> None:
        """Record an action that this node itself signed, if recording is allowed."""
        check_may_record(self._troubles())
        self._service.of_node(node, action, case_id, case_version)

    @contextmanager
    def _by_this_history(self) -> Iterator[None]:
        """Tell an older copy of the database from a refusal and from an error of this program.

        Raises ``Problem`` (``history-changed``) where the database has fewer events than before.
        """
        try:
            yield
        except (Refusal, PersistenceError):
            if self._history.is_shorter():
                check_may_record(self._history.look())
            raise

    def _recorded_before(
        self, sender: Agency, sent: str, troubles: Sequence[Trouble]
    ) -> Receipt | None:
        """Return the receipt of an action that was recorded before, while recording is forbidden.

        Returns ``None`` if recording is allowed. Raises ``Problem`` if recording is forbidden and
        the action was not recorded before.
        """
        try:
            check_may_record(troubles)
        except Problem:
            action, _ = _parsed(sent)
            _authorise(self._ledger, sender, action)
            if (receipt := self._ledger.receipt_of(action)) is None:
                raise
            return receipt_document(receipt)
        return None


def _check_readable(ledger: Ledger, action: SignedAction) -> None:
    """Check that this program reads the text that an act accepts.

    The ledger node's program may be later than this one. Raises ``Refusal`` (``unread-proposal``,
    or ``unknown-amendment`` if this node's copy has no such open proposal).
    """
    if action.kind not in ("amendment_accepted", "accession_accepted"):
        return
    amendment = open_amendment(ledger.adopted().amendments, UUID(action.fields["proposal"]))
    if amendment is None:
        raise unknown_amendment()
    readable(amendment)


def checked_draft(
    ledger: Ledger, vault: Vault, sender: Agency, sent: str, case_id: UUID, case_version: int
) -> SignedAction:
    """Run the steps 1 to 3 for an action that waits for an approval: it is kept nowhere by that.

    Raises ``Refusal``; ``draft-with-document`` for an action that carries a document.
    """
    action, disclosures = _parsed(sent)
    _authorise(ledger, sender, action)
    whole = signed_action.check_disclosures(action, disclosures)
    check_case(action, case_id)
    _check_named(ledger, vault, action, disclosures, whole, case_version, ledger.adopted())
    _check_release(ledger, vault, action)
    if whole is not None and document_of(whole) is not None:
        raise Refusal(
            Ground.INVALID,
            "draft-with-document",
            "An action that waits for an approval carries no document. Leave it out, and add the"
            " document once the action is recorded.",
            "document",
        )
    return action


def _parsed(sent: str) -> tuple[SignedAction, Sequence[Disclosure]]:
    """Step 1: read the signed action and its disclosures. Raises ``Refusal``."""
    parsed = signed_action.parse(sent)
    return signed_action.read(parsed), parsed.disclosures


def _protocol_today(ledger: Ledger) -> Protocol:
    return ledger.adopted().protocol_today(clock.now())


def _authorise(ledger: Ledger, sender: Agency, action: SignedAction) -> None:
    """Step 2: check that the signer sends the action, or the node of the signer's country.

    Raises ``Refusal`` (``own-action-only``).
    """
    if action.agency == sender.id:
        return
    signer = _protocol_today(ledger).agencies_by_id.get(action.agency)
    if sender.role == NODE and signer is not None and signer.party == sender.party:
        return
    raise Refusal(
        Ground.NOT_ALLOWED,
        "own-action-only",
        f"{sender.id} cannot send what another agency signed; each sends its own.",
        "iss",
    )


def _by_what_is_known(ledger: Ledger, check: Check, case_id: UUID) -> Registry:
    """Do step 3 by what this process knows, and return the registry that it was done by.

    If that refuses, it is done again by what the ledger has. Raises ``Refusal``.
    """
    registry = ledger.known_or_adopted()
    try:
        check(registry)
    except Refusal:
        registry = ledger.adopted()
        ledger.case(case_id)  # the case in memory has all its events now
        check(registry)
    return registry


def _check_named(
    ledger: Ledger,
    vault: Vault,
    action: SignedAction,
    disclosures: Sequence[Disclosure],
    whole: Action | None,
    case_version: int,
    registry: Registry,
) -> None:
    """Step 3: check the agencies, dates and cases that the disclosures name.

    The ledger node does not see them. ``whole`` is the action with its disclosures. Raises
    ``Refusal``.
    """
    protocol = registry.protocol_today(clock.now())
    if named := named_agencies(action, disclosures):
        check_agencies(action, named, protocol)
    if whole is not None:
        check_person_dates(ledger, protocol, action, whole, case_version)
        check_linked_case(ledger, protocol, action, whole)
        check_merge(ledger, action, whole, partial(_named_by, vault))


def _named_by(vault: Vault, case_id: UUID, proposal: UUID) -> object:
    """Return the case that a proposed merge names; ``None`` if this vault holds no such field."""
    held = vault.case_fields(case_id)
    return next(
        (one.value for one in held if one.action_id == proposal and one.field == "continues_in"),
        None,
    )


def _check_release(ledger: Ledger, vault: Vault, action: SignedAction) -> None:
    """Check that the vault holds the released fields, of the groups that the release names.

    An earlier statement on the person is released beside the one that counts, and not without it.
    The ledger node cannot check this: it sees digests alone. Raises ``Refusal``.
    """
    if action.kind != "information_released":
        return
    named = [(UUID(part["action"]), part["digests"]) for part in action.fields["released"]]
    held = vault.own_fields([action_id for action_id, _ in named])
    released: set[tuple[UUID, str]] = set()
    for action_id, digests in named:
        for digest in digests:
            field, group = held.get((action_id, digest), ("", None))
            released.add((action_id, field))
            if group is None:
                raise Refusal(
                    Ground.INVALID,
                    "not-held",
                    "A digest is of no personal field that this country's vault holds.",
                    "act.released",
                )
            if group not in action.fields["groups"]:
                raise Refusal(
                    Ground.INVALID,
                    "group-not-named",
                    f"A field of {group} is among those released; name its group too.",
                    "act.groups",
                )
    _check_newest(ledger, vault, action, released)


def _check_newest(
    ledger: Ledger, vault: Vault, action: SignedAction, released: set[tuple[UUID, str]]
) -> None:
    """Check that each earlier statement among ``released`` has the one that counts beside it.

    ``released`` has actions and fields. Raises ``Refusal``.
    """
    case = ledger.case(action.case_id) if action.case_id is not None else None
    if case is None or ledger.receipt_of(action) is not None:
        return
    stating = [act.id for act in case.history.values() if act.kind in STATING]
    own = [(action_id, field) for (action_id, _), (field, _) in vault.own_fields(stating).items()]
    ended = ended_statements(vault, case, own)
    for action_id, field in released:
        newer = ended.get((action_id, field))
        if newer is None or annuls(case.history[newer]):
            continue  # the rules refuse the release of an annulled action
        if (newer, field) not in released:
            raise Refusal(
                Ground.INVALID,
                "earlier-statement",
                "An earlier statement on the person is among those released without the one that"
                " counts now; release that one, alone or beside it.",
                "act.released",
            )


def _subject(ledger: Ledger, action: SignedAction) -> UUID:
    """Return the id under which the vaults keep the fields of an act on the protocol."""
    return act_subject(ledger.adopted().ledger_id, action.id)


def _take_back(vault: Vault, action: SignedAction, deposit: UUID) -> None:
    """Withdraw a deposit of step 4."""
    if action.digests:
        vault.withdraw(action.id, deposit)


def _complete(
    vault: Vault,
    action: SignedAction,
    disclosures: Sequence[Disclosure],
    case_id: UUID,
    documents: Sequence[NamedDocument] = (),
) -> None:
    """Take in the disclosures of a recorded action where the vault lacks any of them.

    A vault that was put back to an older copy lacks them: the agency sends the same action again.
    """
    is_lacking = not vault.has_whole(action.id) or (
        documents and not vault.documents.held([action.id])
    )
    if action.digests and is_lacking:
        with suppress(Refusal):  # the person was erased
            vault.deposit(action, case_id, disclosures, documents=documents)


def _check_no_node(sender: Agency) -> None:
    """Check that the sender is no node: a node passes actions on to the ledger node alone.

    Raises a problem (503) for a node, which is no refusal of the action.
    """
    if sender.role == NODE:
        raise problem(
            503,
            "Not available now",
            "not-the-ledger-node",
            "This is a country's node; pass actions on to the ledger node.",
        )


def _check_bare(disclosures: Sequence[Disclosure]) -> None:
    """Check that a node passes on no disclosures. Raises ``Refusal`` (``disclosures-stay``)."""
    if disclosures:
        raise Refusal(
            Ground.INVALID,
            "disclosures-stay",
            "A node passes on the signed action alone; its disclosures stay in its own vault.",
            "disclosures",
        )
