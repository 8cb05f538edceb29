"""Names of agencies: in rows of the trail those of the time, elsewhere those of today."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from api.paper.subject_access.wording import wording
from api.web.case_text import names, rows
from ledger.procedure.agencies import AgencyChange, AgencyChangeKind
from ledger.procedure.agreement import Agreement
from ledger.procedure.protocol import shipped_protocol
from ledger.procedure.registry import SignatureState
from ledger.vault.held_fields import HeldFields
from ledger.vocabulary.picklists import InformationTopic
from projections.folds.audit_trail import TrailEntry

AT, POLICE = datetime(2026, 1, 5, 8, tzinfo=UTC), "me-police-thb"


def change(kind: AgencyChangeKind, position: int, **told: Any) -> AgencyChange:
    return AgencyChange(kind, POLICE, "ME", position, AT, uuid4(), "me-nac", told)


def entry(position: int) -> TrailEntry:
    return TrailEntry.model_construct(
        position=position,
        recorded_at=AT,
        agency=POLICE,
        action_id=UUID(int=position),
        kind="information_requested",
        version=1,
        fields={"addressee": POLICE, "topics": ["identity"]},
        in_clear={},
        changes=(),
        case_id=UUID(int=1),
        party="ME",
        acted_at=AT,
        signed_at=AT,
        key_id="",
        signature=SignatureState.VALID,
    )


def test_the_trail_has_the_names_of_its_time_and_a_page_those_of_today() -> None:
    renamed = change(AgencyChangeKind.RENAMED, 5, name="Directorate", names={"cnr": "Direktorat"})
    agreement = Agreement.of(shipped_protocol()).with_change(renamed)
    trail = [entry(5), entry(6)]
    old = wording("en").agency(shipped_protocol().agencies_by_id[POLICE])
    told = rows(trail, HeldFields(), {}, agreement, wording("en"))
    assert [row.who for row in told] == [old, "Directorate"]
    topic = wording("en").picked(InformationTopic.IDENTITY)
    assert [row.what for row in told] == [f"Information requested: {topic}"] * 2
    assert [row.fields[0].lines[0] for row in told] == [old, "Directorate"]
    told = rows(trail, HeldFields(), {}, agreement, wording("cnr"))
    assert told[1].who == "Direktorat"

    agreement = agreement.with_change(change(AgencyChangeKind.RETIRED, 7))
    today = names(agreement.directory, (), wording("en"))[POLICE]
    assert today.startswith("Directorate (retired; Office of the National Coordinator")
    assert rows(trail, HeldFields(), {}, agreement, wording("en"))[1].who == "Directorate"
