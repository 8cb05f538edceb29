"""Record this ledger with the program of commit 5e7943d, which accepted other forms of claims.

    python -m pytest tests/ledgers/other_forms/record.py

in a work tree of that commit, with this file copied into it, writes `events.jsonl` and `keys.json`
beside the file. Later programs refuse these actions when they are sent.
"""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from joserfc.jwk import OKPKey

from ledger.application import Ledger, environment
from ledger.signing import keys, sd_jwt, signed_action
from ledger.store.event_rows import RecordedRow
from ledger.vocabulary import Action
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.picklists import (
    DecisionMakingOrg,
    RiskLevel,
    TraffickingStatus,
    TypeOfExploitation,
)
from ledger.vocabulary.protection import RiskAssessed
from ledger.vocabulary.registration import KeyRegistered
from tests.support.actions import START, opening
from tests.support.agencies import PAST, Agencies

HERE = Path(__file__).parent
Claims = dict[str, object]


def as_signed(_: Claims) -> Claims:
    return {}


def text_iat(claims: Claims) -> Claims:
    return {"iat": str(claims["iat"])}


def null_version(_: Claims) -> Claims:
    return {"version": None}


def other_ids(claims: Claims) -> Claims:
    return {"jti": str(claims["jti"]).upper(), "case": f"urn:uuid:{claims['case']}"}


def signed_again(agencies: Agencies, agency: str, sd: sd_jwt.SdJwt, changed: Claims) -> str:
    """The SD-JWT with some claims replaced, signed by the same agency."""
    payload = {**sd.payload, **changed}
    return str(sd_jwt.issue(dict(sd.header), payload, (), agencies.keys[agency]))


def test_record(database: str, agencies: Agencies) -> None:
    new_key = keys.generate()
    case, other = uuid4(), uuid4()
    with Ledger(environment(database)) as ledger:
        agencies.begin(ledger)

        def take(
            agency: str, action: Action, case_id, version: int, change: Callable[[Claims], Claims]
        ) -> RecordedRow:
            sd = agencies.sign(agency, action, case_id)
            text = signed_again(agencies, agency, sd, change(dict(sd.payload)))
            return ledger.append(signed_action.read(signed_action.parse(text)), case_id, version)

        identified = VictimIdentified(
            acted_at=START,
            status=TraffickingStatus.POSSIBLE,
            decided_by=DecisionMakingOrg.POLICE,
            types_of_exploitation=(TypeOfExploitation.FORCED_LABOUR,),
        )
        risk = RiskAssessed(acted_at=START, risk_level=RiskLevel.HIGH)
        take("xk-dhtqnj", opening(), case, 0, as_signed)
        take("xk-dhtqnj", identified, case, 1, text_iat)
        take("xk-dhtqnj", risk, case, 2, as_signed)
        take("xk-dhtqnj", opening(), other, 0, null_version)
        take("xk-dhtqnj", identified, other, 1, other_ids)

        grant = agencies.grant("xk-dhtqnj", new_key)
        sd = agencies.sign("xk-nac", KeyRegistered(acted_at=PAST, grant=grant), None)
        text = signed_again(agencies, "xk-nac", sd, text_iat(dict(sd.payload)))
        with pytest.raises(TypeError):  # it is recorded, and every later request fails
            ledger.append_to_registry(signed_action.read(signed_action.parse(text)))
    with psycopg.connect(database) as connection:
        rows = connection.execute(
            "SELECT state FROM ledger.events ORDER BY notification_id"
        ).fetchall()
    (HERE / "events.jsonl").write_bytes(b"".join(bytes(state) + b"\n" for (state,) in rows))

    def private(key: OKPKey) -> object:
        return key.as_dict(private=True)

    (HERE / "keys.json").write_text(
        json.dumps(
            {
                "xk-dhtqnj": private(agencies.keys["xk-dhtqnj"]),
                "xk-dhtqnj, registered last": private(new_key),
            },
            indent=1,
        )
        + "\n"
    )
