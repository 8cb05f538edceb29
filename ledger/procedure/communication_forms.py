"""The communication forms of a protocol, as data: what fills each, who sends it, what it asks for.

The parties replace them by another text of the protocol, without code.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ledger.procedure.conditions import Marked, Standing
from ledger.vocabulary import CASE_ACTIONS
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.communication_forms import FormNumber
from ledger.vocabulary.types import LanguageTag, RecordedName

Days = Annotated[int, Field(ge=0, le=3660)]
_OF_FORMS = frozenset({"form_sent", "form_acknowledged"})


class FormSender(StrEnum):
    """The State that sends a form."""

    IDENTIFICATION = "identification"
    """The State whose agency opened the case."""
    OTHER = "other"
    """A State that joined the case: that of origin, as a rule."""
    EITHER = "either"


_EARLIER_MARKS = {
    "sourced": Standing.SOURCE,
    "assumption": Standing.ASSUMPTION,
    "adopted": Standing.ADOPTED,
}
"""The marks as earlier texts wrote them: one word as ``source``, and one as ``periods``."""
_UNNAMED = "The text does not name the source."


class FormPart(LedgerModel):
    """One kind of action that fills a form."""

    action: str
    fields: tuple[str, ...] = ()
    """The fields that the form carries; without any, all."""
    required: bool = False
    either_country: bool = False
    """Whether the action may be one of the other country, as in a record of both."""

    @model_validator(mode="after")
    def _names_what_exists(self) -> Self:
        model = CASE_ACTIONS.get(self.action)
        if model is None or self.action in _OF_FORMS:
            raise ValueError(f"forms: unknown action {self.action}")
        if unknown := set(self.fields) - model.model_fields.keys():
            raise ValueError(f"forms: {self.action} has no {', '.join(sorted(unknown))}")
        return self

    def carries(self, field: str) -> bool:
        """Return whether the form carries a field of the action."""
        return not self.fields or field in self.fields


class CommunicationForm(Marked):
    """A form by which one State tells another about a step of the procedure.

    Its own mark is that of its title and its content. ``periods`` has the mark of its days.
    """

    number: FormNumber
    title: RecordedName
    titles: dict[LanguageTag, RecordedName] = Field(default_factory=dict)
    """Its title by language."""
    step: RecordedName
    """The procedural step to which it belongs."""
    steps: dict[LanguageTag, RecordedName] = Field(default_factory=dict)
    """The step by language."""
    sender: FormSender = FormSender.EITHER
    roles: Annotated[tuple[str, ...], Field(min_length=1)]
    """The roles that send it."""
    recipients: Annotated[tuple[str, ...], Field(min_length=1)]
    """The roles that it is sent to."""
    parts: Annotated[tuple[FormPart, ...], Field(min_length=1)]
    acknowledge_within_days: Days | None = None
    answered_by: FormNumber | None = None
    """The form that is the answer to this one."""
    answer_within_days: Days | None = None
    periods: Marked = Marked()
    """The mark of ``acknowledge_within_days`` and ``answer_within_days``."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_marks(cls, form: Any) -> Any:
        return in_present_form(form) if isinstance(form, Mapping) else form

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        kinds = [part.action for part in self.parts]
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"forms: form {self.number} names an action twice")
        if self.answer_within_days is not None and self.answered_by is None:
            raise ValueError(f"forms: form {self.number} has a period of answer, and no answer")
        return self

    def part(self, kind: str) -> FormPart | None:
        """Return the part that an action of ``kind`` fills, or ``None``."""
        return next((part for part in self.parts if part.action == kind), None)

    def title_in(self, language: str) -> str:
        """Return the title in a language, or as the text has it."""
        return self.titles.get(language, self.title)

    def step_in(self, language: str) -> str:
        """Return the name of the step in a language, or as the text has it."""
        return self.steps.get(language, self.step)


def in_present_form(form: Mapping[str, Any]) -> dict[str, Any]:
    """Return a form with its marks as this program writes them.

    Texts that earlier programs recorded have one word as ``source`` and one as ``periods``.
    """
    words = (form.get("source"), form.get("periods"))
    is_earlier = "standing" not in form and not isinstance(form.get("periods"), Mapping | Marked)
    if not is_earlier or not any(one in _EARLIER_MARKS for one in words if isinstance(one, str)):
        return dict(form)
    rest = {name: value for name, value in form.items() if name not in ("source", "periods")}
    of_content, of_periods = map(_mark, words)
    return {**rest, **of_content, **({"periods": of_periods} if of_periods else {})}


def _mark(word: Any) -> dict[str, Any]:
    """Return the mark of an earlier text. A word that is none stays, for the model to refuse."""
    if word is None:
        return {}
    standing = _EARLIER_MARKS.get(word) if isinstance(word, str) else None
    if standing is None:
        return {"standing": word}
    source = {"source": _UNNAMED} if standing is Standing.SOURCE else {}
    return {"standing": standing.value, **source}


def check_forms(forms: Iterable[CommunicationForm], roles: Iterable[str]) -> None:
    """Check that forms name each other and the protocol's roles.

    Raises ``ValueError`` if they do not.
    """
    known, declared = list(forms), set(roles)
    numbers = [form.number for form in known]
    if len(set(numbers)) != len(numbers):
        raise ValueError("forms: two forms have the same number")
    for form in known:
        if undeclared := {*form.roles, *form.recipients} - declared:
            raise ValueError(f"forms: roles {sorted(undeclared)} are not declared")
        if form.answered_by is not None and form.answered_by not in numbers:
            raise ValueError(
                f"forms: form {form.number} names form {form.answered_by}, which is none"
            )
