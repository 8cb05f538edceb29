"""After the story: what the countries may know of the girl, who asked, and who was refused."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

from rich.console import Group, RenderableType

from api.cli.steps.personal_tables import fields_table, readings_table
from api.client import LedgerClient, RefusedError
from api.client.schemas import PersonalField
from api.demo import DemoError
from ledger.procedure.readings import Reading
from ledger.vocabulary import Action
from ledger.vocabulary.coordination import InformationRequested
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    Danger,
    InformationTopic,
    LegalBasis,
    Purpose,
    ReviewFinding,
)
from ledger.vocabulary.sharing import BreakGlassOpened, BreakGlassReviewed

T = TypeVar("T")
_WAIT_SECONDS = 30.0
_SOCIAL_WORK, _HOME = "xk-csw-prishtina", "me-csw-podgorica"
_GROUPS = (FieldGroup.IDENTITY, FieldGroup.FAMILY)


class Agencies(Protocol):
    """A client for each agency."""

    def __getitem__(self, agency: str) -> LedgerClient: ...


@dataclass(frozen=True, slots=True)
class PersonalScene:
    """The fields that Montenegro received, and both countries' access logs on the girl."""

    received: tuple[PersonalField, ...]
    readings: Mapping[str, tuple[Reading, ...]]

    def __rich__(self) -> RenderableType:
        return Group(
            "What Kosovo released to Montenegro on the guardian's consent:",
            fields_table(self.received),
            *(
                part
                for country, log in self.readings.items()
                for part in (
                    f"Who asked for her personal fields in {country}:",
                    readings_table(log),
                )
            ),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "received": [field.model_dump(mode="json") for field in self.received],
            "readings": {
                country: [reading.model_dump(mode="json") for reading in log]
                for country, log in self.readings.items()
            },
        }


def play_personal_scene(
    agencies: Agencies, case_id: UUID, version: int, consent: UUID
) -> PersonalScene:
    """Ask, release, receive, be refused, and break the glass. Raises ``DemoError``."""

    def act(agency: str, action: Action) -> UUID:
        nonlocal version
        receipt = agencies[agency].append(action, case_id, version)
        version = receipt.case_version
        return receipt.action_id

    request = act(
        _HOME,
        InformationRequested(
            acted_at=datetime.now(UTC),
            addressee=_SOCIAL_WORK,
            topics=(InformationTopic.IDENTITY, InformationTopic.FAMILY),
            purpose=Purpose.REINTEGRATION,
            groups=_GROUPS,
            basis=LegalBasis.CONSENT,
            question="For her school and her aunt: what may we have of her file?",
        ),
    )
    held = agencies[_SOCIAL_WORK].read(case_id, _GROUPS, Purpose.REINTEGRATION).fields
    receipt = agencies[_SOCIAL_WORK].release(
        case_id,
        version,
        [field for field in held if field.received_from is None],
        recipient="ME",
        purpose=Purpose.REINTEGRATION,
        basis=LegalBasis.CONSENT,
        basis_action=consent,
        request=request,
    )
    version = receipt.case_version

    def arrived() -> tuple[PersonalField, ...]:
        opened = agencies[_HOME].read(case_id, _GROUPS, Purpose.REINTEGRATION).fields
        return tuple(field for field in opened if field.received_from == "XK")

    received = _until(arrived)
    _refused(agencies["xk-border"], case_id, FieldGroup.HEALTH, "access-matrix")
    _refused(agencies["me-police-thb"], case_id, FieldGroup.CONTACT, "no-legal-basis")
    now = datetime.now(UTC)
    opened = act(
        "me-border",
        BreakGlassOpened(
            acted_at=now,
            danger=Danger.MISSING_CHILD,
            groups=(FieldGroup.IDENTITY,),
            until=now + timedelta(hours=2),
            circumstances="She did not come to school, and was seen near the crossing.",
        ),
    )
    agencies["me-border"].read(
        case_id, [FieldGroup.IDENTITY], Purpose.DANGER_TO_LIFE, LegalBasis.DANGER_TO_LIFE
    )
    # Neither who opened it reviews it, nor the coordinator of that country.
    for reviewer in ("me-ombudsman", "xk-nac"):
        act(
            reviewer,
            BreakGlassReviewed(
                acted_at=datetime.now(UTC), access=opened, finding=ReviewFinding.JUSTIFIED
            ),
        )
    logs = {
        "Kosovo": agencies["xk-ombudsperson"].readings(case_id).readings,
        "Montenegro": agencies["me-ombudsman"].readings(case_id).readings,
    }
    return PersonalScene(received, logs)


def _refused(client: LedgerClient, case_id: UUID, group: FieldGroup, rule: str) -> None:
    try:
        client.read(case_id, [group], Purpose.PROTECTION)
    except RefusedError as error:
        if error.problem.rule != rule:
            raise DemoError(f"{client.agency}: refused by {error.problem.rule}") from error
        return
    raise DemoError(f"{client.agency} was not refused {group}")


def _until(look: Callable[[], T]) -> T:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        time.sleep(1.5)  # each look is a reading, and written down
        if found := look():
            return found
        if time.monotonic() > deadline:
            raise DemoError("what was released did not arrive")
