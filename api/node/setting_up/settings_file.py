"""The settings of a node as a file of environment variables, for a shell and for systemd."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from api.node.setting_up.hand_over import write_whole
from ledger.system.bounded_files import read_ordinary

PREFIX = "CASE_LEDGER_"
_HEAD = """\
# Settings of this node, written by `case-ledger node init`.
# In a shell: set -a; . THIS_FILE; set +a        In systemd: EnvironmentFile=THIS_FILE
# Lines that you add or change stay; `node init` writes only the settings that it was given.
"""


def read_settings(path: Path) -> dict[str, str]:
    """Return the settings of a file, by their names in small letters. An absent file has none."""
    if not path.exists():
        return {}
    found = {}
    for line in read_ordinary(path).decode("utf-8").splitlines():
        name, equals, value = line.partition("=")
        if equals and name.startswith(PREFIX):
            words = shlex.split(value)
            found[name.removeprefix(PREFIX).lower()] = words[0] if words else ""
    return found


def write_settings(path: Path, settings: Mapping[str, str]) -> None:
    """Write settings into a file, in their places, and leave every other line as it is.

    Raises ``ValueError`` for a value that a shell and systemd would not read alike.
    """
    for name, value in settings.items():
        if "'" in value or not value.isprintable():
            raise ValueError(f"{name} has a quotation mark or a character that cannot be printed")
    left = {f"{PREFIX}{name.upper()}": value for name, value in settings.items()}
    before = read_ordinary(path).decode("utf-8") if path.exists() else _HEAD
    lines = []
    for line in before.splitlines():
        name = line.partition("=")[0]
        lines.append(f"{name}='{left.pop(name)}'" if name in left else line)
    lines += [f"{name}='{value}'" for name, value in left.items()]
    content = "\n".join(lines) + "\n"
    if not path.exists() or content != before:
        write_whole(path, content)
