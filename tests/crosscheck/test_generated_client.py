"""A client that a public generator makes of the OpenAPI document works against the server."""

import importlib
import io
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from api.client.assertion import make_assertion
from tests.support.actions import opening
from tests.support.serving import Server
from tests.test_docs import ROOT

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
PACKAGE = "transnational_case_ledger_client"
GENERATOR = Path(sys.executable).parent / "openapi-python-client"


@pytest.fixture
def generated(served: Server, tmp_path: Path) -> Iterator[str]:
    """The generated package, importable. Nothing was left out of it."""
    document = tmp_path / "openapi.json"
    document.write_bytes(httpx.get(f"{served.url}/v1/openapi.json").content)
    made = subprocess.run(
        [
            GENERATOR, "generate", "--path", document, "--output-path", tmp_path / "client",
            "--meta", "none", "--config", ROOT / "docs" / "client-generator.yaml",
            "--fail-on-warning",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert "WARNING" not in made.stdout, made.stdout
    (tmp_path / PACKAGE).symlink_to(tmp_path / "client", target_is_directory=True)
    sys.path.insert(0, str(tmp_path))
    try:
        yield PACKAGE
    finally:
        sys.path.remove(str(tmp_path))
        for name in [name for name in sys.modules if name.startswith(PACKAGE)]:
            del sys.modules[name]


def operation(package: str, tag: str, name: str) -> Any:
    return importlib.import_module(f"{package}.api.{tag}.{name}")


def test_it_appends_and_reads(generated: str, served: Server) -> None:
    agency = "xk-dhtqnj"
    client_class = importlib.import_module(f"{generated}.client").AuthenticatedClient
    file_class = importlib.import_module(f"{generated}.types").File

    def client() -> Any:
        # An assertion is good once, so that each call has a client of its own.
        token = make_assertion(agency, served.agencies.keys[agency], served.settings.audience)
        return client_class(base_url=served.url, token=token, raise_on_unexpected_status=True)

    case = uuid4()
    signed = str(served.agencies.sign(agency, opening(acted_at=START), case)).encode()
    append = operation(generated, "cases", "append")
    body = file_class(payload=io.BytesIO(signed))
    receipt = append.sync(case, client=client(), body=body, if_none_match="*")
    assert (receipt.case_id, receipt.case_version) == (case, 1)
    again = append.sync(case, client=client(), body=file_class(io.BytesIO(signed)), if_match='"0"')
    assert again.position == receipt.position

    got = operation(generated, "cases", "get_case").sync(
        case, client=client(), at_least=receipt.position
    )
    assert got.view.status.value == "Active"
    assert got.view.lead_agency == agency
    page = operation(generated, "cases", "list_cases").sync(client=client())
    assert [view.case_id for view in page.cases] == [case]
    trail = operation(generated, "cases", "get_trail").sync(
        case, client=client(), at_least=receipt.position
    )
    assert [entry.kind for entry in trail.entries] == ["case_opened"]
    refused = operation(generated, "cases", "get_case").sync(uuid4(), client=client())
    assert refused.rule == "unknown-case"
    protocol = operation(generated, "protocol", "get_protocol").sync(client=client())
    assert protocol.id == served.agencies.protocol.id


def test_operations_have_names_of_their_own(served: Server) -> None:
    document = httpx.get(f"{served.url}/v1/openapi.json").json()
    names = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(names) == len(set(names)) > 30
    assert [name for name in document["components"]["schemas"] if "__" in name] == []
