"""The fields that a country's vault sends another country without a release.

That is the ``case`` fields of the country's own agencies' actions. It is also what completes the
vault of a country that lost something: the ``case`` fields of a third country's action, and all
that is held of an action of the other country's own agencies.
"""

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from api.exchange.access_log_anchor import node_of
from ledger.application import Ledger
from ledger.events.act import Act
from ledger.procedure.case import Case
from ledger.procedure.protocol import Operation, Protocol
from ledger.procedure.readings import Asked
from ledger.signing import sd_jwt
from ledger.system import clock
from ledger.vault.held_fields import Held
from ledger.vault.required_disclosures import FieldPart, has_case_fields, is_told, stated
from ledger.vault.sealed_parcels import Presentation
from ledger.vault.vault import Vault
from ledger.vocabulary.picklists import Purpose


def presentations_for(
    vault: Vault, ledger: Ledger, recipient: str, action_ids: Collection[UUID]
) -> Mapping[UUID, Presentation]:
    """Return the fields that ``recipient`` may have of actions without a release, by action.

    The recipient gets nothing of a case that it is not party to now, although it was when something
    was queued, and nothing once it left the agreement. Nobody gets anything of an annulled action
    or of a case manager who was replaced.
    An action that discloses nothing has a presentation without fields, so that the receiver can
    tell this from fields that did not arrive.
    An action that is not recorded here has none. Personal fields that go back to their own country
    are written into the access log. Raises ``KeyMissingError`` if the data key of such a person is
    missing.
    """
    registry = ledger.adopted()
    if recipient in registry.protocol_today(clock.now()).left_parties:
        return {}
    protocol = registry.directory
    acts = [
        act
        for act, case in _acts_with_cases(ledger, action_ids)
        if act.digests
        and recipient in case.state.parties
        and act.id not in case.unread(protocol)
        and _may_have(act, recipient, protocol)
    ]
    ids = [act.id for act in acts]
    if not ids:
        return {}
    origins = {act.id: protocol.agencies_by_id[act.agency].party for act in acts}
    given_back = [act.id for act in acts if origins[act.id] == recipient]
    held: dict[UUID, list[Held]] = {}
    for one in (
        *vault.own_case_fields(ids),
        *vault.received_case_fields(ids),
        *_given_back(vault, protocol, recipient, given_back),
    ):
        held.setdefault(one.action_id, []).append(one)
    noted, noted_from = vault.noted(ids), vault.noted_from()
    texts = {row.action_id: row.event().action.sd_jwt for row in ledger.rows_of_actions(ids)}
    found: dict[UUID, Presentation] = {}
    for act in acts:
        given, origin = held.get(act.id, []), origins[act.id]
        sender = None if origin == vault.party else origin
        deposits = [d for d in noted.get(act.id, ()) if d.received_from == sender]
        wanted = stated(act.kind, FieldPart.CASE, deposits, is_noted=act.position > noted_from)
        is_whole = wanted is not None and wanted <= {one.digest for one in given}
        if given or (is_whole and has_case_fields(act.kind)):
            text = sd_jwt.with_disclosures(texts[act.id], (one.encoded for one in given))
            found[act.id] = Presentation(presentation=text, in_part=None if is_whole else True)
    return found


def _may_have(act: Act, recipient: str, protocol: Protocol) -> bool:
    """Return whether a country gets an action's fields: it is told them, or they are its own."""
    return is_told(act, recipient) or protocol.agencies_by_id[act.agency].party == recipient


def acts_of(ledger: Ledger, action_ids: Collection[UUID]) -> Sequence[Act]:
    """Return the given actions on cases that are recorded here."""
    return [act for act, _ in _acts_with_cases(ledger, action_ids)]


def _acts_with_cases(ledger: Ledger, action_ids: Collection[UUID]) -> Sequence[tuple[Act, Case]]:
    rows = ledger.rows_of_actions(list(action_ids))
    cases = ledger.cases({row.originator_id for row in rows})
    return [
        (case.history[row.action_id], case)
        for row in rows
        if (case := cases.get(row.originator_id)) is not None
    ]


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
