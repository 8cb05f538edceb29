"""With another log key, which a ledger node that takes over has, parcels are sent again."""

from uuid import UUID

import psycopg

from api.log_keys import new_log_key, trusted_policy
from ledger.transparency.policy import Policy
from ledger.vocabulary.registration import LogPolicyAdopted
from tests.support.actions import START, opening
from tests.support.serving import Server
from tests.support.sharing import register_country_keys, until


def test_what_a_lost_mailbox_held_is_sent_again_at_the_same_address(
    served: Server, database: str
) -> None:
    register_country_keys(served)
    with served.client("xk-dhtqnj") as police:
        case_id = police.open_case(opening(("XK", "ME"), indicators_note="a note")).case_id
    sent = until(lambda: received(database, case_id))
    with psycopg.connect(database) as connection:  # as if the parcels had been lost
        for table in ("disclosures", "deposits"):
            connection.execute(f"DELETE FROM vault_me.{table}")
    key = new_log_key(served.settings).verifier
    policy = Policy.of(key, trusted_policy(served.settings).witnesses)
    for coordinator in ("xk-nac", "me-nac", "al-nac"):
        with served.client(coordinator) as client:
            client.append_to_registry(LogPolicyAdopted(acted_at=START, policy=str(policy)))
    assert until(lambda: received(database, case_id)) == sent


def received(conninfo: str, case_id: UUID) -> list[str]:
    """The fields of a case that Montenegro's vault has from Kosovo."""
    with psycopg.connect(conninfo) as connection:
        rows = connection.execute(
            "SELECT field FROM vault_me.disclosures WHERE case_id = %s AND received_from = 'XK'",
            (case_id,),
        ).fetchall()
    return sorted(row[0] for row in rows)
