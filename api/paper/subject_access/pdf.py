"""A person's file as a tagged PDF (PDF/UA-1) in plain words, on A4."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any
from uuid import UUID

from api.paper.printing.case_number import case_number
from api.paper.printing.glyphs import Line, has_codes, shown
from api.paper.printing.typesetting import NotRendered, PageFrame, set_pages
from api.paper.subject_access.document import Access, HeldField, SubjectFile, agency_names
from api.paper.subject_access.wording import Wording, wording
from ledger.procedure.erasures import ErasedData, ErasureReason
from ledger.procedure.registry import SignatureState
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.linking import MergeUndone
from ledger.vocabulary.picklists import CorrectionEffect, ErasureGround
from projections.folds.audit_trail import TrailEntry

__all__ = ["NotRendered", "render"]
Shown = tuple[Line, ...]

_RIGHTS = (
    "rights.access",
    "rights.explain",
    "rights.correct",
    "rights.erase",
    "rights.complaint",
    "rights.child",
)


def render(file: SubjectFile, words: Wording | None = None, *, is_part: bool = False) -> bytes:
    """Return the PDF, the same bytes for the same file and words.

    ``is_part``: whether the file is one of its parts, which says so.

    ``words`` are those of the file's language; without them the program's own, at UTC. Raises
    ``NotRendered``, and ``ScriptNotInFontsError``.
    """
    words = words or wording(file.language)
    frame = PageFrame(
        language=words.known,
        title=words.text("title"),
        number=case_number(file.case_id),
        page=words.text("page", page="\0", pages="\0"),
        made_at=file.made_at,
        practice=words.practice_mark,
    )
    return set_pages(_template(), frame, _AccessPage(file, words, is_part).content())


@dataclass(frozen=True)
class _AccessPage:
    """The texts of the template. They are never read as markup."""

    file: SubjectFile
    words: Wording
    is_part: bool

    def content(self) -> dict[str, Any]:
        file, text = self.file, self._text
        return {
            "protocol": shown(self.words.proper_name(file.protocol_title)),
            "erased": self._erased(),
            "is_part": self.is_part,
            "about": [
                text(
                    "about.part" if self.is_part else "about.what",
                    country=self.words.country(file.country),
                ),
                text("about.record"),
                text("about.others"),
                text("about.made", moment=self._moment(file.made_at)),
                *([text("sign.codes")] if self._has_codes else []),
            ],
            "rights": [text(name) for name in _RIGHTS],
            "facts": [[text(f"case.{name}"), shown(value)] for name, value in self._facts()],
            "held": [self._section(*section) for section in self._sections()],
            "accesses": [self._access(access) for access in file.accesses],
            "trail": [self._entry(entry) for entry in file.trail],
            "texts": {name.replace(".", "_"): text(name) for name in _HEADINGS},
        }

    def _erased(self) -> Shown | None:
        """Return when and why the data was erased, in one paragraph."""
        file, text = self.file, self.words.text
        if file.erased_at is None:
            return None
        said = [text("about.erased", moment=self._moment(file.erased_at))]
        match file.erased:
            case ErasedData(reason=ErasureReason.ORDER, ground=ErasureGround() as ground):
                said.append(text("about.erased_order", ground=self.words.picked(ground)))
            case ErasedData(reason=ErasureReason.RETENTION):
                said.append(text("about.erased_retention"))
        return shown(" ".join(said))

    def _facts(self) -> Iterable[tuple[str, str]]:
        file, words = self.file, self.words
        yield "number", case_number(file.case_id)
        yield "protocol", words.proper_name(file.protocol_title)
        yield "parties", ", ".join(words.country(code) for code in file.parties)
        yield "country", words.country(file.country)
        yield "stage", words.picked(file.stage)
        yield "status", words.picked(file.status)
        yield "made_at", self._moment(file.made_at)

    def _sections(self) -> Iterable[tuple[str, str, list[HeldField]]]:
        """Yield the held fields in sections: heading, readers, and the fields.

        The groups stand in their own order.
        """
        personal = self.words.text("held.personal_intro")
        for group in FieldGroup:
            fields = [h for h in self.file.held if h.group is group]
            yield self.words.picked(group), personal, fields
        for level, name in ((Level.CASE, "case_level"), (Level.LEDGER, "ledger_level")):
            fields = [h for h in self.file.held if h.group is None and h.level is level]
            yield self.words.text(f"held.{name}"), self.words.text(f"held.{name}_intro"), fields

    def _section(self, heading: str, intro: str, fields: list[HeldField]) -> dict[str, Any]:
        recorded: dict[tuple[UUID, str | None], list[HeldField]] = {}
        for held in fields:
            recorded.setdefault((held.action_id, held.received_from), []).append(held)
        return {
            "heading": shown(heading),
            "intro": shown(intro),
            "recorded": [self._recorded(together) for together in recorded.values()],
        }

    def _recorded(self, together: list[HeldField]) -> dict[str, Any]:
        """Return the fields of one action, under a line with its agency, time and kind."""
        first = together[0]
        by = self.words.text(
            "held.by",
            agency=self._names.get(first.agency, first.agency),
            moment=self._moment(first.acted_at),
            action=self.words.kind(first.kind),
        )
        country = first.received_from
        return {
            "by": shown(by),
            "from": country
            and self._text("held.received_from", country=self.words.country(country)),
            "fields": [
                [shown(self._name_of(h)), self._value(h.kind, h.field, h.value)] for h in together
            ],
        }

    def _name_of(self, held: HeldField) -> str:
        """Return the name of a field, with a word beside it where the statement counts no more."""
        name = self.words.field(held.field)
        if held.superseded_by is None:
            return name
        return f"{name} ({self.words.text('held.earlier')})"

    def _access(self, access: Access) -> dict[str, Any]:
        words = self.words
        groups = [words.picked(group) for group in access.groups]
        return {
            "when": shown(self._moment(access.at)),
            "who": shown(self._names.get(access.agency, access.agency)),
            "person": access.person and shown(access.person),
            "groups": shown("\n".join(groups or [words.text("held.case_level")])),
            "purpose": shown(words.picked(access.purpose)),
            "basis": shown(", ".join(map(words.picked, access.bases))),
            "granted": access.granted,
            "answer": self._text("access.granted" if access.granted else "access.refused"),
            "refused_by": access.refused_by and shown(access.refused_by),
        }

    def _entry(self, entry: TrailEntry) -> dict[str, Any]:
        return {
            "when": shown(self._moment(entry.acted_at)),
            "agency": shown(self._names.get(entry.agency, entry.agency)),
            "action": shown(self.words.kind(entry.kind)),
            "details": [
                [shown(self.words.field(name)), self._value(entry.kind, name, value, "; ")]
                for name, value in entry.fields.items()
            ],
            "notes": list(self._notes(entry)),
        }

    def _notes(self, entry: TrailEntry) -> Iterable[Shown]:
        if str(entry.action_id) in self._annulled:
            yield self._text("trail.annulled")
        if str(entry.action_id) in self._undone:
            yield self._text("trail.undone")
        if entry.signature is not SignatureState.VALID:
            yield self._text("trail.signature", signature=self.words.picked(entry.signature))

    def _value(self, kind: str, field: str, value: Any, between: str = "\n") -> Shown:
        return shown(between.join(self.words.value(kind, field, value, self._named)) or "—")

    def _text(self, name: str, **values: str) -> Shown:
        return shown(self.words.text(name, **values))

    def _moment(self, moment: Any) -> str:
        return self.words.moment(moment)

    @cached_property
    def _names(self) -> Mapping[str, str]:
        return agency_names(self.file, self.words)

    @cached_property
    def _named(self) -> Mapping[str, str]:
        actions = {
            str(entry.action_id): f"{self.words.kind(entry.kind)}, {self._moment(entry.acted_at)}"
            for entry in self.file.trail
        }
        return {**self._names, **actions}

    @cached_property
    def _annulled(self) -> frozenset[str]:
        corrections = (e.fields for e in self.file.trail if e.kind == "correction")
        return frozenset(
            str(fields.get("corrects"))
            for fields in corrections
            if fields.get("effect") == CorrectionEffect.ANNULLED
        )

    @cached_property
    def _undone(self) -> frozenset[str]:
        undoings = (e.fields for e in self.file.trail if e.kind == MergeUndone.kind)
        # The announcement of an undoing names the acceptance in the other case: nothing is undone.
        done = (f for f in undoings if f.get("undoing") or not f.get("continued_in"))
        return frozenset(str(fields.get("merge")) for fields in done)

    @cached_property
    def _has_codes(self) -> bool:
        values = json.dumps([h.value for h in self.file.held], ensure_ascii=False)
        return has_codes(values)


_HEADINGS = (
    "about.heading",
    "rights.heading",
    "rights.intro",
    "case.heading",
    "held.heading",
    "held.intro",
    "held.none",
    "access.heading",
    "access.intro",
    "access.none",
    "access.when",
    "access.who",
    "access.groups",
    "access.purpose",
    "access.answer",
    "trail.heading",
    "trail.intro",
    "trail.none",
    "trail.when",
    "trail.agency",
    "trail.what",
)


@cache
def _template() -> bytes:
    return (resources.files("api.paper.subject_access") / "subject_file.typ").read_bytes()
