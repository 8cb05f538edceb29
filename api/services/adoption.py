"""The adoption of the protocol, with which a ledger begins."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from joserfc.jwk import OKPKey

from api.runtime.node_database import NodeDatabase
from api.runtime.practice_directory import PracticeError
from api.runtime.schema import migrate_all
from ledger.application import Ledger, environment
from ledger.procedure.amendments import text_of
from ledger.procedure.practice_protocol import is_practice
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.signing import signed_action
from ledger.signing.key_possession import grant_of
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary.registration import KeyRequest, ProtocolAdopted


def adopt_protocol(
    store: NodeDatabase,
    protocol: Protocol,
    signer: str,
    private: OKPKey,
    requests: Iterable[KeyRequest],
    years: int,
) -> RecordedRow:
    """Record the adoption, signed by the coordinator ``signer``, as the first event.

    ``requests`` are the coordinators' keys, the signer's own among them. Raises ``ValueError``
    where one is missing, ``PracticeError`` for a text of a practice ledger, and ``Refusal``.
    """
    if is_practice(protocol.id):
        raise PracticeError(
            f"{protocol.id} is the id of a practice ledger: give the protocol another id"
        )
    granted = tuple(requests)
    needed = {agency.id for agency in protocol.agencies if agency.role == COORDINATOR}
    if missing := needed - {request.agency for request in granted}:
        raise ValueError(f"public keys are missing: --coordinator {' '.join(sorted(missing))}")
    now = datetime.now(UTC)
    begins, ends = now - timedelta(minutes=5), now + timedelta(days=365 * years)
    adopted = ProtocolAdopted(
        acted_at=now,
        protocol=text_of(protocol),
        keys=tuple(grant_of(one, valid_from=begins, valid_until=ends) for one in granted),
    )
    signed = signed_action.sign(
        adopted, agency=signer, key=private, protocol=protocol.id, case_id=None
    )
    migrate_all(store.owner_conninfo, protocol)
    with Ledger(environment(store.conninfo)) as ledger:
        return ledger.append_to_registry(signed_action.read(signed))
