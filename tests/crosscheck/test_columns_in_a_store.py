"""A columnar export in an S3 server of another maker (moto) is read as the files are.

It runs only where ``moto_server`` (PyPI's ``moto[server]``) is on the path.
"""

import hashlib
import json
import shutil
from pathlib import Path
from random import Random

import duckdb
import httpx
import pytest
from pyarrow import dataset, fs

from api.demo.node_process import free_port
from projections.analysis import tables
from projections.columnar.parquet_export import export
from tests.crosscheck.test_scanner_and_store_elsewhere import started
from tests.support.agencies import Agencies
from tests.support.recorded import MemoryLedger
from tests.support.stories import tell
from tests.support.waiting import until

ASKED = "SELECT party, age_group, count(*) AS n FROM case_opened GROUP BY ALL ORDER BY ALL"


@pytest.mark.process
@pytest.mark.skipif(shutil.which("moto_server") is None, reason="moto_server is not installed")
def test_an_export_in_an_object_store_answers_as_the_files_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = MemoryLedger(Agencies())
    ledger.begin()
    tell(ledger, Random(5), 20)
    export(ledger, tmp_path, upto=110)
    export(ledger, tmp_path)
    port = free_port()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with started("moto_server", "-H", "127.0.0.1", "-p", str(port)):
        until(lambda: httpx.get(f"http://127.0.0.1:{port}").status_code < 500)
        httpx.put(f"http://127.0.0.1:{port}/ledger").raise_for_status()
        store = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1"
        )
        for one in (one for one in tmp_path.rglob("*") if one.is_file()):
            place = f"ledger/columns/{one.relative_to(tmp_path).as_posix()}"
            httpx.put(f"http://127.0.0.1:{port}/{place}", content=one.read_bytes())
        # As docs/analysis.md has it.
        manifest = json.loads(store.open_input_file("ledger/columns/manifest.json").read())
        files = [file for file in manifest["files"] if file["table"] == "events/case_opened"]
        paths = [f"ledger/columns/{file['path']}" for file in files]
        for file, path in zip(files, paths, strict=True):
            content = store.open_input_file(path).read()
            assert hashlib.sha256(content).hexdigest() == file["sha256"]
        case_opened = dataset.dataset(paths, filesystem=store, format="parquet")
        found = duckdb.connect().execute(ASKED).fetchall() if case_opened is not None else []
    with tables(tmp_path) as local:
        assert found == local.execute(ASKED).fetchall()
    assert len(found) > 2 <= len(files)
