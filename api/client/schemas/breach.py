"""The report on a breach: what was seen and done by a key, a member, a person or an agency."""

from typing import Annotated, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator

from api.client.schemas.document import Document
from ledger.procedure.readings import Reading
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.types import AgencyId, Country, UtcDatetime


class BreachRequest(Document):
    """The suspect, one of four, and the span of time."""

    key_id: Annotated[str, Field(min_length=43, max_length=43)] | None = None
    """A key, by its id."""
    member: UUID | None = None
    """A member of an agency, with every key that the member ever had."""
    person: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The pseudonym of a person whom an OpenID provider signs in, as the access log has it."""
    agency: AgencyId | None = None
    since: AwareDatetime
    until: AwareDatetime | None = None
    """Without it: now."""
    aware_at: AwareDatetime | None = None
    """When the controller became aware of the breach: 72 hours count from then."""

    @model_validator(mode="after")
    def _names_one_suspect(self) -> Self:
        suspects = (self.key_id, self.member, self.person, self.agency)
        if sum(one is not None for one in suspects) != 1:
            raise ValueError("name one of key_id, member, person and agency")
        if self.until is not None and self.until <= self.since:
            raise ValueError("until must be later than since")
        return self


class SuspectKey(Document):
    """A key of the suspect."""

    key_id: str
    agency: AgencyId
    member: UUID | None
    valid_from: UtcDatetime
    valid_until: UtcDatetime
    revoked_at: UtcDatetime | None
    """``None``: the key still signs and reads. Revoke it."""
    compromised_since: UtcDatetime | None


class SignedAct(Document):
    """An action that a key of the suspect signed."""

    position: int
    action_id: UUID
    case_id: UUID | None
    """``None`` for an act on the protocol."""
    kind: str
    key_id: str
    recorded_at: UtcDatetime
    recipient: Country | None = None
    """Of a release: the country that got the fields."""
    groups: tuple[FieldGroup, ...] = ()
    """Of a release, or of an access in danger to life."""


class AffectedCase(Document):
    """A case of which something was opened, or in which something was recorded."""

    case_id: UUID
    parties: tuple[Country, ...]
    """The countries of the case: each is to be told."""
    opened: tuple[FieldGroup, ...]
    """The groups of personal fields that were opened, or could have been by a granted reading."""
    readings: int
    downloads: int
    acts: int


class AffectedCountry(Document):
    """A country of affected cases."""

    country: Country
    cases: int


class Reach(Document):
    """The reach of the suspect: all that it could see, whether it was looked at or not."""

    agency: AgencyId
    cases: int
    """Cases whose fields at ``case`` and ``ledger`` level were open to the agency. Looking at them
    is in no log."""
    groups: tuple[FieldGroup, ...]
    """Groups of personal fields that the role may ever read; each reading is in the log."""
    every_event: bool
    """True if the agency follows the whole ledger."""


class BreachReport(Document):
    """The facts of a breach as far as this country's node has them. It names no person."""

    look: Reading
    """The entry of the access log that this report made."""
    since: UtcDatetime
    until: UtcDatetime
    keys: tuple[SuspectKey, ...]
    readings: tuple[Reading, ...]
    """Every entry of the suspect, the first one first: granted and refused."""
    granted: int
    refused: int
    documents: int
    """Documents that were opened, each counted once."""
    downloads: int
    searches: int
    acts: tuple[SignedAct, ...]
    cases: tuple[AffectedCase, ...]
    persons: int
    """Persons affected: cases that were merged count once."""
    countries: tuple[AffectedCountry, ...]
    reach: tuple[Reach, ...]
    aware_at: UtcDatetime | None
    notify_by: UtcDatetime | None
    """72 hours after ``aware_at``."""
    changed: tuple[int, ...]
    """Numbers of entries in the span that somebody changed: they may be the suspect's."""
    log_begins_at: UtcDatetime | None
    """The time of the first entry that is still kept, where earlier ones have ended."""
    is_cut: bool
    """True if there is more than this report has: ask for shorter spans."""
