"""The list of released migrations: each file with its SHA-256, for each release.

A node that applied a migration refuses a file of the same name with other content. So a migration
that was released never changes. ``make release-migrations`` writes the list of the version in
``pyproject.toml``; it is run as the last step before that version is released.
"""

import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
LIST = ROOT / "tests" / "released_migrations.json"
PACKAGES = ("ledger", "projections", "api")

Hashes = Mapping[str, str]
"""SHA-256 in hexadecimal, by the file's path below the repository's root."""


class ChangedMigrationError(Exception):
    """A migration of an earlier release was changed or removed; the message names the files."""


def migrations(root: Path = ROOT) -> dict[str, str]:
    """Return every migration of the packages with its hash, in the order of their paths."""
    folders = ("migrations", "*_migrations")
    files = (
        path
        for package in PACKAGES
        for folder in folders
        for path in (root / package).glob(f"**/{folder}/*.sql")
    )
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(files)
    }


def changed(released: Hashes, now: Hashes) -> list[str]:
    """Return the released migrations that are missing now or have another hash."""
    return [path for path, sha256 in released.items() if now.get(path) != sha256]


def with_release(
    releases: Mapping[str, Hashes], version: str, now: Hashes
) -> dict[str, dict[str, str]]:
    """Return the list with this version's migrations, which replace an earlier list of it.

    Raises ``ChangedMigrationError`` if a migration of another release differs.
    """
    others = {name: dict(hashes) for name, hashes in releases.items() if name != version}
    if wrong := sorted({path for hashes in others.values() for path in changed(hashes, now)}):
        raise ChangedMigrationError(
            f"released migrations were changed or removed: {', '.join(wrong)}. "
            "Put them back, and write a new migration instead."
        )
    return {**others, version: dict(now)}


def read_releases() -> dict[str, dict[str, str]]:
    """Return the list as it is in the repository."""
    releases: dict[str, dict[str, str]] = json.loads(LIST.read_text(encoding="utf-8"))
    return releases


def version_of_the_source() -> str:
    """Return the version in ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


def main() -> int:
    """Write the list of the version in ``pyproject.toml``. Returns the exit code."""
    version = version_of_the_source()
    now = migrations()
    try:
        releases = with_release(read_releases(), version, now)
    except ChangedMigrationError as error:
        print(error, file=sys.stderr)
        return 1
    LIST.write_text(json.dumps(releases, indent=1) + "\n", encoding="utf-8")
    print(f"{version}: {len(now)} migrations are listed in {LIST.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
