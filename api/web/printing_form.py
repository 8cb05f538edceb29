"""A communication form on paper: what was sent, in two languages side by side."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import JsonValue

from api.paper.printing.case_number import case_number
from api.paper.printing.glyphs import Line, shown
from api.paper.printing.typesetting import PageFrame, set_pages, template
from api.paper.subject_access.wording import Wording
from api.web.case_text import names
from api.web.rendering import Words
from ledger.procedure.communication_forms import CommunicationForm
from ledger.procedure.conditions import Standing
from ledger.procedure.protocol import Protocol
from projections.folds.audit_trail import TrailEntry

_LETTERS_TOGETHER = 800
"""A field with so many letters at most is on one page."""
NUL = "\0"
"""Stands for the number of a page, and for that of the last one."""
Shown = tuple[Line, ...]
Pair = tuple[tuple[Shown, Shown], tuple[Shown, Shown]]
"""A label with its value, in each of the two languages."""


@dataclass(frozen=True, slots=True)
class FormContent:
    """One action that fills a form, with the fields that the form carries."""

    entry: TrailEntry
    fields: Mapping[str, JsonValue]
    is_annulled: bool = False
    """Whether the action was annulled since the form was sent."""


@dataclass(frozen=True, slots=True)
class PrintedForm:
    """A form that was sent, and everything that is said of it on paper."""

    form: CommunicationForm
    sending: TrailEntry
    remarks: str | None
    acknowledged_at: datetime | None
    code: str
    contents: Sequence[FormContent]
    trail: Sequence[TrailEntry]
    protocol: Protocol
    is_annulled: bool = False
    """Whether the sending was annulled."""

    def pdf(self, here: Words, there: Words, at: datetime) -> bytes:
        """Print the form in the languages of ``here`` and ``there``.

        Raises ``NotRendered``.
        """
        both = (here, there)
        content = {
            "languages": [words.things.known.primary for words in both],
            "other_title": shown(_title(self.form, there)),
            "about": list(_paired(self._about(here), self._about(there))),
            "notes": list(zip(self._notes(here), self._notes(there), strict=True)),
            "parts": [self._part(one, both) for one in self.contents],
            "proof": list(_paired(self._proof(here), self._proof(there))),
        }
        frame = PageFrame(
            language=here.things.known,
            title=_title(self.form, here),
            number=case_number(self.sending.case_id),
            page=f"{self.code} · {here.things.text('page', page=NUL, pages=NUL)}",
            made_at=at,
            practice=here.things.practice_mark,
        )
        return set_pages(template("communication_form.typ"), frame, content)

    def title(self, words: Words) -> str:
        """Return the number and the title of the form."""
        return _title(self.form, words)

    def _about(self, words: Words) -> Iterator[tuple[str, str]]:
        text, things, fields = words.texts.text, words.things, self.sending.fields
        yield text("forms.protocol"), things.proper_name(self.protocol.title)
        yield things.text("case.number"), case_number(self.sending.case_id)
        yield text("forms.step"), self.form.step_in(things.language)
        yield text("forms.from"), _agency(self.sending.agency, things)
        yield text("forms.to"), _agency(str(fields["addressee"]), things)
        yield text("forms.sent_on"), things.moment(self.sending.acted_at)
        receipt = self.acknowledged_at
        yield (
            text("forms.acknowledged_on"),
            "—" if receipt is None else things.moment(receipt),
        )
        if self.remarks is not None:
            yield things.field("remarks"), self.remarks

    def _notes(self, words: Words) -> Iterator[Shown]:
        text = words.texts.text
        if self.is_annulled:
            yield shown(text("forms.annulled"))
        yield shown(text(f"forms.source.{(self.form.standing or Standing.ADOPTED).value}"))
        if self.form.source is not None:
            yield shown(self.form.source)
        yield shown(text("forms.no_personal"))

    def _part(self, one: FormContent, both: tuple[Words, Words]) -> dict[str, object]:
        told = [list(self._told(one, words.things)) for words in both]
        longest = [max(len(value) for _, value in pair) for pair in zip(*told, strict=True)]
        return {
            "heading": [shown(words.things.kind(one.entry.kind)) for words in both],
            "by": [shown(_by(one, words)) for words in both],
            "fields": [
                {"pair": pair, "is_long": letters > _LETTERS_TOGETHER}
                for pair, letters in zip(_paired(*told), longest, strict=True)
            ],
        }

    def _told(self, one: FormContent, words: Wording) -> Iterator[tuple[str, str]]:
        named = names(self.protocol, self.trail, words)
        for field, value in one.fields.items():
            lines = words.value(one.entry.kind, field, value, named)
            yield words.field(field), "\n".join(lines) or "—"

    def _proof(self, words: Words) -> Iterator[tuple[str, str]]:
        text = words.texts.text
        yield text("forms.number"), str(self.form.number)
        yield text("print.position"), str(self.sending.position)
        yield text("forms.code"), self.code


def _title(form: CommunicationForm, words: Words) -> str:
    title = form.title_in(words.things.language)
    return words.texts.text("forms.titled", number=form.number, title=title)


def _by(one: FormContent, words: Words) -> str:
    entry, things = one.entry, words.things
    told = f"{_agency(entry.agency, things)}\n{things.day(entry.acted_at)}"
    return f"{told}\n{words.texts.text('forms.part_annulled')}" if one.is_annulled else told


def _agency(agency: str, words: Wording) -> str:
    protocol = words.protocol
    known = protocol.agencies_by_id.get(agency) if protocol is not None else None
    return agency if known is None else words.agency(known)


def _paired(left: Iterable[tuple[str, str]], right: Iterable[tuple[str, str]]) -> Iterator[Pair]:
    for (label, value), (other_label, other_value) in zip(left, right, strict=True):
        yield (shown(label), shown(value)), (shown(other_label), shown(other_value))
