"""The record of an erasure: a reading of erased data answers with it."""

from datetime import datetime
from enum import StrEnum
from typing import Protocol as Interface
from uuid import UUID

from ledger.procedure.case_state import AnnouncedErasure, Erasure
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.picklists import ErasureGround
from ledger.vocabulary.types import UtcDatetime


class ErasureReason(StrEnum):
    ORDER = "order"
    """Two persons ordered it."""
    RETENTION = "retention"
    """The protocol's period of retention was over."""


class ErasedData(LedgerModel):
    """An erasure of one country's data on a person, with the action that ordered it."""

    erased_at: UtcDatetime
    """When this country's vault erased it."""
    reason: ErasureReason
    ground: ErasureGround | None = None
    """The ground on which two parties ordered it."""
    order: UUID | None = None
    """The action that ordered it."""
    announcement: UUID | None = None
    """The action that announced it, where the period of retention was over."""
    announced_at: UtcDatetime | None = None
    kept_days: int | None = None
    """The period of retention, after the closing."""
    closed_at: UtcDatetime | None = None


class Erasable(Interface):
    """A case in any of its forms, as a state or as a view."""

    @property
    def erasure(self) -> Erasure | None: ...

    @property
    def retention(self) -> AnnouncedErasure | None: ...

    @property
    def closed_at(self) -> datetime | None: ...


def erased_data(state: Erasable, erased_at: datetime | None) -> ErasedData | None:
    """Return the statement on a vault that erased at ``erased_at``, or ``None`` if it did not."""
    if erased_at is None:
        return None
    erasure, announced = state.erasure, state.retention
    if erasure is not None and erasure.order is not None:
        ground = ErasureGround(erasure.ground) if erasure.ground is not None else None
        return ErasedData(
            erased_at=erased_at, reason=ErasureReason.ORDER, ground=ground, order=erasure.order
        )
    return ErasedData(
        erased_at=erased_at,
        reason=ErasureReason.RETENTION,
        announcement=announced.announcement if announced is not None else None,
        announced_at=announced.announced_at if announced is not None else None,
        kept_days=announced.kept_days if announced is not None else None,
        closed_at=state.closed_at,
    )
