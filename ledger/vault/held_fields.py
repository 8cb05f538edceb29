"""Disclosures that a vault opened, and those that it could not open."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from uuid import UUID

from ledger.signing.sd_jwt import parse_disclosure
from ledger.vocabulary import ALL_ACTIONS
from ledger.vocabulary.levels import FieldGroup, Level


@dataclass(frozen=True, slots=True)
class Held:
    """One disclosure that a vault holds, opened."""

    action_id: UUID
    digest: str
    field: str
    level: Level
    group: FieldGroup | None
    received_from: str | None
    """The country that released it; ``None`` for the vault's own country's."""
    encoded: str

    @property
    def value(self) -> Any:
        return parse_disclosure(self.encoded).value


@dataclass(frozen=True, slots=True)
class Damaged:
    """A disclosure that does not open at its place: it was changed, or exchanged with another."""

    action_id: UUID
    field: str


class HeldFields(tuple[Held, ...]):
    """The disclosures that were opened. ``damaged`` has those that could not be."""

    damaged: tuple[Damaged, ...]

    def __new__(cls, held: Iterable[Held] = (), damaged: tuple[Damaged, ...] = ()) -> Self:
        made = super().__new__(cls, held)
        made.damaged = damaged
        return made


@cache
def declared_levels() -> frozenset[tuple[str, str, str | None]]:
    """Return each field of any action with its level and group.

    A row with another level was changed: a personal field would be shown without an entry in the
    access log.
    """
    return frozenset(
        (field, at.level.value, at.group.value if at.group else None)
        for model in ALL_ACTIONS.values()
        for field, at in ((name, model.level(name)) for name in model.disclosable_fields())
    )
