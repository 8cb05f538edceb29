"""The case managers that a country replaced: what was said of them is read by nobody any more.

A country names its case manager anew when another official takes over. Names and numbers of
officials are personal data, so those of the earlier one are destroyed in every vault. The order of
the ledger alone decides. A later annulment of the new naming does not bring the earlier one back:
the country names a manager again. This is a reading of the procedure, not an official text.
"""

from collections.abc import Iterable, Mapping
from uuid import UUID

from ledger.events.act import Act
from ledger.procedure.protocol import Protocol
from ledger.vocabulary.coordination import CaseManagerNamed


def replaced_managers(acts: Iterable[Act], directory: Protocol) -> Mapping[UUID, UUID]:
    """Return the namings that a later one of the same country replaced, each with that one.

    ``acts`` are all actions of a case, in order. ``directory`` has each agency's party.
    """
    replaced: dict[UUID, UUID] = {}
    newest: dict[str, UUID] = {}
    for act in acts:
        agency = directory.agencies_by_id.get(act.agency)
        if act.kind != CaseManagerNamed.kind or agency is None:
            continue
        if (before := newest.get(agency.party)) is not None:
            replaced[before] = act.id
        newest[agency.party] = act.id
    return replaced
