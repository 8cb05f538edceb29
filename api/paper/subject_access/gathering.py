"""Makes a person's file of what was opened for it."""

from collections.abc import Iterable, Iterator, Sequence

from api.client.schemas.personal import Language
from api.paper.subject_access.document import Access, HeldField, SubjectFile
from api.services.personal_data_access import OpenedFields
from ledger.procedure.case import Case
from ledger.procedure.erasures import ErasedData
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.protocol import Protocol
from ledger.procedure.readings import Reading
from ledger.vault.held_fields import Held
from ledger.vocabulary.coordination import CaseManagerNamed
from ledger.vocabulary.levels import Level
from projections.folds.audit_trail import TrailEntry

_OF_A_MANAGER = frozenset({"function", "institution", "languages"})
"""The fields of a case manager that the person gets. Names and numbers are the official's."""


def subject_file(
    opened: OpenedFields,
    case_fields: Iterable[Held],
    trail: Sequence[TrailEntry],
    readings: Iterable[Reading],
    *,
    country: str,
    language: Language,
    protocol: Protocol,
    erased: ErasedData | None,
) -> SubjectFile:
    """Gather all that ``country`` holds on the person of a case, and the readings of it."""
    case = opened.case
    held = [*case_fields, *opened.fields]
    return SubjectFile(
        case_id=case.id,
        country=country,
        language=language,
        made_at=opened.reading.at,
        protocol_title=_title(protocol),
        parties=case.state.parties,
        status=case.state.status,
        stage=case.state.stage,
        held=(
            *_in_clear(trail),
            *(_held(one, opened) for one in held if _is_the_persons(one, case)),
        ),
        trail=tuple(trail),
        accesses=tuple(map(_access, readings)),
        erased_at=erased.erased_at if erased is not None else None,
        erased=erased,
        agencies=protocol.agencies,
    )


def _title(protocol: Protocol) -> str:
    """Return the title of the protocol. The file of a practice ledger says so by it."""
    mark = "PRACTICE, all people are invented: " if is_practice(protocol.id) else ""
    return f"{mark}{protocol.title}"


def with_merged(own: SubjectFile, others: Sequence[SubjectFile]) -> SubjectFile:
    """Return a file with what is held in other cases of the person that were merged with it."""
    if not others:
        return own
    files = (own, *others)
    return own.model_copy(
        update={
            "held": tuple(one for file in files for one in file.held),
            "trail": tuple(
                sorted((e for file in files for e in file.trail), key=lambda e: e.position)
            ),
            "accesses": tuple(
                sorted((a for file in files for a in file.accesses), key=lambda a: a.at)
            ),
            "merged_cases": tuple(file.case_id for file in others),
        }
    )


def without_other_cases(held: Iterable[Held]) -> Iterator[Held]:
    """Yield held fields without those that name another case.

    A linked case is another person's, whose file this is not. The cases that were merged with this
    one are in ``merged_cases``.
    """
    return (one for one in held if one.field not in ("linked_case", "continues_in"))


def _in_clear(trail: Iterable[TrailEntry]) -> Iterator[HeldField]:
    """Yield the ``case`` fields that old actions signed in the clear, so that no vault has them."""
    for entry in trail:
        for field, value in entry.in_clear.items():
            yield HeldField(
                action_id=entry.action_id,
                kind=entry.kind,
                agency=entry.agency,
                acted_at=entry.acted_at,
                field=field,
                level=Level.CASE,
                group=None,
                value=value,
                received_from=None,
            )


def _is_the_persons(one: Held, case: Case) -> bool:
    """Return whether a field is of the case, and no official's name or number."""
    act = case.history.get(one.action_id)
    if act is None:
        return False
    return act.kind != CaseManagerNamed.kind or one.field in _OF_A_MANAGER


def _held(one: Held, opened: OpenedFields) -> HeldField:
    act = opened.case.history[one.action_id]
    return HeldField(
        action_id=act.id,
        kind=act.kind,
        agency=act.agency,
        acted_at=act.acted_at,
        field=one.field,
        level=one.level,
        group=one.group,
        value=one.value,
        received_from=one.received_from,
        superseded_by=opened.ended.get((one.action_id, one.field)),
    )


def _access(reading: Reading) -> Access:
    asked = reading.asked
    return Access(
        at=reading.at,
        agency=asked.agency,
        person=asked.person,
        groups=asked.groups,
        purpose=asked.purpose,
        bases=tuple(dict.fromkeys(basis.kind for basis in reading.bases.values())),
        granted=reading.granted,
        refused_by=reading.refused_by,
    )
