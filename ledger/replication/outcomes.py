"""The states of an action in an outbox, and how a parcel leaves the mailbox."""

from enum import StrEnum


class OutboxState(StrEnum):
    """The state of an action in the outbox."""

    WAITING = "waiting"
    """The ledger node has not been told, or has not answered."""
    SENT = "sent"
    """The ledger node signed a decision, which this node's own copy does not confirm yet."""
    RECORDED = "recorded"
    REFUSED = "refused"


class MailboxOutcome(StrEnum):
    """The way in which a parcel left the mailbox."""

    ACKNOWLEDGED = "acknowledged"
    """The recipient signed an acknowledgement."""
    EXPIRED = "expired"
    """It waited too long."""
    LOST = "lost"
    """Its key was not there any more: database and keys were restored from different times."""
