"""Another implementation verifies released fields: npm's ``@sd-jwt/core``."""

import json
import shutil
import subprocess
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from api.client.schemas import ReadingResult
from ledger.application import Ledger
from ledger.signing import keys
from ledger.vocabulary.identification import VictimIdentified
from ledger.vocabulary.levels import FieldGroup
from ledger.vocabulary.picklists import (
    DecisionMakingOrg,
    DocumentKind,
    LegalBasis,
    Purpose,
    TraffickingStatus,
    TypeOfExploitation,
)
from tests.support.actions import START, opening
from tests.support.agencies import Agencies
from tests.support.papers import pdf
from tests.support.serving import serving
from tests.support.sharing import register_country_keys
from tests.support.waiting import until

PROGRAM = Path(__file__).parent / "npm" / "verify.mjs"
FIRST_NAME = "act.first_name"
NAME, PHONE = "zqPërgjegjëse Đurđević", "+999123456789"


@pytest.fixture(scope="module")
def program(npm_packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program beside its packages."""
    directory = tmp_path_factory.mktemp("sd_jwt")
    (directory / "node_modules").symlink_to(npm_packages / "node_modules")
    return Path(shutil.copy(PROGRAM, directory))


def verified(
    program: Path, presentation: str, key: Any, required: Sequence[str] = (FIRST_NAME,)
) -> dict[str, Any] | None:
    """Return the claims that the other implementation verifies; ``None`` if it refuses.

    A disclosure that no digest covers is no claim to it: it refuses what lacks a required one.
    """
    asked = json.dumps({"presentation": presentation, "key": key, "required": required})
    done = subprocess.run(
        ["node", program], input=asked, capture_output=True, text=True, timeout=60
    )
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout) if done.returncode == 0 else None


def released(
    database: str, agencies: Agencies, paper: Path, received: Path
) -> tuple[ReadingResult, UUID]:
    """Return the fields that Kosovo's police released, as Montenegro's police reads them.

    One of them names the document ``paper``, whose content Montenegro's police downloads to the
    file ``received``. The second value is the action that added it.
    """
    case_id = uuid4()
    with serving(database, agencies) as server:
        register_country_keys(server)
        with server.client("xk-dhtqnj") as kosovo, server.client("me-police-thb") as montenegro:
            told = opening(("XK", "ME"), first_name=NAME, second_name="zqOther", phone=PHONE)
            kosovo.append(told, case_id, 0)
            identified = kosovo.append(
                VictimIdentified(
                    acted_at=START,
                    status=TraffickingStatus.ACTUAL,
                    decided_by=DecisionMakingOrg.POLICE,
                    types_of_exploitation=(TypeOfExploitation.FORCED_MARRIAGE,),
                ),
                case_id,
                1,
            )
            added = kosovo.add_document(
                case_id,
                2,
                paper,
                kind=DocumentKind.TRAVEL_DOCUMENT,
                title="Passport",
                group=FieldGroup.IDENTITY,
            )
            fields = kosovo.read(case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION).fields
            kosovo.release(
                case_id,
                3,
                [one for one in fields if one.field in ("first_name", "identity_document")],
                recipient="ME",
                purpose=Purpose.PROTECTION,
                basis=LegalBasis.DUTY,
                basis_action=identified.action_id,
            )

            def read() -> ReadingResult | None:
                seen = montenegro.read(case_id, [FieldGroup.IDENTITY], Purpose.PROTECTION)
                return seen if len(seen.fields) == 2 else None

            found = until(read)
            assert found is not None

            def is_held() -> bool:
                (content,) = montenegro.document_inventory(case_id).awaited
                return (content.id, content.state) == (added.action_id, "held")

            until(is_held)
            (given,) = until(
                lambda: [
                    one
                    for one in kosovo.document_inventory(case_id).given
                    if one.held_at is not None
                ]
            )
            assert (given.id, given.recipient) == (added.action_id, "ME")
            groups = [FieldGroup.IDENTITY]
            (listed,) = montenegro.documents(case_id, groups, Purpose.PROTECTION).documents
            assert (listed.is_here, listed.received_from) == (True, "XK")
            montenegro.download(case_id, listed.id, received, purpose=Purpose.PROTECTION)
            last = montenegro.readings(case_id).readings[-1]
            assert (last.granted, last.concerning) == (True, added.action_id)
            return found, added.action_id


def test_released_fields_verify_elsewhere_and_changed_ones_do_not(
    program: Path, ledger: Ledger, database: str, agencies: Agencies, tmp_path: Path
) -> None:
    assert ledger.registry() is not None
    (paper := tmp_path / "passport.pdf").write_bytes(pdf(600_000))
    result, document = released(database, agencies, paper, tmp_path / "received.pdf")
    (presentation,) = [one for one in result.presentations if str(document) not in claims_of(one)]
    (of_document,) = [one for one in result.presentations if str(document) in claims_of(one)]
    key = keys.public_part(agencies.keys["xk-dhtqnj"]).model_dump()
    found = verified(program, presentation, key)
    named = verified(program, of_document, key, ("act.identity_document",))
    assert named is not None
    signed = named["claims"]["act"]["identity_document"]
    told = subprocess.run(
        ["sha256sum", tmp_path / "received.pdf"], capture_output=True, text=True, check=True
    )
    assert told.stdout.split()[0] == signed["sha256"]
    assert (tmp_path / "received.pdf").read_bytes() == paper.read_bytes()
    assert found is not None
    assert found["alg"] == "Ed25519"
    act = found["claims"]["act"]
    assert act["first_name"] == NAME
    assert not {"second_name", "phone", "ground", "_sd"} & act.keys()
    assert (act["age_group"], found["claims"]["iss"]) == ("child", "xk-dhtqnj")

    jwt, disclosure, _ = presentation.split("~")
    header, payload, signature = jwt.split(".")
    salt, name, _value = json.loads(decoded(disclosure))
    claims = json.loads(decoded(payload))
    another = keys.public_part(agencies.keys["xk-border"]).model_dump()
    required = {"another name": "act.second_name", "a field more": "act.phone"}
    changed = {
        "another value": f"{jwt}~{encoded([salt, name, 'zqAnother'])}~",
        "another name": f"{jwt}~{encoded([salt, 'second_name', NAME])}~",
        "a field more": f"{presentation}{encoded(['salt', 'phone', PHONE])}~",
        "another case": f"{header}.{encoded({**claims, 'case': str(uuid4())})}.{signature}~",
        "another signature": f"{header}.{payload}.{'A' * 86}~{disclosure}~",
    }
    for what, text in changed.items():
        assert verified(program, text, key, (required.get(what, FIRST_NAME),)) is None, what
    assert verified(program, presentation, another) is None


def claims_of(presentation: str) -> str:
    """Return the claims that are in the clear, as JSON."""
    return decoded(presentation.split(".")[1]).decode()


def decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoded(content: object) -> str:
    return urlsafe_b64encode(json.dumps(content).encode()).decode("ascii").rstrip("=")
