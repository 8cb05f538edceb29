"""The rules of sending a communication form and of acknowledging it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.case_state import CaseState
from ledger.procedure.communication_forms import CommunicationForm, FormSender
from ledger.procedure.protocol import Agency, Protocol
from ledger.refusals import Ground, Refusal, invalid, not_allowed


def identifying_party(history: Mapping[UUID, Act], protocol: Protocol) -> str | None:
    """Return the country whose agency opened the case; ``None`` for a case without an opening."""
    for act in history.values():
        if act.kind == "case_opened" and act.agency in protocol.agencies_by_id:
            return protocol.agencies_by_id[act.agency].party
    return None


def may_send(
    form: CommunicationForm, agency: Agency, history: Mapping[UUID, Act], protocol: Protocol
) -> bool:
    """Return whether an agency is one of the senders of a form in a case."""
    if agency.role not in form.roles:
        return False
    if form.sender is FormSender.EITHER:
        return True
    opened_it = identifying_party(history, protocol) == agency.party
    return opened_it is (form.sender is FormSender.IDENTIFICATION)


def fitting_acts(
    form: CommunicationForm, agency: Agency, history: Mapping[UUID, Act], protocol: Protocol
) -> Iterator[Act]:
    """Yield the actions of a case with which an agency may fill a form, oldest first."""
    annulled = annulled_ids(history.values())
    for act in history.values():
        part = form.part(act.kind)
        if part is None or act.id in annulled:
            continue
        author = protocol.agencies_by_id.get(act.agency)
        if author is not None and (part.either_country or author.party == agency.party):
            yield act


def open_questions(number: int, agency: Agency, state: CaseState, protocol: Protocol) -> list[UUID]:
    """Return the sendings that an agency would answer with form ``number``, oldest first."""
    return [
        action
        for action, sent in state.forms.items()
        if protocol.agencies_by_id[sent.addressee].party == agency.party
        and not sent.answered
        and sent.answered_by == number
    ]


@dataclass(frozen=True, slots=True)
class SendableForm:
    """A form that an agency could send now, and what the sending may name."""

    form: CommunicationForm
    addressees: tuple[str, ...]
    """Of the case's other countries first."""
    actions: tuple[UUID, ...]
    """The actions that can fill it, oldest first."""
    proposed: tuple[UUID, ...]
    """Of these the newest of each kind."""
    answers: tuple[UUID, ...]
    """The sendings of forms that it would answer, oldest first."""


def sendable_forms(
    state: CaseState | None, history: Mapping[UUID, Act], agency: Agency, protocol: Protocol
) -> tuple[SendableForm, ...]:
    """Return the forms that an agency could send now: each is complete and has an addressee."""
    if state is None:
        return ()
    some = (sendable(form, state, history, agency, protocol) for form in protocol.forms or ())
    return tuple(one for one in some if one is not None)


def sendable(
    form: CommunicationForm,
    state: CaseState,
    history: Mapping[UUID, Act],
    agency: Agency,
    protocol: Protocol,
) -> SendableForm | None:
    """Return what the sending of a form may name; ``None`` if an agency cannot send it now."""
    acts = list(fitting_acts(form, agency, history, protocol))
    kinds = {act.kind for act in acts}
    lacking = any(part.required and part.action not in kinds for part in form.parts)
    if not acts or lacking or not may_send(form, agency, history, protocol):
        return None
    others = [
        one
        for one in protocol.working_agencies
        if one.party != agency.party and one.role in form.recipients
    ]
    if not others:
        return None
    others.sort(key=lambda one: one.party not in state.parties)
    return SendableForm(
        form=form,
        addressees=tuple(one.id for one in others),
        actions=tuple(act.id for act in acts),
        proposed=tuple({act.kind: act.id for act in acts}.values()),
        answers=tuple(open_questions(form.number, agency, state, protocol)),
    )


def check_sent(
    act: Act, state: CaseState, history: Mapping[UUID, Act], agency: Agency, protocol: Protocol
) -> None:
    """Check that a form is one of the protocol, complete, and sent by and to whom it says.

    Raises ``Refusal`` if it is not.
    """
    form = protocol.forms_by_number.get(act.fields["form_number"])
    if form is None:
        raise invalid("unknown-form", "The protocol has no form of this number.", "form_number")
    if agency.role not in form.roles:
        raise not_allowed("form-role", f"This form is sent by {', '.join(form.roles)}.")
    if not may_send(form, agency, history, protocol):
        opener = form.sender is FormSender.IDENTIFICATION
        whose = "the country that opened the case" if opener else "another country of the case"
        raise not_allowed("form-country", f"This form is sent by {whose}.")
    addressee = protocol.agencies_by_id[act.fields["addressee"]]
    if addressee.party == agency.party:
        raise invalid("form-addressee", "A form goes to another country.", "addressee")
    if addressee.role not in form.recipients:
        roles = ", ".join(form.recipients)
        raise invalid("form-addressee", f"This form goes to {roles}.", "addressee")
    if state.is_closed and addressee.party not in state.parties:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "form-closed-case",
            "The case is closed: a form brings no other country into it. Reopen the case first.",
            "act.addressee",
        )
    _check_content(form, act, history, agency, protocol)
    _check_answer(form, act, state, addressee, agency, protocol)


def _check_content(
    form: CommunicationForm,
    act: Act,
    history: Mapping[UUID, Act],
    agency: Agency,
    protocol: Protocol,
) -> None:
    fitting = {one.id: one for one in fitting_acts(form, agency, history, protocol)}
    named = [UUID(action) for action in act.fields["actions"]]
    for place, action in enumerate(named):
        if action not in fitting:
            raise invalid(
                "form-content",
                "This action does not fill the form: it is of another kind or another country, or"
                " is annulled.",
                f"actions.{place}",
            )
    if len(set(named)) != len(named):
        raise invalid("form-content", "An action is named twice.", "actions")
    kinds = {fitting[action].kind for action in named}
    for part in form.parts:
        if part.required and part.action not in kinds:
            raise invalid(
                "form-incomplete",
                f"Form {form.number} lacks {part.action}: record that action first, and name it.",
                "actions",
            )


def _check_answer(
    form: CommunicationForm,
    act: Act,
    state: CaseState,
    addressee: Agency,
    agency: Agency,
    protocol: Protocol,
) -> None:
    named = act.fields.get("answers")
    if named is None:
        return
    if UUID(named) not in open_questions(form.number, agency, state, protocol):
        raise invalid(
            "no-such-form", f"No open form in this case is answered by form {form.number}.",
            "answers",
        )  # fmt: skip
    asking = protocol.agencies_by_id[state.forms[UUID(named)].by]
    if asking.party != addressee.party:
        raise invalid("form-addressee", f"{asking.id} sent the form: answer it.", "addressee")


def check_acknowledged(act: Act, state: CaseState, agency: Agency, protocol: Protocol) -> None:
    """Check that the addressee of a form acknowledges it, once.

    Raises ``Refusal`` if not.
    """
    sent = state.forms.get(UUID(act.fields["sent"]))
    if sent is None:
        raise invalid("no-such-form", "No such form was sent in this case.", "sent")
    addressee = protocol.answering_for(sent.addressee)
    if not protocol.acts_for(agency, addressee.id):
        raise not_allowed(
            "addressee", f"Only {addressee.id} or its country's coordinator acknowledges this form."
        )
    if sent.acknowledged:
        raise Refusal(
            Ground.OUT_OF_PROCEDURE,
            "already-acknowledged",
            "This form is acknowledged already.",
            "act.sent",
        )
