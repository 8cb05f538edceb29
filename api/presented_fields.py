"""What a country's vault sends another country without a release, as presentations.

That is the ``case`` fields of the country's own agencies' actions. It is also what completes the
vault of a country that lost something: the ``case`` fields of a third country's action, and all
that is held of an action of the other country's own agencies.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from uuid import UUID

from api.anchoring import node_of
from ledger.application import Ledger
from ledger.case_state import Act
from ledger.protocol import Operation, Protocol
from ledger.store.recorder import LedgerRecorder
from ledger.vault.disclosures import Held, Vault
from ledger.vault.holding import Part, has_case_fields, stated
from ledger.vault.parcels import Presentation
from ledger.vault.readings import Asked
from ledger.vocabulary.picklists import Purpose


def presentations_for(
    vault: Vault, ledger: Ledger, recipient: str, action_ids: Collection[UUID]
) -> Mapping[UUID, Presentation]:
    """Return what ``recipient`` may have of actions without a release, by action.

    Personal fields that go back to their own country are written into the access log. Raises
    ``KeyMissingError`` where the data key of such a person is missing.
    """
    protocol = ledger.adopted().protocol
    acts = acts_of(ledger, action_ids)
    origins = {act.id: protocol.agencies_by_id[act.agency].party for act in acts}
    own = [act for act in acts if origins[act.id] == vault.party]
    found = dict(case_presentations(vault, ledger.rows, own))
    handed_on = [act.id for act in acts if origins[act.id] not in (vault.party, recipient)]
    given_back = [act.id for act in acts if origins[act.id] == recipient]
    held = [*vault.received_case_fields([*handed_on, *given_back])]
    held += _given_back(vault, protocol, recipient, given_back)
    return found | _in_part(ledger.rows, held)


def acts_of(ledger: Ledger, action_ids: Collection[UUID]) -> Sequence[Act]:
    """Return those of these actions on cases that are recorded here."""
    rows = ledger.rows.select_actions(list(action_ids))
    cases = ledger.cases({row.originator_id for row in rows})
    return [
        cases[row.originator_id].history[row.action_id]
        for row in rows
        if row.originator_id in cases
    ]


def case_presentations(
    vault: Vault, rows: LedgerRecorder, acts: Sequence[Act]
) -> Mapping[UUID, Presentation]:
    """Return the ``case`` fields of the country's own actions, by action.

    An action that discloses none has a presentation without fields, so that the receiver can tell
    this from fields that did not arrive. An action of which nothing is known has none.
    """
    acts = [act for act in acts if act.digests and has_case_fields(act.kind)]
    ids = [act.id for act in acts]
    if not ids:
        return {}
    held: dict[UUID, list[Held]] = {}
    for one in vault.own_case_fields(ids):
        held.setdefault(one.action_id, []).append(one)
    noted, noted_from = vault.noted(ids), vault.noted_from()
    texts = _texts(rows, ids)
    found: dict[UUID, Presentation] = {}
    for act in acts:
        given = held.get(act.id, [])
        own = [d for d in noted.get(act.id, ()) if d.received_from is None]
        wanted = stated(act.kind, Part.CASE, own, is_noted=act.position > noted_from)
        is_whole = wanted is not None and wanted <= {one.digest for one in given}
        if act.id in texts and (given or is_whole):
            text = texts[act.id] + "".join(f"{one.encoded}~" for one in given)
            found[act.id] = Presentation(presentation=text, in_part=None if is_whole else True)
    return found


def _given_back(
    vault: Vault, protocol: Protocol, origin: str, action_ids: Sequence[UUID]
) -> list[Held]:
    """Take out the personal fields that a country released to this one, to give them back."""
    node = node_of(protocol, origin)
    if node is None or not action_ids:
        return []
    wanted = set(action_ids)
    found: list[Held] = []
    for case_id, groups in vault.received_groups(action_ids, origin).items():
        reading = vault.readings.record(
            Asked(
                agency=node.id,
                role=node.role,
                case_id=case_id,
                operation=Operation.RESTORE,
                groups=tuple(sorted(groups)),
                purpose=Purpose.PROTECTION,
            )
        )
        found += [
            one
            for one in vault.personal_fields(reading)
            if one.received_from == origin and one.action_id in wanted
        ]
    return found


def _in_part(rows: LedgerRecorder, held: Iterable[Held]) -> dict[UUID, Presentation]:
    """Presentations of another country's actions: only that country can say that they are all."""
    by_action: dict[UUID, list[Held]] = {}
    for one in held:
        by_action.setdefault(one.action_id, []).append(one)
    texts = _texts(rows, list(by_action))
    return {
        action: Presentation(
            presentation=texts[action] + "".join(f"{one.encoded}~" for one in given), in_part=True
        )
        for action, given in by_action.items()
        if action in texts
    }


def _texts(rows: LedgerRecorder, action_ids: Sequence[UUID]) -> Mapping[UUID, str]:
    """The SD-JWTs of recorded actions, without disclosures."""
    found = rows.select_actions(action_ids) if action_ids else ()
    return {row.action_id: row.event().action.sd_jwt for row in found}
