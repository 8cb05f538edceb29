"""Write the bill of materials of the image it runs in, as CycloneDX 1.6 JSON on standard output.

It lists Debian's packages and the distributions of one environment of Python, from their own
metadata. The image is built with it: it needs no package and no network.
"""

import hashlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from typing import Any

_FIELDS = "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"


def of_debian() -> Iterator[dict[str, Any]]:
    """Yield Debian's installed packages."""
    try:
        told = subprocess.run(  # noqa: S603
            ["/usr/bin/dpkg-query", "-W", f"-f={_FIELDS}"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    except FileNotFoundError:  # an image of another system
        return
    for line in told.splitlines():
        name, version, architecture, status = line.split("\t")
        if status == "installed":
            purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B')}?arch={architecture}"
            yield _component(name, version, purl)


def of_python(site: str) -> Iterator[dict[str, Any]]:
    """Yield the distributions of a directory of packages."""
    for found in sorted(distributions(path=[site]), key=lambda one: one.name.lower()):
        name = found.name.lower().replace("_", "-").replace(".", "-")
        made = _component(name, found.version, f"pkg:pypi/{name}@{found.version}")
        if licence := _licence(found):
            made["licenses"] = [{"license": {"name": licence}}]
        yield made


def _component(name: str, version: str, purl: str) -> dict[str, Any]:
    return {
        "type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
    }  # fmt: skip


def _licence(found: Distribution) -> str | None:
    said = found.metadata
    classifiers = said.get_all("Classifier") or []
    named = [one.rpartition(" :: ")[2] for one in classifiers if one.startswith("License ::")]
    text = said.get("License-Expression") or ", ".join(named) or said.get("License")
    return text.splitlines()[0][:200] if text else None


def bill(site: str) -> dict[str, Any]:
    """Return the whole document. The same contents give the same serial number."""
    components = [*of_debian(), *of_python(site)]
    digest = hashlib.sha256(json.dumps(components, sort_keys=True).encode()).hexdigest()
    (own,) = [one for one in components if one["name"] == "case-ledger"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, digest)}",
        "version": 1,
        "metadata": {"component": {**own, "type": "application", "bom-ref": "case-ledger"}},
        "components": [one for one in components if one is not own],
    }


if __name__ == "__main__":
    json.dump(bill(sys.argv[1]), sys.stdout, indent=1)
