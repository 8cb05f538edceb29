"""Reports of what was announced, decided and published without a party."""

from uuid import UUID

from api.client.schemas.document import Document
from ledger.vocabulary.picklists import VoteSubject
from ledger.vocabulary.types import AgencyId, Country, UtcDatetime


class AnnouncedAbsence(Document):
    """An absence that another party announced."""

    id: UUID
    subjects: tuple[VoteSubject, ...]
    by: AgencyId
    """The agency that announced it."""
    position: int
    announced_at: UtcDatetime
    counts_from: UtcDatetime
    """Since when the party counts as absent for votes on these subjects."""
    ended_at: int | None
    """The position of the act by which the party ended it."""


class DecisionWithout(Document):
    """A log policy that the other parties adopted without a party."""

    position: int
    recorded_at: UtcDatetime | None
    without: tuple[Country, ...]
    policy: str
    """The policy in force from the next event on (C2SP tlog-policy)."""


class MissedPublications(Document):
    """Published checkpoints, one after the other, without a party's cosignature."""

    first: int
    """The size of the first one."""
    last: int
    count: int
    began_at: UtcDatetime
    ended_at: UtcDatetime
    covered_by: int | None
    """The size that the party's witness cosigned next, which vouches for these; ``None`` so far."""


class AbsenceReport(Document):
    """The announcements, decisions and publications without a party, as recorded by this node."""

    party: Country
    announced: tuple[AnnouncedAbsence, ...]
    decided: tuple[DecisionWithout, ...]
    published: tuple[MissedPublications, ...]
