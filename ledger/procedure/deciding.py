"""Decides on an action by a registry, a case and a time: pure, and the same on every node.

The ledger node decides so before it appends. Whoever has the events of a size can repeat the
decision that the ledger node took then (:func:`refusal_by`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ledger.events.event import ActionRecorded
from ledger.events.event_bytes import MAX_BYTES
from ledger.procedure import case as cases
from ledger.procedure import registry as registries
from ledger.procedure.approvals import check_approval, check_unapproved
from ledger.procedure.case import Case
from ledger.procedure.merged_cases import NO_OTHERS, OtherCases, read_others
from ledger.procedure.named_checkpoint import RootAt, check_named_checkpoint
from ledger.procedure.protocol import read_recorded_text
from ledger.procedure.registry import Registry
from ledger.refusals import Ground, Refusal
from ledger.signing import signed_action
from ledger.signing.signed_action import SignedAction

_SEALED_BYTES = 100
"""The bytes that the time of recording adds to a signed action, at most."""


def decide_on_case(
    action: SignedAction,
    case: Case | None,
    case_version: int,
    registry: Registry,
    at: datetime,
    others: OtherCases = NO_OTHERS,
) -> ActionRecorded:
    """Return the event that a case action becomes, if it is recorded at the time ``at``.

    ``case`` is the case that the action names. ``case_version`` is the version that the agency
    acted on. ``others`` has the other cases that the rules read. Raises ``Refusal`` if the rules
    refuse the action.
    """
    check_size(action)
    check_protocol(action, registry)
    case_id = case_of(action)
    if case_id == registry.ledger_id:
        raise Refusal(Ground.INVALID, "case-id", "This id is the protocol's, not a case's.", "case")
    authenticate(action, registry, at)
    protocol = registry.next_protocol(at)
    event = cases.decide(case, action, case_id, protocol, at, others=others)
    if case_version != version_of(case):
        raise stale(version_of(case))
    check_approval(action, registry, protocol, at)  # last: a draft lacks nothing but this
    return event


def decide_on_protocol(
    action: SignedAction, registry: Registry | None, at: datetime, root_at: RootAt
) -> tuple[ActionRecorded, Registry]:
    """Return the event that an act on the protocol becomes, and the registry that judges it.

    The registry has the keys by which the act may be signed. ``registry`` is ``None`` before the
    protocol is adopted: then the act is the adoption. ``root_at`` is of the ledger's events before
    the act. Raises ``Refusal`` if the rules refuse the act.
    """
    check_size(action)
    check_unapproved(action)
    registries.decide(registry, action, at)
    if registry is None:
        judging, version = registries.evolve(None, action, at, 1), 0
    else:
        judging, version = registry, registry.version
    check_protocol(action, judging)
    authenticate(action, judging, at)
    check_named_checkpoint(action, root_at)
    _check_zones(action)
    event = ActionRecorded(judging.ledger_id, version + 1, action)
    _check_applied(registry, event, at)
    return event, judging


def _check_zones(action: SignedAction) -> None:
    """Check that this machine has the time zones of a text that an act proposes or adopts.

    A recorded text is not checked so: the databases of two machines may differ. Raises ``Refusal``.
    """
    if action.kind not in ("amendment_proposed", "protocol_adopted"):
        return
    try:
        read_recorded_text(action.fields["protocol"]).check_known_zones()
    except ValueError as error:
        raise Refusal(
            Ground.INVALID, "protocol", f"The protocol does not hold: {error}.", "act.protocol"
        ) from error


def refusal_by(
    events: Iterable[ActionRecorded],
    signed: str,
    case_id: UUID | None,
    case_version: int,
    at: datetime,
    root_at: RootAt,
) -> Refusal | None:
    """Return the refusal of a signed action after ``events``, or ``None`` if it is accepted.

    ``events`` are those of the protocol, of the case and of the other cases that the rules read, by
    position, from the adoption on.
    ``signed`` is the SD-JWT without disclosures. ``case_id`` is ``None`` for an act on the
    protocol. ``at`` is the time of the decision, and counts as no earlier than the last event.
    ``root_at`` is of the events of the size at which the action was decided.
    """
    registry: Registry | None = None
    known: dict[UUID, Case] = {}
    for event in events:
        if event.recorded_at is not None:
            at = max(at, event.recorded_at)
        if registry is None or event.originator_id == registry.ledger_id:
            registry, _ = registries.applied(registry, event)
        else:
            case_after, _ = cases.after_event(
                known.get(event.originator_id), event, registry.agreement
            )
            if case_after is not None:
                known[event.originator_id] = case_after
    try:
        action = signed_action.read(signed_action.parse(signed))
        if case_id is None:
            decide_on_protocol(action, registry, at, root_at)
        elif registry is not None:
            check_case(action, case_id)
            case = known.get(case_id)
            others = others_of(action, case, known.get)
            decide_on_case(action, case, case_version, registry, at, others)
    except Refusal as refusal:
        return refusal
    return None


def others_of(
    action: SignedAction, case: Case | None, read: Callable[[UUID], Case | None]
) -> Mapping[UUID, Case]:
    """Return the other cases that the rules read to decide on an action on ``case``."""
    state = case.state if case is not None else None
    return read_others(action.kind, action.fields, state, read)


def check_case(action: SignedAction, case_id: UUID) -> None:
    """Check that an action is on the case ``case_id``.

    Raises ``Refusal`` (``case-id``) if it is on another case.
    """
    if action.case_id != case_id:
        raise _another_case()


def case_of(action: SignedAction) -> UUID:
    """Return the case that an action names.

    Raises ``Refusal`` (``case-id``) if it names none.
    """
    if action.case_id is None:
        raise _another_case()
    return action.case_id


def check_size(action: SignedAction) -> None:
    """Check that an event's bytes have room for an action.

    Raises ``Refusal`` (``too-large``) if they do not.
    """
    most = MAX_BYTES - _SEALED_BYTES
    if len(action.sd_jwt) > most:
        raise Refusal(Ground.INVALID, "too-large", f"A signed action has at most {most} bytes.")


def check_protocol(action: SignedAction, registry: Registry) -> None:
    """Check that an action was signed for the registry's protocol.

    Raises ``Refusal`` (``protocol``) if it was signed for another one.
    """
    if action.protocol != registry.protocol_id:
        raise Refusal(
            Ground.INVALID, "protocol", "The action was signed for another protocol.", "protocol"
        )


def authenticate(action: SignedAction, registry: Registry, at: datetime) -> None:
    """Check that the agency signed the action with a key that counts ``at`` the time.

    Raises ``Refusal`` if it did not.
    """
    registry.agency(action.agency, at)
    signed_action.verify(action, registry.signing_key(action.key_id, action.agency, at))


def stale(current: int | None) -> Refusal:
    """Make the refusal of an action on a case that moved on, to version ``current``."""
    where = f"is at version {current} now" if current is not None else "moved on meanwhile"
    return Refusal(
        Ground.STALE,
        "case-version",
        f"The case {where}; read it again and decide whether the action still holds.",
        "If-Match",
    )


def version_of(case: Case | None) -> int:
    """Return the version of a case; 0 before it is opened."""
    return case.version if case else 0


def _another_case() -> Refusal:
    return Refusal(Ground.INVALID, "case-id", "The action was signed for another case.", "case")


def _next_position(registry: Registry | None) -> int:
    """Return a position that lies behind every change of the agreement."""
    return 1 if registry is None else registry.agreement.last_position + 1


def _check_applied(registry: Registry | None, event: ActionRecorded, now: datetime) -> None:
    """Check that a fold can apply an act, because each recorded event must be readable.

    Raises ``Refusal`` if no fold can.
    """
    _, mark = registries.applied(
        registry, replace(event, position=_next_position(registry), recorded_at=now)
    )
    if mark is not None:
        raise Refusal(
            Ground.INVALID,
            mark.value,
            "The act cannot be applied to the protocol as it stands; check its fields.",
            "act",
        )
