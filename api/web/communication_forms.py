"""The content of the pages of communication forms: the steps of a case, and the parts of a form."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from pydantic import JsonValue

from api.paper.subject_access.wording import Wording
from api.web.case_text import FieldText, case_values, told
from api.web.printing_form import FormContent
from ledger.procedure.available_actions import Offer
from ledger.procedure.case_fold import annulled_ids
from ledger.procedure.communication_forms import CommunicationForm
from ledger.procedure.form_rules import SendableForm
from ledger.procedure.protocol import Protocol
from ledger.vault.held_fields import Held
from ledger.vocabulary.communication_forms import FormSent
from projections.folds.audit_trail import TrailEntry
from projections.folds.case_view import CaseView
from projections.folds.procedural_steps import ProceduralStep, procedural_steps


@dataclass(frozen=True, slots=True)
class SentForm:
    """A form that was sent, with its place on the trail."""

    form: CommunicationForm
    sending: TrailEntry
    contents: tuple[FormContent, ...]
    is_annulled: bool
    is_acknowledged: bool
    is_answered: bool
    receipt: TrailEntry | None
    """The acknowledgement, or the form that answered it; ``None`` while there is none."""


def steps_of(
    protocol: Protocol, view: CaseView, trail: Iterable[TrailEntry]
) -> list[ProceduralStep]:
    """Return the steps of the procedure in a case."""
    entries = list(trail)
    annulled = annulled_ids(entries)
    kinds = {entry.kind for entry in entries if entry.action_id not in annulled}

    def country_of(agency: str) -> str:
        return protocol.agencies_by_id[agency].party

    return list(procedural_steps(protocol.forms or (), view.forms, kinds, country_of))


def contents(
    form: CommunicationForm,
    actions: Iterable[UUID],
    trail: Sequence[TrailEntry],
    held: Iterable[Held],
) -> tuple[FormContent, ...]:
    """Return the actions that fill a form, with what the form carries of each.

    ``held`` has the fields at ``case`` level that the reader's country holds.
    """
    named, values = set(actions), case_values(trail, held)
    annulled = annulled_ids(trail)
    found = []
    for entry in trail:
        part = form.part(entry.kind)
        if part is None or entry.action_id not in named:
            continue
        whole: Mapping[str, JsonValue] = {**entry.fields, **values[entry.action_id]}
        carried = {name: value for name, value in whole.items() if part.carries(name)}
        found.append(FormContent(entry, carried, entry.action_id in annulled))
    return tuple(found)


def sent_form(
    form: CommunicationForm,
    sending: TrailEntry,
    view: CaseView,
    trail: Sequence[TrailEntry],
    held: Iterable[Held],
) -> SentForm:
    """Return a form that was sent, as the reader's country may see it."""
    state = next((one for one in view.forms if one.action == sending.action_id), None)
    named = str(sending.action_id)
    annulled = annulled_ids(trail)
    receipts = (
        entry
        for entry in trail
        if entry.action_id not in annulled
        and named in (entry.fields.get("sent"), entry.fields.get("answers"))
    )
    actions = sending.fields["actions"]
    return SentForm(
        form=form,
        sending=sending,
        contents=contents(form, map(UUID, _texts(actions)), trail, held),
        is_annulled=sending.action_id in annulled,
        is_acknowledged=state is not None and state.acknowledged,
        is_answered=state is not None and state.answered,
        receipt=next(receipts, None),
    )


def sending_offer(one: SendableForm) -> Offer:
    """Return the choices of the sending of one form."""
    return Offer(
        FormSent.kind,
        None,
        {
            "form_number": (str(one.form.number),),
            "addressee": one.addressees,
            "actions": tuple(map(str, one.actions)),
            "answers": tuple(map(str, one.answers)),
        },
    )


def presets(one: SendableForm) -> dict[str, tuple[str, ...]]:
    """Return what the sending of a form names unless the person changes it."""
    return {
        "form_number": (str(one.form.number),),
        "addressee": one.addressees[:1] if len(one.addressees) == 1 else (),
        "actions": tuple(map(str, one.proposed)),
        "answers": tuple(map(str, one.answers[:1])),
    }


def rows_of(
    some: Iterable[FormContent], named: Mapping[str, str], words: Wording
) -> list[tuple[FormContent, tuple[FieldText, ...]]]:
    """Return each content with its fields in words."""
    return [(one, told(one.entry.kind, one.fields, named, words)) for one in some]


def _texts(value: JsonValue) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
