"""The filters of the audit page, each as it was typed."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from datetime import timedelta
from uuid import UUID

from api.services.case_search import start_of
from api.services.search_text import SoughtCase, SoughtReference, read_day, read_sought
from ledger.procedure.protocol import Operation
from ledger.vault.access_log import EntryFilter
from ledger.vocabulary.picklists import Purpose

MOST_CHARACTERS = 100
"""Of one value."""
_PICKED: Mapping[str, frozenset[str]] = {
    "operation": frozenset(Operation),
    "purpose": frozenset(Purpose),
    "answer": frozenset({"granted", "refused"}),
    "nodes": frozenset({"yes"}),
}


@dataclass(frozen=True, slots=True)
class AuditChoice:
    """Choices of a reader. An empty text limits nothing."""

    agency: str = ""
    operation: str = ""
    purpose: str = ""
    answer: str = ""
    case: str = ""
    """A case's id or reference."""
    day_from: str = ""
    day_to: str = ""
    nodes: str = ""

    @classmethod
    def of_form(cls, form: Mapping[str, list[str]]) -> "AuditChoice":
        """Return what a form says, without spaces around it."""
        return cls(
            **{
                one.name: form.get(one.name, [""])[0].strip()[:MOST_CHARACTERS]
                for one in fields(cls)
            }
        )

    @property
    def values(self) -> Mapping[str, str]:
        """Return the values that are chosen, by the names of the form's controls."""
        return {name: value for name, value in asdict(self).items() if value}

    @property
    def wrong(self) -> tuple[str, ...]:
        """Return the names of values that nothing can mean."""
        chosen = self.values
        found = [
            name for name, known in _PICKED.items() if chosen.get(name, "") not in known | {""}
        ]
        found += [
            name for name in ("day_from", "day_to") if name in chosen and not read_day(chosen[name])
        ]
        sought = read_sought(self.case)
        if sought is not None and not isinstance(sought, SoughtCase | SoughtReference):
            found.append("case")
        return tuple(found)

    @property
    def sought_case(self) -> SoughtCase | SoughtReference | None:
        """Return the case that was typed; ``None`` if none was."""
        sought = read_sought(self.case)
        return sought if isinstance(sought, SoughtCase | SoughtReference) else None

    def entry_filter(self, case_id: UUID | None, zone: str) -> EntryFilter:
        """Return the filter, with days as they are in a time zone. Nothing may be ``wrong``."""
        first, last = read_day(self.day_from), read_day(self.day_to)
        return EntryFilter(
            agency=self.agency or None,
            operation=Operation(self.operation) if self.operation else None,
            purpose=Purpose(self.purpose) if self.purpose else None,
            case_id=case_id,
            granted=self.answer == "granted" if self.answer else None,
            recorded_from=None if first is None else start_of(first, zone),
            recorded_before=None if last is None else start_of(last + timedelta(days=1), zone),
            with_nodes=bool(self.nodes),
        )
