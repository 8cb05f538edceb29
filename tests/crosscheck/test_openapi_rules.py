"""The OpenAPI document passes the recommended rules of Redocly and Spectral, without exceptions."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from api.processes.app import create_app
from api.runtime.settings import Settings
from tests.crosscheck.conftest import installed

if os.environ.get("CASE_LEDGER_TEST_CROSSCHECK") != "required":
    pytest.skip(
        "installs 200 packages of npm; tests/api/test_schemas.py has the rules that matter",
        allow_module_level=True,
    )


def test_both_rule_sets_find_nothing(tmp_path: Path) -> None:
    programs = installed("openapi_rules") / "node_modules" / ".bin"
    (tmp_path / "openapi.json").write_text(json.dumps(create_app(Settings(), "").openapi()))
    (tmp_path / "rules.json").write_text('{"extends": ["spectral:oas"]}')
    quiet = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
    for command in (
        ("redocly", "lint", "--extends", "recommended", "--format", "json", "openapi.json"),
        ("spectral", "lint", "openapi.json", "-r", "rules.json", "-F", "hint", "-f", "json", "-q"),
    ):
        done = subprocess.run(
            [programs / command[0], *command[1:]],
            cwd=tmp_path, capture_output=True, text=True, timeout=200,
            env={**os.environ, **quiet},
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        problems = found["problems"] if isinstance(found, dict) else found
        assert problems == [], command
