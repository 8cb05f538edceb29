"""Changes of the protocol's agencies by acts of their own countries.

The acts are in ``ledger.procedure.agency_acts``. A change counts from the position after its act.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger.procedure.protocol import Agency, Protocol, with_agencies
from ledger.vocabulary.types import RECORDED


class AgencyChangeKind(StrEnum):
    REGISTERED = "registered"
    INVITED = "invited"
    RENAMED = "renamed"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class AgencyChange:
    """A change of one agency by an act. It counts from the position after ``position`` on."""

    kind: AgencyChangeKind
    agency: str
    party: str
    position: int
    """The position of the act that completed the change."""
    recorded_at: datetime
    action: UUID
    """The action that made, or proposed, the change."""
    by: str
    """The coordinator that signed it."""
    told: Mapping[str, Any]
    """The values of the agency that the act states."""

    @property
    def is_new(self) -> bool:
        """Return whether the agency did not exist before."""
        return self.kind in (AgencyChangeKind.REGISTERED, AgencyChangeKind.INVITED)

    def applied(self, known: Agency | None) -> Agency:
        """Return the agency after this change; ``known`` is the agency before the change."""
        told = self.told
        if self.is_new:
            return _agency(
                {name: told[name] for name in _TOLD if told.get(name) is not None}
                | {"id": self.agency, "party": self.party, "role": told["role"]}
                | ({"international": True} if self.kind is AgencyChangeKind.INVITED else {})
            )
        if known is None:
            raise KeyError(self.agency)
        if self.kind is AgencyChangeKind.RETIRED:
            return known.model_copy(update={"retired_at": self.position})
        renamed = {name: told[name] for name in _TOLD if told.get(name) is not None}
        whole = known.model_dump(mode="json", exclude_none=True, exclude={"retired_at"})
        return _agency(whole | renamed).model_copy(update={"retired_at": known.retired_at})


def _agency(told: Mapping[str, Any]) -> Agency:
    return Agency.model_validate(told, context=RECORDED)


_TOLD = ("name", "names", "city", "office")
"""The parts of an agency that its country decides alone, however it was declared."""


def listed(protocol: Protocol, changes: Iterable[AgencyChange]) -> Protocol:
    """Return ``protocol`` with the agencies as ``changes`` left them, in order."""
    by_id = dict(protocol.agencies_by_id)
    for change in changes:
        known = by_id.get(change.agency)
        if known is not None or change.is_new:  # an earlier text may not have the agency
            by_id[change.agency] = change.applied(known)
    return with_agencies(protocol, tuple(by_id.values()))
