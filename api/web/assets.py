"""Static files, whose addresses change with what is in them, so that they may be kept for ever."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

PREFIX = "/static"
FOR_EVER = "public, max-age=31536000, immutable"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    content: bytes
    media_type: str


@dataclass(frozen=True, slots=True)
class Assets:
    """All static files under one version: modules that import each other stay together."""

    version: str
    files: Mapping[str, Asset]

    def url(self, name: str) -> str:
        """Return the path of a file.

        Raises ``KeyError`` if there is no such file.
        """
        if name not in self.files:
            raise KeyError(name)
        return f"{PREFIX}/{self.version}/{name}"

    def find(self, version: str, name: str) -> Asset | None:
        return self.files.get(name) if version == self.version else None


@cache
def assets() -> Assets:
    """Return the files of the package, which are read once."""
    files: dict[str, Asset] = {}
    whole = hashlib.sha256()
    with resources.as_file(resources.files("api.web") / "static") as directory:
        for path in sorted(directory.rglob("*")):
            media_type = _TYPES.get(path.suffix)
            if media_type is None or not path.is_file():
                continue
            name, content = path.relative_to(directory).as_posix(), path.read_bytes()
            files[name] = Asset(content, media_type)
            whole.update(f"{name}\0{len(content)}\0".encode())
            whole.update(content)
    return Assets(whole.hexdigest()[:16], files)
