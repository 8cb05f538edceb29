"""The data on one person in one case: frozen models, and their labels for people."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Self
from uuid import UUID

from pydantic import ConfigDict, Field, JsonValue, model_validator

from api.client.schemas.personal import Language
from api.paper.subject_access.value_shapes import Plain, shape
from api.paper.subject_access.wording import Wording, wording
from ledger.procedure.erasures import ErasedData
from ledger.procedure.protocol import Agency
from ledger.vocabulary.action import LedgerModel
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import CaseStatus, LegalBasis, Purpose, Stage
from ledger.vocabulary.types import UtcDatetime
from projections.folds.audit_trail import TrailEntry


class _Personal(LedgerModel):
    """Base of what holds personal data: neither its errors nor its ``repr`` show any."""

    model_config = ConfigDict(hide_input_in_errors=True)


class HeldField(_Personal):
    """One disclosure that the country's vault holds."""

    action_id: UUID
    kind: str
    agency: str
    acted_at: UtcDatetime
    field: str
    level: Level
    group: FieldGroup | None
    value: JsonValue = Field(repr=False)
    received_from: str | None
    """The code of the country that released it, ``None`` for what was recorded at home."""
    superseded_by: UUID | None = None
    """The action by which it counts no more; ``None`` for what counts."""

    @model_validator(mode="after")
    def _is_in_one_group(self) -> Self:
        if (self.level is Level.PERSONAL) is (self.group is None):
            raise ValueError("a personal field, and no other, names its field group")
        return self


class Access(_Personal):
    """One recorded reading of the person's data, or one that was refused."""

    at: UtcDatetime
    agency: str
    person: str | None = Field(repr=False)
    groups: tuple[FieldGroup, ...]
    """The groups of personal fields that were asked for; none for ``case`` fields alone."""
    purpose: Purpose
    bases: tuple[LegalBasis, ...] = ()
    granted: bool
    refused_by: str | None


class SubjectFile(_Personal):
    """The data that one country holds on the person of a case, by machine names."""

    case_id: UUID
    country: str
    language: Language
    made_at: UtcDatetime
    protocol_title: str
    parties: tuple[str, ...]
    status: CaseStatus
    stage: Stage
    held: tuple[HeldField, ...]
    trail: tuple[TrailEntry, ...]
    accesses: tuple[Access, ...]
    erased_at: UtcDatetime | None = None
    erased: ErasedData | None = None
    """The reason of the erasure, and its action."""
    merged_cases: tuple[UUID, ...] = ()
    """The other cases of the person that were merged with this one; the file has what they hold."""
    agencies: tuple[Agency, ...] = ()
    """The protocol's agencies, for their names; one that is not here is shown by its id."""


class Labels(LedgerModel):
    """The labels of the machine names in a file, by the kind of name."""

    actions: Mapping[str, str]
    fields: Mapping[str, str]
    values: Mapping[str, Mapping[str, str]]
    """By action and field, ``case_opened.gender``, since fields share names and not picklists."""
    groups: Mapping[str, str]
    levels: Mapping[str, str]
    status: Mapping[str, str]
    stage: Mapping[str, str]
    signatures: Mapping[str, str]
    purposes: Mapping[str, str]
    bases: Mapping[str, str]
    agencies: Mapping[str, str]
    roles: Mapping[str, str]
    countries: Mapping[str, str]
    languages: Mapping[str, str]


class LabelledFile(_Personal):
    """A person's file as it is given out as JSON: machine names, and their labels beside them."""

    file: SubjectFile
    labels: Labels


def labelled(file: SubjectFile, words: Wording | None = None) -> LabelledFile:
    """Return a file with the labels of its names in its own language.

    ``words`` are those of that language; without them the program's own.
    """
    words = words or wording(file.language)
    values = tuple(_values(file))
    agencies = agency_names(file, words)
    return LabelledFile(
        file=file,
        labels=Labels(
            actions=_by(words.kind, (*(h.kind for h in file.held), *(t.kind for t in file.trail))),
            fields=_by(words.field, (field for _, field, _ in values)),
            values=_picked(words, values),
            groups=_labels(words, _groups(file)),
            levels=_labels(words, (h.level for h in file.held)),
            status=_labels(words, (file.status,)),
            stage=_labels(words, (file.stage,)),
            signatures=_labels(words, (t.signature for t in file.trail)),
            purposes=_labels(words, (a.purpose for a in file.accesses)),
            bases=_labels(words, (basis for a in file.accesses for basis in a.bases)),
            agencies={agency: agencies[agency] for agency in sorted(_agencies(file, values))},
            roles=_by(words.role, (agency.role for agency in file.agencies)),
            countries=_by(words.country, _countries(file, values)),
            languages=_by(words.language_name, _of(Plain.LANGUAGE, values)),
        ),
    )


def agency_names(file: SubjectFile, words: Wording) -> Mapping[str, str]:
    """Return the names of agencies in the file's language by id; an id without a name is itself."""
    names = {agency.id: words.agency(agency) for agency in file.agencies}
    occurring = _agencies(file, tuple(_values(file)))
    return {agency: agency for agency in occurring} | names


_Value = tuple[str, str, JsonValue]
"""The kind of action, the field, and one value: an item of a list where it is one."""


def _values(file: SubjectFile) -> Iterator[_Value]:
    fields = [(h.kind, h.field, h.value) for h in file.held]
    fields += [(t.kind, name, value) for t in file.trail for name, value in t.fields.items()]
    for kind, field, value in fields:
        for item in value if isinstance(value, list) and value else [value]:
            yield kind, field, item


def _picked(words: Wording, values: Iterable[_Value]) -> dict[str, dict[str, str]]:
    labels: dict[str, dict[str, str]] = {}
    for kind, field, value in values:
        known = shape(kind, field)
        if not isinstance(known, Plain) and value in tuple(known):
            labels.setdefault(f"{kind}.{field}", {})[str(value)] = words.picked(known(value))
    return {name: dict(sorted(picked.items())) for name, picked in sorted(labels.items())}


def _groups(file: SubjectFile) -> Iterator[FieldGroup]:
    yield from (h.group for h in file.held if h.group is not None)
    for access in file.accesses:
        yield from access.groups


def _agencies(file: SubjectFile, values: Iterable[_Value]) -> frozenset[str]:
    acting: tuple[HeldField | TrailEntry | Access, ...] = (*file.held, *file.trail, *file.accesses)
    return frozenset((*(one.agency for one in acting), *_of(Plain.AGENCY, values)))


def _countries(file: SubjectFile, values: Iterable[_Value]) -> Iterator[str]:
    yield from (file.country, *file.parties)
    yield from (h.received_from for h in file.held if h.received_from is not None)
    yield from (t.party for t in file.trail if t.party)
    yield from _of(Plain.COUNTRY, values)


def _of(wanted: Plain, values: Iterable[_Value]) -> Iterator[str]:
    for kind, field, value in values:
        if isinstance(value, str) and shape(kind, field) is wanted:
            yield value


def _labels(words: Wording, values: Iterable[StrEnum]) -> dict[str, str]:
    return {value.value: words.picked(value) for value in sorted(set(values))}


def _by(label: Callable[[str], str], names: Iterable[str]) -> dict[str, str]:
    return {name: label(name) for name in sorted(set(names))}
