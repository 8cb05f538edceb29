"""Field levels: who may see a field of a case action.

``ledger``   every party of the protocol; stays in the signed event for ever.
``case``     the countries party to the case; a salted disclosure. Of an act on the protocol, which
             is on no case: every party.
``personal`` whoever has a legal basis, by field group; a salted disclosure.
"""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    LEDGER = "ledger"
    CASE = "case"
    PERSONAL = "personal"


class FieldGroup(StrEnum):
    """The groups by which personal fields are released and read."""

    IDENTITY = "identity"
    CONTACT = "contact"
    FAMILY = "family"
    HEALTH = "health"
    EXPLOITATION = "exploitation"
    PROCEEDINGS = "proceedings"
    WHEREABOUTS = "whereabouts"
    CARE = "care"


@dataclass(frozen=True, slots=True)
class FieldLevel:
    """Marker put into ``Annotated`` metadata of every field of a case action."""

    level: Level
    group: FieldGroup | None = None

    def __post_init__(self) -> None:
        if (self.level is Level.PERSONAL) is (self.group is None):
            raise ValueError("a personal field, and no other, names its field group")


LEDGER = FieldLevel(Level.LEDGER)
CASE = FieldLevel(Level.CASE)


def personal(group: FieldGroup) -> FieldLevel:
    """Return the level of a personal field of ``group``."""
    return FieldLevel(Level.PERSONAL, group)
