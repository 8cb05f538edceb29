"""The edition of the rules from which on each kind of act on the protocol may be recorded.

An action on a case needs a rule in the text of the protocol. An act on the protocol has no such
rule, so the text's edition decides: every party adopted that edition, and with it the kinds that
belong to it. A party's node that reads the text in force therefore reads every act under it.

The acts of an amendment are of edition 1: by them a ledger comes to a later edition. A party that
joins is named by the text that the other parties adopt.
"""

from collections.abc import Mapping
from types import MappingProxyType

from ledger.refusals import Ground, Refusal

EDITION_OF_ACT: Mapping[str, int] = MappingProxyType(
    {
        "protocol_adopted": 1,
        "amendment_proposed": 1,
        "amendment_accepted": 1,
        "amendment_declined": 1,
        "accession_accepted": 1,
        "key_registered": 1,
        "key_revoked": 1,
        "key_compromised": 1,
        "key_change_confirmed": 1,
        "key_change_declined": 1,
        "log_policy_adopted": 1,
        "country_key_registered": 1,
        "readings_anchored": 1,
        "absence_announced": 2,
        "presence_declared": 2,
        "coordinator_key_recovered": 2,
        "party_withdrawal_declared": 2,
        "party_withdrawal_revoked": 2,
        "witnesses_aligned": 2,
        "agency_registered": 2,
        "agency_invited": 2,
        "agency_renamed": 2,
        "agency_retired": 2,
        "agency_change_confirmed": 2,
        "agency_change_declined": 2,
        "contact_point_named": 2,
        "contact_point_ended": 2,
        "contact_card_given": 2,
        "contact_card_ended": 2,
    }
)
"""``key_change_confirmed`` needs a text that names ``confirmed_keys``."""


def check_edition(kind: str, edition: int) -> None:
    """Check that the edition of the text in force has a kind of act on the protocol.

    Raises ``Refusal`` (``edition``) if it does not.
    """
    needed = EDITION_OF_ACT[kind]
    if edition < needed:
        raise Refusal(
            Ground.NOT_ALLOWED,
            "edition",
            f"The text in force has edition {edition} of the rules, and {kind} is of edition"
            f" {needed}. Adopt an amendment with edition = {needed} first.",
            "kind",
        )
