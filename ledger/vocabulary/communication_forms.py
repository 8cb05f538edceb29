"""The communication forms by which one State tells another what the procedure asks for.

A form has no content of its own: it names the actions of the case that fill it.
"""

from typing import Annotated, ClassVar

from pydantic import Field

from ledger.vocabulary.action import Action, OnCase, OnLedger
from ledger.vocabulary.documents import CaseDocument
from ledger.vocabulary.picklists import Stage as S
from ledger.vocabulary.types import ActionId, AgencyId, Text

FormNumber = Annotated[int, Field(ge=1, le=99)]
"""The number of a form in the protocol."""


class FormSent(Action):
    """A form of the protocol was sent to another country, which joins the case."""

    kind: ClassVar[str] = "form_sent"
    stage: ClassVar[S] = S.COORDINATION

    form_number: OnLedger[FormNumber]
    addressee: OnLedger[AgencyId]
    actions: OnLedger[Annotated[tuple[ActionId, ...], Field(min_length=1, max_length=40)]]
    """The actions of this case that fill the form."""
    answers: OnLedger[ActionId | None] = None
    """The sending of the form that this one answers."""
    remarks: OnCase[Text | None] = None
    case_document: OnCase[CaseDocument | None] = None
    """The form on paper, as it was signed."""


class FormAcknowledged(Action):
    """The addressee confirms that a form arrived."""

    kind: ClassVar[str] = "form_acknowledged"
    stage: ClassVar[S] = S.COORDINATION

    sent: OnLedger[ActionId]
    """The sending of the form."""
