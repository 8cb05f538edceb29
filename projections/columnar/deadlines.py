"""The table of deadlines: every period of every version of the protocol, with its authority."""

from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa  # type: ignore[import-untyped]

from ledger.procedure.agreement import Agreement, ProtocolVersion
from ledger.procedure.conditions import Marked, Standing
from ledger.procedure.protocol import Protocol
from projections.columnar.column_shapes import MOMENT
from projections.folds.expected_steps import APPROVAL_DAYS
from projections.folds.obligation_terms import ObligationKind

TABLE: Final = "deadlines"
_TEXTS = pa.list_(pa.string())
SCHEMA: Final = pa.schema(
    [
        pa.field("protocol_version", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
        ("in_force_from", MOMENT),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),
        ("form", pa.int64()),
        ("after", _TEXTS),
        ("until", pa.string()),
        ("not_while", _TEXTS),
        ("whose_turn", pa.string()),
        ("roles", _TEXTS),
        ("parties", _TEXTS),
        pa.field("children_only", pa.bool_(), nullable=False),
        ("within_days", pa.int64()),
        ("again_within_days", pa.int64()),
        pa.field("makes_late", pa.bool_(), nullable=False),
        ("standing", pa.string()),
        ("source", pa.string()),
    ]
)

_Row = dict[str, Any]


def rows(agreement: Agreement, first: int, last: int) -> Iterator[_Row]:
    """Yield the periods of the versions that were adopted at positions from ``first`` to ``last``.

    ``position`` is that of the act that completed the adoption. ``in_force_from`` is the earliest
    time of recording of an event that the version judges; it is NULL for the first version.
    """
    for place, version in enumerate(agreement.versions):
        if first <= version.adopted_at <= last:
            for row in _of_text(version.protocol):
                yield _of_version(version, is_first=place == 0) | row


def _of_version(version: ProtocolVersion, *, is_first: bool) -> _Row:
    return {
        "protocol_version": version.protocol.version,
        "position": version.adopted_at,
        "in_force_from": None if is_first else version.earliest,
    }


def _of_text(protocol: Protocol) -> Iterator[_Row]:
    for one in protocol.expected:
        repeats = one.repeats
        yield {
            **_period(ObligationKind.PROCEDURE, one.action, one.within_days, one),
            "after": list(one.after),
            "until": one.until,
            "not_while": list(one.not_while),
            "whose_turn": one.by,
            "roles": list(one.roles),
            "parties": list(one.parties),
            "children_only": one.children_only,
            "again_within_days": repeats.within_days if repeats is not None else None,
        }
    for form in protocol.forms_by_number.values():
        for kind, action, days in (
            (
                ObligationKind.FORM_ACKNOWLEDGEMENT,
                "form_acknowledged",
                form.acknowledge_within_days,
            ),
            (ObligationKind.FORM_ANSWER, "form_sent", form.answer_within_days),
        ):
            if days is not None:
                yield _period(kind, action, days, form.periods) | {"form": form.number}
    yield from _of_accounts(protocol)


def _of_accounts(protocol: Protocol) -> Iterator[_Row]:
    """Yield the periods in which countries account to each other."""
    terms, leaving, person = (
        protocol.accountability_terms,
        protocol.withdrawal_terms,
        protocol.person_record,
    )
    yield _period(
        ObligationKind.BREAK_GLASS_REVIEW, "break_glass_reviewed", terms.review_days, terms
    )
    yield _period(ObligationKind.ERASURE, "erasure_confirmed", terms.erasure_days, terms)
    yield _period(ObligationKind.DESTRUCTION, "destruction_confirmed", terms.erasure_days, terms)
    # A text that names no period for approvals makes nobody late.
    approval = terms if terms.approval_days is not None else Marked(standing=Standing.ASSUMPTION)
    for action in ("erasure_approved", "destruction_approved"):
        days = terms.approval_days or APPROVAL_DAYS
        yield _period(ObligationKind.APPROVAL, action, days, approval)
    yield _period(
        ObligationKind.APPROVAL, "error_closing_accepted", terms.error_closing_days, terms
    )
    yield _period(ObligationKind.MERGE, "merge_undone", terms.merge_undoing_days, terms)
    left = {"whose_turn": "left"}
    yield (
        _period(ObligationKind.ERASURE, "erasure_confirmed", leaving.erase_within_days, leaving)
        | left
    )
    if leaving.hold_review_days is not None:
        days = leaving.hold_review_days
        yield _period(ObligationKind.HOLD_LIFTING, "legal_hold_lifted", days, leaving)
    if person is not None:
        days = person.rectification_days
        yield _period(ObligationKind.RECTIFICATION, "identity_recorded", days, person)


def _period(kind: ObligationKind, action: str, days: int | None, marked: Marked) -> _Row:
    return {
        "kind": kind.value,
        "action": action,
        "children_only": False,
        "within_days": days,
        "makes_late": days is not None and not marked.is_assumed,
        "standing": marked.standing.value if marked.standing is not None else None,
        "source": marked.source,
    }
