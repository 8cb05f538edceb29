"""Opens what a vault holds on a person, by an entry of its access log as anyone must."""

from collections.abc import Sequence
from uuid import UUID

from ledger.procedure.protocol import Operation
from ledger.procedure.readings import Asked, Reading
from ledger.vault.held_fields import Held
from ledger.vault.vault import Vault
from ledger.vocabulary.levels import FieldGroup, Level
from ledger.vocabulary.picklists import Purpose


def reading(vault: Vault, case_id: UUID, **asked: object) -> Reading:
    """A granted entry of the access log: all groups for the person's own access, unless said."""
    content = {
        "agency": f"{vault.party.lower()}-nac",
        "role": "coordinator",
        "case_id": case_id,
        "operation": Operation.SUBJECT_ACCESS,
        "groups": tuple(FieldGroup),
        "purpose": Purpose.SUBJECT_ACCESS,
        **asked,
    }
    return vault.readings.record(Asked.model_validate(content))


def everything(vault: Vault, case_id: UUID) -> Sequence[Held]:
    """All fields that the vault holds on a person."""
    return (*vault.case_fields(case_id), *vault.personal_fields(reading(vault, case_id)))


def values(vault: Vault, case_id: UUID, level: Level) -> dict[str, object]:
    """The values of one level that the vault holds on a person, by field."""
    return {one.field: one.value for one in everything(vault, case_id) if one.level is level}
