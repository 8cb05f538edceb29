"""The health of a node: whether it runs, whether it can serve, and its troubles."""

from collections.abc import Mapping
from enum import StrEnum

from api.client.schemas.document import Document
from ledger.vocabulary.types import Country, UtcDatetime


class Effect(StrEnum):
    """The effect of a trouble on those who use the node, from the least to the worst."""

    WARNING = "warning"
    """``/ready`` answers 200: the node does all that it should, and its operator has work to do."""
    NOT_READY = "not-ready"
    """``/ready`` answers 503. The node still takes actions, and answers all that it is asked."""
    NO_RECORDING = "no-recording"
    """``/ready`` answers 503, and so does every new action. Reading goes on."""


class Side(StrEnum):
    """The side at which a parcel waits."""

    MAILBOX = "mailbox"
    """It lies in this ledger node's mailbox."""
    SENT = "sent"
    """This country sends it, and has no acknowledgement."""
    RECEIVED = "received"
    """It waits for this country, which has not acknowledged it."""


class Following(Document):
    """The state of a country's node towards the ledger node that it copies from."""

    ledger_url: str
    reachable: bool
    heard_at: UtcDatetime | None
    """When the ledger node answered last."""
    trouble: str | None
    waiting: int
    """How many actions of its agencies have no outcome yet."""
    waiting_since: UtcDatetime | None = None
    """Since when the first of them waits."""
    own_seconds: float | None = None
    """The median time until an own action of the last day was in this node's copy."""
    others_seconds: float | None = None
    """The median time from signing to recording of other countries' last actions."""
    others_recorded_since: int = 0
    """How many of other countries' last actions were recorded since ``waiting_since``."""


class Health(Document):
    status: str
    version: str
    """The version of the program that answers."""


class ReadinessTrouble(Document):
    """One thing that is wrong with a node."""

    rule: str
    effect: Effect
    message: str


class ParcelsWaiting(Document):
    """Parcels of one country for another that were not acknowledged, as this node sees them."""

    side: Side
    sender: Country
    recipient: Country
    parcels: int
    oldest_at: UtcDatetime


class Readiness(Document):
    """The readiness of this node, with its position."""

    status: str
    protocol: str
    head: int
    """The last position of the ledger."""
    views: Mapping[str, int]
    """The position that each view stands at."""
    published: int
    """The size of the last checkpoint that a quorum of witnesses cosigned."""
    witnesses: Mapping[str, int]
    """The size that each witness cosigned last, as this node knows it."""
    following: Following | None = None
    """``None`` on the ledger node."""
    worked_at: UtcDatetime | None
    """When the process that follows, publishes and folds said anything last: seconds ago."""
    parcels: tuple[ParcelsWaiting, ...] = ()
    """The parcels that wait between countries: at the mailbox, at the sender, at the recipient."""
    troubles: tuple[ReadinessTrouble, ...] = ()
    """The matters that the operator should look at, though the node is ready."""
