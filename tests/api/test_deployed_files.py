"""The files that operators install beside the program name what the program serves.

Each file is also checked by the program that reads it, where that program is installed.
"""

import ast
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from api.runtime.settings import Settings
from tests.support.serving import Server

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("case-ledger*"))
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ALERTS: dict[str, Any] = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yml").read_text())
OF_A_HISTOGRAM = ("_count", "_bucket", "_sum")


def declared() -> set[str]:
    """Return the name of each metric that the code declares."""
    found = set()
    for file in (
        ROOT / "api" / "node" / "metrics.py",
        ROOT / "api" / "http" / "request_metrics.py",
    ):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = str(node.args[0].value)
                is_gauge = isinstance(node.func, ast.Name) and node.func.id == "_gauge"
                if is_gauge or name.startswith("case_ledger_"):
                    found.add(f"case_ledger_{name.removeprefix('case_ledger_')}")
    return found


def rules() -> Iterator[dict[str, Any]]:
    for group in ALERTS["groups"]:
        yield from group["rules"]


def test_each_alert_is_of_a_metric_that_a_node_serves(served_once: Server) -> None:
    text = httpx.get(f"{served_once.url}/metrics").text
    served = {
        family.name
        for family in text_string_to_metric_families(text)
        if family.name.startswith("case_ledger_")
    }
    assert len(served) > 10
    assert sorted(served - declared()) == []
    named = {
        re.sub("|".join(f"{end}$" for end in OF_A_HISTOGRAM), "", name)
        for rule in rules()
        for name in re.findall(r"\bcase_ledger_[a-z_]+", rule["expr"])
    }
    assert sorted(named - declared() - {"case_ledger_backup"}) == []
    assert len(named) > 15


def test_each_alert_leads_to_a_section_of_the_page() -> None:
    heads = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
    sections = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
    for rule in rules():
        assert rule["annotations"]["section"] in sections, rule["alert"]
        assert rule["labels"]["severity"] in ("page", "ticket")


def _checks(*words: object, cwd: Path = ROOT) -> None:
    if shutil.which(str(words[0])) is None:
        pytest.skip(f"{words[0]} is not installed")
    done = subprocess.run(list(map(str, words)), cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_alerts() -> None:
    place = DEPLOY / "monitoring"
    _checks("promtool", "check", "config", "prometheus.yml", cwd=place)
    _checks("promtool", "test", "rules", "alerts_test.yml", cwd=place)


def test_nginx_accepts_its_example(tmp_path: Path) -> None:
    if shutil.which("nginx") is None or shutil.which("openssl") is None:
        pytest.skip("nginx is not installed")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=node.example",
         "-keyout", key, "-out", chain],
        check=True, capture_output=True,
    )  # fmt: skip
    text = (DEPLOY / "proxy" / "nginx.conf").read_text()
    text = re.sub(r"^ *listen \[::\].*\n", "", text, flags=re.MULTILINE)
    for old, new in (
        ("listen 80;", "listen 127.0.0.1:18080;"),
        ("listen 443", "listen 127.0.0.1:18443"),
        ("/etc/ssl/case-ledger/chain.pem", str(chain)),
        ("/etc/ssl/case-ledger/key.pem", str(key)),
        ("/var/log/nginx", str(tmp_path)),
    ):
        assert old in text
        text = text.replace(old, new)
    whole = tmp_path / "nginx.conf"
    whole.write_text(f"pid {tmp_path}/pid;\nevents {{}}\nhttp {{\n{text}\n}}\n")
    _checks("nginx", "-t", "-q", "-e", tmp_path / "error.log", "-c", whole)


def test_caddy_accepts_its_example() -> None:
    _checks(
        "caddy", "validate", "--adapter", "caddyfile", "--config", DEPLOY / "proxy" / "Caddyfile"
    )


def test_logrotate_accepts_its_file(tmp_path: Path) -> None:
    copy = tmp_path / "case-ledger"
    shutil.copy(DEPLOY / "logrotate" / "case-ledger", copy)
    copy.chmod(0o644)
    _checks("logrotate", "-d", "-s", tmp_path / "state", copy)


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    """A path of another machine is replaced by one that is here."""
    for unit in UNITS:
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text(), flags=re.M)
        (tmp_path / unit.name).write_text(text)
    _checks("systemd-analyze", "verify", "--man=no", *sorted(tmp_path.iterdir()))


@pytest.mark.parametrize("unit", [u for u in UNITS if u.suffix == ".service"], ids=lambda u: u.name)
def test_each_service_has_few_rights(unit: Path) -> None:
    text = unit.read_text()
    for line in (
        "NoNewPrivileges=true", "ProtectSystem=strict", "ProtectHome=true", "PrivateTmp=true",
        "PrivateDevices=true", "ProtectKernelModules=true", "UMask=0077",
    ):  # fmt: skip
        assert line in text, line
    # No secret is in a unit, which everybody may read.
    assert not re.search(r"(?i)password=|passphrase=[^\"\"$]*[a-z0-9]{8}", text)


def test_the_backup_script_is_executable() -> None:
    assert os.access(DEPLOY / "backup" / "case-ledger-backup", os.X_OK)


def _manifests() -> list[dict[str, Any]]:
    return [
        one
        for file in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for one in yaml.safe_load_all(file.read_text(encoding="utf-8"))
    ]


def test_each_pod_has_few_rights_and_names_what_there_is() -> None:
    manifests = _manifests()
    named = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    workloads = [one for one in manifests if one["kind"] in ("Job", "StatefulSet", "Deployment")]
    assert len(workloads) == 2
    settings = {f"CASE_LEDGER_{name.upper()}" for name in Settings.model_fields}
    (config,) = [one for one in manifests if one["kind"] == "ConfigMap"]
    assert config["data"].keys() - settings == {"FORWARDED_ALLOW_IPS"}
    for one in workloads:
        pod = one["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        volumes = {volume["name"] for volume in pod["volumes"]}
        volumes |= {
            claim["metadata"]["name"] for claim in one["spec"].get("volumeClaimTemplates", ())
        }
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["args"][0] == "case-ledger"
        for source in container.get("envFrom", ()):
            assert ("ConfigMap", source["configMapRef"]["name"]) in named
        assert not [env for env in container["env"] if "password=" in env["value"]]
        labels = one["spec"]["template"]["metadata"]["labels"]
        selector = one["spec"].get("selector", {"matchLabels": labels})["matchLabels"]
        assert selector.items() <= labels.items()
    (node,) = [one for one in workloads if one["kind"] == "StatefulSet"]
    assert node["spec"]["replicas"] == 1, "two would both have the role work"
    (service,) = [one for one in manifests if one["kind"] == "Service"]
    assert service["spec"]["selector"] == node["spec"]["selector"]["matchLabels"]
    (database,) = [one for one in manifests if one["kind"] == "Cluster"]
    assert database["spec"]["postgresql"]["synchronous"]["dataDurability"] == "required"


def test_the_schemas_of_kubernetes_accept_the_manifests() -> None:
    """The oldest release that its project still mends is among them, and the newest."""
    import kubernetes_validate

    newest = kubernetes_validate.latest_version()
    checked = 0
    for one in _manifests():
        if not one["apiVersion"].startswith("postgresql.cnpg.io"):  # not of Kubernetes itself
            for version in ("1.31", newest):
                kubernetes_validate.validate(one, version, strict=True)
            checked += 1
    assert checked > 4
    wrong = next(one for one in _manifests() if one["kind"] == "StatefulSet")
    wrong["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, newest, strict=True)
