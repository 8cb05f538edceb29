"""Opens personal fields to who may read them, and writes down who asked, granted or refused."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from api.runtime.problem import problem
from api.services.case_participation import sees_case
from api.services.merged_pairs import merged_with
from ledger.application import Ledger
from ledger.events.act import Act
from ledger.events.event import ActionRecorded
from ledger.procedure.case import Case, decide
from ledger.procedure.case_fold import evolve
from ledger.procedure.case_state import CaseState
from ledger.procedure.destruction_review import reviewed_action
from ledger.procedure.legal_basis import Basis, reading_bases
from ledger.procedure.protocol import COORDINATOR, NODE, OVERSIGHT, Agency, Operation, Protocol
from ledger.procedure.readings import Asked, BasisNamed, CopyKind, OwnPurpose, Reading
from ledger.refusals import Ground, Refusal
from ledger.replication.outbox import Outbox
from ledger.signing import signed_action
from ledger.signing.country_key import SealError
from ledger.signing.signed_action import SignedAction
from ledger.system import clock
from ledger.vault.access_log import CaseReadings
from ledger.vault.documents.documents import OpenedDocument
from ledger.vault.held_fields import Damaged, Held, HeldFields
from ledger.vault.held_statements import ended_statements
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import LegalBasis, Purpose

_MATRIX_SECONDS = 5.0
"""A reading waits at most so long for the access matrix of the version in force."""
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Reader:
    """The reader: an agency's system with its key, or a signed-in person of the agency."""

    agency: Agency
    key_id: str | None
    person: str | None
    is_from_own_page: bool = True
    """Whether no page of another site, and no link in a letter, can have made the request."""


@dataclass(frozen=True, slots=True)
class OpenedFields:
    """The opened fields, and their entry of the access log."""

    reading: Reading
    case: Case
    fields: Sequence[Held]
    damaged: Sequence[Damaged] = ()
    """Fields of the groups that do not open at their place."""
    ended: Mapping[tuple[UUID, str], UUID] = field(default_factory=dict)
    """The statements among the fields that do not count, by action and field.

    Each has the action by which it counts no more."""


class PersonalDataAccess:
    """The only way to a personal field: matrix, basis, entry in the access log, then the field."""

    def __init__(
        self,
        ledger: Ledger,
        vaults: Vaults,
        outbox: Outbox,
        moments: Callable[[], Sequence[datetime]] = lambda: (clock.now(),),
    ) -> None:
        """Prepare the access to the vaults.

        ``moments`` returns the times that it may be now: more than one if clocks differ.
        """
        self._moments = moments
        self._ledger = ledger
        self._vaults = vaults
        self._outbox = outbox

    def read(
        self,
        reader: Reader,
        case_id: UUID,
        groups: Iterable[FieldGroup],
        purpose: Purpose,
        basis: LegalBasis | None,
    ) -> OpenedFields:
        """Open the fields of ``groups`` that the reader's own country holds.

        With the basis of danger to life the matrix's ``break_glass`` counts, else its ``read``.
        Raises ``Refusal`` (``access-matrix``, ``no-legal-basis``), which is written down too.
        """
        case = self._case(reader, case_id)
        return self._open(reader, self._granted(reader, case, groups, purpose, basis), case)

    def read_document(
        self,
        reader: Reader,
        case_id: UUID,
        action: UUID,
        purpose: Purpose,
        basis: LegalBasis | None,
        copy_kind: CopyKind | None = None,
        *,
        is_reused: bool = False,
    ) -> OpenedDocument:
        """Open the content of a document that the reader's own country holds.

        The document is of the case, or of one that was merged with it: then the matrix and the
        basis are those of that case, and the entry of the access log is on that case. ``action`` is
        the action that has the document. The entry of the access log names it, and ``copy_kind``
        where it is downloaded. ``is_reused``: the content becomes an upload, for a document of the
        reader's own country. A document at ``case`` level needs no legal basis, and has an entry
        all the same. Raises ``Refusal`` (``unknown-document``, ``document-damaged``,
        ``received-document``) and as :meth:`read` does.
        """
        case = self._case_of_document(reader, case_id, action)
        vault = self._vaults.of(reader.agency.party)
        known = vault.documents.level_of(action, case.id)
        if known is None or action not in case.history or reader.agency.role in (OVERSIGHT, NODE):
            raise _no_document()
        if is_reused and self._party_of(case.history[action]) != reader.agency.party:
            raise _received_document()
        groups = () if known.group is None else (known.group,)
        reading = self._granted(reader, case, groups, purpose, basis, action, copy_kind)
        try:
            opened = vault.document(reading, action)
        except SealError:
            raise document_damaged() from None
        if opened is None:
            raise _no_document()
        return opened

    def _party_of(self, act: Act) -> str:
        return self._ledger.adopted().directory.agencies_by_id[act.agency].party

    def _case_of_document(self, reader: Reader, case_id: UUID, action: UUID) -> Case:
        """Return the case of an action: this one, or one that was merged with it."""
        case = self._case(reader, case_id)
        if action not in case.history and reader.agency.role not in (OVERSIGHT, NODE):
            for other in merged_with(self._ledger, reader.agency, case_id):
                if action in (merged := self._case(reader, other)).history:
                    return merged
        return case

    def _granted(
        self,
        reader: Reader,
        case: Case,
        groups: Iterable[FieldGroup],
        purpose: Purpose,
        basis: LegalBasis | None,
        concerning: UUID | None = None,
        copy_kind: CopyKind | None = None,
    ) -> Reading:
        """Check a reading, and write it down. Raises ``Refusal`` as :meth:`read` does."""
        protocol = self._ledger.adopted().protocol_today(clock.now())
        in_danger = basis is LegalBasis.DANGER_TO_LIFE
        operation = Operation.BREAK_GLASS if in_danger else Operation.READ
        asked = asked_by(reader, case.id, operation, groups, purpose)
        vault = self._vaults.of(reader.agency.party)
        try:
            check_matrix(protocol, reader.agency, operation, asked.groups)
            state = self._in_danger(case, reader, protocol) if in_danger else case.state
            bases = bases_of(
                state, case.history, protocol, reader.agency, asked.groups, basis, self._moments()
            )
        except Refusal as refusal:
            vault.readings.record(
                asked, refused_by=refusal.rule, concerning=concerning, copy_kind=copy_kind
            )
            raise
        await_matrix(vault, asked)
        return vault.readings.record(asked, bases=bases, concerning=concerning, copy_kind=copy_kind)

    def subject_access(self, reader: Reader, case_id: UUID) -> OpenedFields:
        """Open all personal fields held on a person, for that person.

        No basis is asked for: the person has a right to know all that is held on the person. Raises
        ``Refusal``.
        """
        case = self._case(reader, case_id)
        protocol = self._ledger.adopted().protocol_today(clock.now())
        asked = asked_by(
            reader, case_id, Operation.SUBJECT_ACCESS, FieldGroup, Purpose.SUBJECT_ACCESS
        )
        vault = self._vaults.of(reader.agency.party)
        try:
            check_matrix(protocol, reader.agency, Operation.SUBJECT_ACCESS, asked.groups)
        except Refusal as refusal:
            vault.readings.record(asked, refused_by=refusal.rule)
            raise
        await_matrix(vault, asked)
        return self._open(reader, vault.readings.record(asked), case)

    def give_document(self, reader: Reader, case_id: UUID, action: UUID) -> OpenedDocument:
        """Open the content of a document for the person whose case it is.

        The entry of the access log names the document. Raises ``Refusal`` (``access-matrix``,
        ``unknown-document``, ``document-damaged``).
        """
        vault = self._vaults.of(reader.agency.party)
        known = vault.documents.level_of(action, case_id)
        if known is None:
            raise _no_document()
        asked = self._asked_for_the_person(reader, case_id, known.group, action)
        try:
            opened = vault.document(vault.readings.record(asked, concerning=action), action)
        except SealError:
            raise document_damaged() from None
        if opened is None:
            raise _no_document()
        return opened

    def hold_back(
        self, reader: Reader, case_id: UUID, group: FieldGroup | None, action: UUID
    ) -> None:
        """Write down that a document is not given to the person. Raises ``Refusal``."""
        asked = self._asked_for_the_person(reader, case_id, group, action)
        vault = self._vaults.of(reader.agency.party)
        vault.readings.record(asked, refused_by="held-back", concerning=action)

    def _asked_for_the_person(
        self, reader: Reader, case_id: UUID, group: FieldGroup | None, action: UUID
    ) -> Asked:
        """Return the request to give a document to the person.

        Raises ``Refusal`` (``access-matrix``), which is written down too.
        """
        self._case(reader, case_id)
        protocol = self._ledger.adopted().protocol_today(clock.now())
        groups = () if group is None else (group,)
        operation = Operation.SUBJECT_ACCESS
        asked = asked_by(reader, case_id, operation, groups, Purpose.SUBJECT_ACCESS)
        try:
            # At `case` level too: who hands out one document of the person hands out all.
            check_matrix(protocol, reader.agency, operation, groups or FieldGroup)
        except Refusal as refusal:
            vault = self._vaults.of(reader.agency.party)
            vault.readings.record(asked, refused_by=refusal.rule, concerning=action)
            raise
        return asked

    def review(self, reader: Reader, case_id: UUID, proposal: UUID) -> OpenedFields:
        """Open what a proposed destruction would remove, as the reader's own country holds it.

        Raises ``Refusal`` (``not-a-reviewer``, ``no-such-proposal``), which is written down too.
        """
        case = self._case(reader, case_id)
        protocol = self._ledger.adopted().protocol_today(clock.now())
        asked = asked_by(
            reader, case_id, Operation.REVIEW_DESTRUCTION, FieldGroup, Purpose.PROTECTION
        )
        vault = self._vaults.of(reader.agency.party)
        try:
            annulled = reviewed_action(
                proposal, reader.agency, case.state, case.history, protocol, clock.now()
            )
        except Refusal as refusal:
            vault.readings.record(asked, refused_by=refusal.rule, concerning=proposal)
            raise
        reading = vault.readings.record(asked, concerning=annulled)
        held = vault.reviewed_fields(reading)
        return OpenedFields(reading, case, held, held.damaged)

    def case_of(self, reader: Reader, case_id: UUID) -> Case:
        """Return a case that the reader may know of. Raises ``Refusal`` (``unknown-case``)."""
        return self._case(reader, case_id)

    def readings(self, reader: Reader, case_id: UUID) -> CaseReadings:
        """Return the readings of the person's fields in this country.

        An agency sees its own requests. The coordinator, oversight, and the agency that hands the
        list to the person see all.
        """
        self._case(reader, case_id)
        if reader.agency.role == NODE:
            raise _nodes_copy_only()
        found = self._vaults.of(reader.agency.party).readings.of_case(case_id)
        protocol = self._ledger.adopted().protocol_today(clock.now())
        hands_out = protocol.allows(
            reader.agency.role, Operation.SUBJECT_ACCESS, FieldGroup.IDENTITY
        )
        if reader.agency.role in (COORDINATOR, OVERSIGHT) or hands_out:
            return found
        own = (reading for reading in found if reading.asked.agency == reader.agency.id)
        return CaseReadings(own, found.changed)

    def _in_danger(self, case: Case, reader: Reader, protocol: Protocol) -> CaseState:
        """Return the state with the reader's actions that the ledger node has not recorded yet.

        These are the openings in danger to life, which does not wait for a machine: such an action
        is durable here, signed, and on its way.
        """
        state = case.state
        for waiting in self._outbox.waiting_of(reader.agency.id, case.id):
            action = signed_action.read_recorded(waiting.sd_jwt)
            if action.kind != "break_glass_opened" or action.id in case.history:
                continue
            event = ActionRecorded(
                case.id, state.version + 1, action, state.position + 1, waiting.received_at
            )
            with suppress(Refusal):
                decide(case, action, case.id, protocol, waiting.received_at)
                state = evolve(state, event.as_act(), protocol)
        return state

    def _case(self, reader: Reader, case_id: UUID) -> Case:
        case = self._ledger.case(case_id)
        if case is None or (
            not sees_case(self._ledger, reader.agency, case) and reader.agency.role != OVERSIGHT
        ):
            raise Refusal(
                Ground.UNKNOWN, "unknown-case", "There is no such case for this agency to see."
            )
        return case

    def _open(self, reader: Reader, reading: Reading, case: Case) -> OpenedFields:
        return _opened(self._vaults.of(reader.agency.party), reading, case)


def opened_together(
    vault: Vault,
    readings: Sequence[Reading],
    cases: Mapping[UUID, Case],
    fields: Collection[str],
) -> Sequence[OpenedFields]:
    """Open some fields of several persons, each as a granted entry of the access log opens them.

    The entries have the same role, operation and groups; ``cases`` has the case of each.
    """
    return [
        _counted(vault, reading, cases[reading.asked.case_id], held)
        for reading, held in zip(readings, vault.personal_fields_of(readings, fields), strict=True)
    ]


def _opened(vault: Vault, reading: Reading, case: Case) -> OpenedFields:
    return _counted(vault, reading, case, vault.personal_fields(reading))


def _counted(vault: Vault, reading: Reading, case: Case, held: HeldFields) -> OpenedFields:
    recorded = case.history.keys()
    return OpenedFields(
        reading,
        case,
        [one for one in held if one.action_id in recorded],
        [one for one in held.damaged if one.action_id in recorded],
        ended_statements(vault, case, [(one.action_id, one.field) for one in held]),
    )


def await_matrix(vault: Vault, asked: Asked) -> None:
    """Wait until the vault's tables let through what the version of the protocol in force allows.

    They follow a moment after a version comes into force. Raises a ``Problem``
    (``access-matrix-behind``) if they do not; then nothing is granted or written down.
    """
    deadline = time.monotonic() + _MATRIX_SECONDS
    while vault.closed_groups(asked.role, asked.operation, asked.groups):
        if time.monotonic() > deadline:
            raise problem(
                503,
                "Not open in the database yet",
                "access-matrix-behind",
                "The protocol in force allows this reading, and the database of this node has the"
                " access matrix of another version. Ask again in a moment. If this stays, the"
                " owner of the database must run `case-ledger migrate`.",
                {"Retry-After": "5"},
            )
        time.sleep(_LOOK_SECONDS)


_ASKING = {
    "information_requested": Operation.REQUEST,
    "information_released": Operation.RELEASE,
    "break_glass_opened": Operation.BREAK_GLASS,
}
"""Actions that ask for personal fields; the accepted ones are on the trail."""


def write_down_refused(
    vaults: Vaults, agency: Agency, action: SignedAction, case_id: UUID, rule: str
) -> None:
    """Put a refused action that asked for personal fields into the access log."""
    operation = _ASKING.get(action.kind)
    groups = action.fields.get("groups")
    if operation is None or not groups or not vaults.has(agency.party):
        return
    purpose = action.fields.get("purpose", Purpose.DANGER_TO_LIFE)
    asked = asked_by(
        Reader(agency, action.key_id, None),
        case_id,
        operation,
        map(FieldGroup, groups),
        Purpose(purpose),
    )
    vaults.of(agency.party).readings.record(asked, refused_by=rule)


def check_matrix(
    protocol: Protocol, agency: Agency, operation: Operation, groups: Iterable[FieldGroup]
) -> None:
    """Check that the protocol allows an agency this operation on the groups.

    Raises ``Refusal`` (``access-matrix``) if the protocol never allows it.
    """
    denied = [g.value for g in groups if not protocol.allows(agency.role, operation, g)]
    if denied:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "access-matrix",
            f"A {agency.role} has no {operation} of {', '.join(denied)} in this protocol.",
            "groups",
        )


def asked_by(
    reader: Reader,
    case_id: UUID,
    operation: Operation,
    groups: Iterable[FieldGroup],
    purpose: Purpose | OwnPurpose,
) -> Asked:
    """Return the request as the access log writes it down.

    Raises ``Refusal`` (``cross-site``), which is not written down, if a page of another site can
    have made the request: its author would write the entry in the name of the reader.
    """
    if not reader.is_from_own_page:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "cross-site",
            "A person's request comes from this node's own pages, and says so.",
            "Sec-Fetch-Site",
        )
    return Asked(
        agency=reader.agency.id,
        role=reader.agency.role,
        person=reader.person,
        key_id=reader.key_id,
        case_id=case_id,
        operation=operation,
        groups=tuple(dict.fromkeys(groups)),
        purpose=purpose,
    )


def bases_of(
    state: CaseState,
    history: Mapping[UUID, Act],
    protocol: Protocol,
    agency: Agency,
    groups: Iterable[FieldGroup],
    named: LegalBasis | None,
    moments: Sequence[datetime],
) -> Mapping[FieldGroup, BasisNamed]:
    """Return the basis of each group: the one that is named, or any but danger to life.

    It must hold at each of the ``moments`` that it may be now.
    """

    def fits(basis: Basis) -> bool:
        if named is None:
            return basis.kind is not LegalBasis.DANGER_TO_LIFE
        return basis.kind is named

    found: dict[FieldGroup, BasisNamed] = {}
    for group in groups:
        first, *others = (
            list(reading_bases(state, protocol, agency, group, m, history)) for m in moments
        )
        bases = (basis for basis in first if all(basis in other for other in others))
        basis = next(filter(fits, bases), None)
        if basis is None:
            raise Refusal(
                Ground.NOT_ALLOWED,
                "no-legal-basis",
                f"Nothing recorded in this case allows {agency.id} to read {group} now: record "
                "a consent or a best-interests decision, or open access in danger to life.",
                "groups",
            )
        found[group] = BasisNamed(kind=basis.kind, action=basis.action)
    return found


def document_damaged() -> Refusal:
    """Return the refusal of a document whose key or content does not open here."""
    return Refusal(
        Ground.OUT_OF_PROCEDURE,
        "document-damaged",
        "The document does not open here: its key or a part of it was lost or changed. Tell the"
        " operator of this node.",
    )


def _received_document() -> Refusal:
    return Refusal(
        Ground.NOT_ALLOWED,
        "received-document",
        "Another country gave this document for this case. Its content does not become a document"
        " of this country, which could release it further: ask that country to add it, or a"
        " version without some pages.",
    )


def _no_document() -> Refusal:
    return Refusal(
        Ground.UNKNOWN,
        "unknown-document",
        "This node has no content of such a document for this agency. A content of another"
        " country comes with the case or by a release, and may be on its way: see"
        " `case-ledger document inventory`.",
    )


def _nodes_copy_only() -> Refusal:
    return Refusal(
        Ground.NOT_ALLOWED, "nodes-copy-only", "A node copies events; people read cases."
    )
