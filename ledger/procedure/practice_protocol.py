"""The protocols of practice ledgers: texts of real ones under an id of their own.

Every signed action names the id of its protocol, so no real ledger takes an action that was signed
in practice, and no practice ledger takes a real one.
"""

from ledger.procedure.protocol import Protocol

_PREFIX = "practice-"


def is_practice(protocol_id: str) -> bool:
    """Return whether a protocol's id is that of a practice ledger."""
    return protocol_id.startswith(_PREFIX)


def practice_protocol(protocol: Protocol) -> Protocol:
    """Return a protocol's text for a practice ledger."""
    if is_practice(protocol.id):
        return protocol
    return protocol.model_copy(update={"id": f"{_PREFIX}{protocol.id}"})
