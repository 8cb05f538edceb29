"""Fixes each country's access log in the shared ledger now and then, signed by its node."""

from collections.abc import Callable, Mapping

import structlog
from joserfc.jwk import OKPKey

from api.services.access_log_audit import ANCHORED_EVERY_SECONDS
from api.services.append_service import AppendService
from ledger.application import Ledger
from ledger.procedure.protocol import NODE, Agency, Protocol
from ledger.procedure.registry import Registry
from ledger.refusals import Refusal
from ledger.signing import signed_action
from ledger.signing.keys import key_id
from ledger.system import clock
from ledger.system.periodic_worker import PeriodicWorker
from ledger.vault.vault import Vault, Vaults
from ledger.vocabulary import Action
from ledger.vocabulary.registration import ReadingsAnchored

_log = structlog.get_logger(__name__)

NodeKey = Callable[[Agency], OKPKey | None]
"""The private key of a country's node agency, where it is on this machine."""


class AccessLogAnchor(PeriodicWorker):
    """One act on the protocol an hour for each vault that was read meanwhile."""

    def __init__(
        self, ledger: Ledger, vaults: Vaults, append_service: AppendService, node_key: NodeKey
    ) -> None:
        self._ledger = ledger
        self._vaults = vaults
        self._append_service = append_service
        self._node_key = node_key
        super().__init__(
            "anchor", self._step, every=ANCHORED_EVERY_SECONDS, first_after=ANCHORED_EVERY_SECONDS
        )

    def _step(self) -> None:
        self.anchor()

    def anchor(self) -> int:
        """Anchor the entries of the access logs since the last time, and return how many logs."""
        registry = self._ledger.registry()
        if registry is None:
            return 0
        count = 0
        for vault in self._vaults:
            known = registry.readings.get(vault.party)
            entries, head = vault.readings.head()
            if entries > (known.entries if known else 0):
                count += self._anchor(vault, entries, head, registry.protocol_today(clock.now()))
        return count

    def _anchor(self, vault: Vault, entries: int, head: bytes, protocol: Protocol) -> bool:
        found = node_and_key(self._node_key, protocol, vault.party)
        if found is None:
            return False
        act = ReadingsAnchored(acted_at=clock.now(), entries=entries, head=head.hex())
        name = f"readings {vault.party} {entries} {head.hex()}"
        try:
            append_node_act(self._append_service, protocol, found, act, name)
        except Refusal as refusal:
            _log.warning("an access log is not fixed", rule=refusal.rule)
            return False
        return True


def append_node_act(
    append_service: AppendService,
    protocol: Protocol,
    signer: tuple[Agency, OKPKey],
    act: Action,
    name: str,
) -> None:
    """Sign an act on the protocol as a country's node, and record it.

    An act of the same ``name`` has the same id, so that the ledger records it once. Raises
    ``Refusal`` if the ledger refuses it.
    """
    node, key = signer
    signed = signed_action.sign(
        act,
        agency=node.id,
        key=key,
        protocol=protocol.id,
        case_id=None,
        action_id=signed_action.own_action_id(key, f"{protocol.ledger_id} {name}"),
    )
    append_service.of_node(node, signed_action.read(signed), None, 0)


def node_of(protocol: Protocol, party: str) -> Agency | None:
    """Return the agency that is a country's node."""
    return next((a for a in protocol.agencies if a.role == NODE and a.party == party), None)


def node_and_key(node_key: NodeKey, protocol: Protocol, party: str) -> tuple[Agency, OKPKey] | None:
    """Return a country's node with its key; ``None`` without either of them."""
    node = node_of(protocol, party)
    key = node_key(node) if node is not None else None
    return None if node is None or key is None else (node, key)


def accepted_node_key(node_key: NodeKey, party: str, registry: Registry) -> OKPKey | None:
    """Return the key of a country's node; ``None`` where the registry does not accept it now."""
    found = node_and_key(node_key, registry.protocol_today(clock.now()), party)
    if found is None:
        return None
    node, key = found
    try:
        registry.signing_key(key_id(key), node.id, clock.now())
    except Refusal:
        return None
    return key


def anchored_readings(ledger: Ledger, party: str) -> Mapping[int, bytes]:
    """Return the heads of a country's access log that the ledger recorded, by number of entries."""
    registry = ledger.adopted()
    found: dict[int, bytes] = {}
    agencies = registry.directory.agencies_by_id
    for event in ledger.case_events(registry.ledger_id):
        action, agency = event.action, agencies.get(event.action.agency)
        if action.kind == "readings_anchored" and agency is not None and agency.party == party:
            found[action.fields["entries"]] = bytes.fromhex(action.fields["head"])
    return found
