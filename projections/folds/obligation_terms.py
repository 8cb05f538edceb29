"""The terms of obligations: why something is owed, in which state it is, and how it ended."""

from datetime import datetime
from enum import StrEnum


class ObligationKind(StrEnum):
    """The reason for which something is owed."""

    ACKNOWLEDGEMENT = "acknowledgement"
    """That a request for information has come."""
    ANSWER = "answer"
    """To a request for information."""
    FORM_ACKNOWLEDGEMENT = "form_acknowledgement"
    """That a communication form has come."""
    FORM_ANSWER = "form_answer"
    """The form that is the answer to another."""
    HANDOVER = "handover"
    """That the lead, which was offered, is taken."""
    JOINT_ACTION = "joint_action"
    PROCEDURE = "procedure"
    """A step that the protocol expects."""
    BREAK_GLASS_REVIEW = "break_glass_review"
    ERASURE = "erasure"
    HOLD_LIFTING = "hold_lifting"
    """That a party that left lifts its own legal hold, or another one reviews a hold that keeps a
    party that left from erasing."""
    DESTRUCTION = "destruction"
    """Of what an annulled action disclosed."""
    APPROVAL = "approval"
    """Of a proposed erasure, destruction, or closing as opened in error, by another party."""
    RECTIFICATION = "rectification"
    """The answer to a request of the person to put the record right."""
    MERGE = "merge"
    """The answer to a proposal to merge two cases of one person, or the undoing of a merge."""
    MEASURE_END = "measure_end"
    """That the end of a permit or a protection is recorded, or that it goes on."""
    COMPENSATION_CLAIM = "compensation_claim"
    """That compensation is claimed within its limit."""
    COMING_OF_AGE = "coming_of_age"
    """That the age is assessed when a child comes of age, so that what follows is prepared."""


ENDING_WITH_THEIR_DAY = frozenset({"error_closing_accepted"})
"""The actions that no agency can take any more after the day by which they are owed.

No event tells that the day is over. So the obligation stays open in the fold, and every reader, who
has a moment to read at, leaves it out (:func:`is_over`)."""


def is_over(
    action: str, due: datetime | None, expected_by: datetime | None, moment: datetime
) -> bool:
    """Return whether an open obligation ended by itself before a moment."""
    day = due or expected_by
    return action in ENDING_WITH_THEIR_DAY and day is not None and day < moment


class ObligationState(StrEnum):
    OPEN = "open"
    DISCHARGED = "discharged"
    LAPSED = "lapsed"
    """It is owed no more, and nobody did it."""


class ObligationOutcome(StrEnum):
    """The way in which an obligation ended."""

    DONE = "done"
    DECLINED = "declined"
    """A request was answered by declining it, which discharges."""
    ANNULLED = "annulled"
    """A correction annulled what it stood on: it was never owed."""
    CASE_CLOSED = "case_closed"
    MERGED = "merged"
    """The case continues in another one, where the step is owed from the earlier opening on."""
    PASSED_ON = "passed_on"
    """Another country or agency owes it now."""
    NOT_EXPECTED = "not_expected"
    """Its basis holds no more: an offer was replaced, a return was called off."""


class Dimension(StrEnum):
    """A dimension by which response times are grouped."""

    COUNTRY = "country"
    AGENCY = "agency"
    KIND = "kind"
    STANDING = "standing"
    """The ground of the deadline: a source, an assumption, or an adoption by the parties."""
