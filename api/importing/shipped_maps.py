"""The import maps that ship with this program, for exports of other systems."""

from importlib.resources import files
from pathlib import Path

_MAPS = files("api.importing") / "maps"


def shipped_map(named: Path | None) -> Path | None:
    """Return the file of a shipped map where its bare name is given, else the path as it is."""
    if named is None or named.exists() or named.suffix or len(named.parts) != 1:
        return named
    shipped = Path(str(_MAPS / f"{named.name}.toml"))
    return shipped if shipped.is_file() else named
