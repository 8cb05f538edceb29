"""The place of an agency's private key on this machine."""

from pathlib import Path

from joserfc.jwk import OKPKey

from api.runtime.settings import Settings
from ledger.signing import keys


def key_path(settings: Settings, agency: str) -> Path:
    """Return the default path of an agency's private key."""
    return settings.key_directory / f"{agency}.jwk"


def own_key(settings: Settings, agency: str, file: Path | None) -> OKPKey:
    """Return an agency's private key.

    Raises ``ValueError`` if there is none, or if it is unusable.
    """
    path = file or key_path(settings, agency)
    if not path.is_file():
        raise ValueError(
            f"{agency} has no key at {path}; make one with `case-ledger keys new {agency}`, "
            "or name its file with --key"
        )
    return keys.load(path)
