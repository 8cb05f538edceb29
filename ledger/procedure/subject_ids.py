"""Keeps the ids of cases, of actions and of what lies outside cases apart.

A client chooses the id of each case and of each action. A vault keeps the fields of a case under
the case's id, and the fields of an act on the protocol under an id that is made here from the
act's id. Such an id is a UUID of version 8 (RFC 9562, section 5.8). From edition 2 of the rules on,
no case has an id of that version. So no client can place a case where the fields of an act lie, or
the other way round, whichever is recorded first.
"""

from collections.abc import Callable
from hashlib import sha256
from uuid import RFC_4122, UUID

from ledger.refusals import Ground, Refusal
from ledger.signing.signed_action import SignedAction
from ledger.vocabulary import REGISTRY_ACTIONS
from ledger.vocabulary.identification import CaseOpened

KEPT_APART_SINCE = 2
"""The edition of the rules from which on these ids are kept apart."""
CASE_ID_FORM = "case-id-form"
CASE_ID_TAKEN = "case-id-taken"
ACTION_ID_OF_CASE = "action-id-of-case"
_VERSION = 8


def act_subject(ledger_id: UUID, act: UUID) -> UUID:
    """Return the id under which the vaults keep the fields of an act on the protocol."""
    return _reserved(b"act on the protocol\n" + ledger_id.bytes + act.bytes)


def agency_subject(agency: str) -> UUID:
    """Return the id under which a vault keeps what an agency saved that is on no case."""
    return _reserved(b"an agency\n" + agency.encode())


def _reserved(named: bytes) -> UUID:
    number = int.from_bytes(sha256(named).digest()[:16])
    number = number & ~(0xF << 76) | _VERSION << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=number)


def is_reserved(subject: UUID) -> bool:
    """Return whether an id is of the version that :func:`act_subject` makes."""
    return subject.variant == RFC_4122 and subject.version == _VERSION


def check_case_id(case_id: UUID, opening: UUID) -> None:
    """Check the id that an opening gives a case, by the id alone.

    Raises ``Refusal`` (``case-id-form``).
    """
    if is_reserved(case_id):
        raise Refusal(
            Ground.INVALID,
            CASE_ID_FORM,
            f"A case cannot have a UUID of version {_VERSION}; choose one of version 7 or 4.",
            "case",
        )
    if case_id == opening:
        raise Refusal(
            Ground.INVALID,
            CASE_ID_FORM,
            "The case has the id of the action that opens it; choose another id for the case.",
            "case",
        )


def check_ids_apart(
    action: SignedAction,
    edition: int,
    ledger_id: UUID,
    is_case: Callable[[UUID], bool],
    is_action: Callable[[UUID], bool],
) -> None:
    """Check that an action takes no id of another kind that is recorded already.

    ``is_case`` and ``is_action`` say whether a case or an action has an id. Two actions that are
    recorded at the same moment may both pass: nothing rests on it, as their fields lie apart. So a
    recorded ledger is not judged by this check. Raises ``Refusal`` (``case-id-taken``,
    ``action-id-of-case``).
    """
    if edition < KEPT_APART_SINCE:
        return
    if action.kind == CaseOpened.kind and action.case_id is not None and is_action(action.case_id):
        raise Refusal(
            Ground.CONFLICT,
            CASE_ID_TAKEN,
            "This id is that of a recorded action; choose another id for the case.",
            "case",
        )
    if action.kind in REGISTRY_ACTIONS and (
        is_case(action.id) or (action.digests and is_case(act_subject(ledger_id, action.id)))
    ):
        raise Refusal(
            Ground.CONFLICT,
            ACTION_ID_OF_CASE,
            "This id is that of a case; choose another id for the action.",
            "jti",
        )
