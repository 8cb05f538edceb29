"""The opened fields that an agency may release, with the receivers and legal bases."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from api.client.schemas import PersonalField
from ledger.procedure.case import Case
from ledger.procedure.legal_basis import Basis, release_bases
from ledger.procedure.protocol import Agency, Operation, Protocol
from ledger.vocabulary.levels import FieldGroup


@dataclass(frozen=True, slots=True)
class Release:
    """A basis on which groups may go to one country now."""

    recipient: str
    basis: Basis
    groups: tuple[FieldGroup, ...]


def releases(
    case: Case, agency: Agency, protocol: Protocol, groups: Iterable[FieldGroup], now: datetime
) -> Sequence[Release]:
    """Return each basis that covers some of ``groups`` for another country of the case."""
    allowed = [group for group in groups if protocol.allows(agency.role, Operation.RELEASE, group)]
    found: dict[tuple[str, Basis], list[FieldGroup]] = {}
    for recipient in case.state.parties:
        for group in allowed if recipient != agency.party else ():
            for basis in release_bases(
                case.state, protocol, agency, recipient, group, now, case.history
            ):
                found.setdefault((recipient, basis), []).append(group)
    return [Release(to, basis, tuple(of)) for (to, basis), of in found.items()]


def releasable(fields: Iterable[PersonalField], offered: Sequence[Release]) -> set[str]:
    """Return digests of the fields of the agency's own country that some basis covers."""
    covered = {group for one in offered for group in one.groups}
    return {f.digest for f in fields if f.received_from is None and f.group in covered}
