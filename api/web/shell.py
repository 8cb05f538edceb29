"""The installable page: its manifest, its worker, and the page for a node that is away.

None of it has anything of a person, a case or a moment: browsers keep it.
"""

import hashlib
import json
from functools import cache

from api.paper.languages.found import language
from api.web.assets import PREFIX, assets
from api.web.rendering import fixed_page
from api.web.texts import texts

_FILES = ("tokens.css", "pages.css", "icon.svg", "offline.js", "store.js")
"""The static files of the offline page."""
_BAR, _GROUND = "#12324d", "#ffffff"
"""The colours of an installed page before its styles are there: ``--bar`` and ``--ground``."""


@cache
def manifest(code: str) -> bytes:
    """Return the web app manifest in a language."""
    known = assets()
    drawn = {"src": known.url("app-icon.svg"), "sizes": "any", "type": "image/svg+xml"}
    icons = [
        {"src": known.url(f"app-icon-{size}.png"), "sizes": f"{size}x{size}", "type": "image/png"}
        for size in (192, 512)
    ]
    # The drawing keeps clear of the edge, so a system may cut the icon to its own shape.
    maskable = {**icons[-1], "purpose": "maskable"}
    described = {
        "id": "/today",
        "name": texts(code).text("brand"),
        "short_name": texts(code).text("brand.short"),
        "lang": language(code).tag,
        "dir": language(code).direction,
        "start_url": "/today",
        "scope": "/",
        "display": "standalone",
        "theme_color": _BAR,
        "background_color": _GROUND,
        "icons": [drawn, *icons, maskable],
    }
    return json.dumps(described, ensure_ascii=False).encode()


@cache
def offline_page(code: str) -> str:
    """Return the page that says, in a language, that the node cannot be reached."""
    return fixed_page("offline.html", code)


@cache
def worker(codes: tuple[str, ...]) -> bytes:
    """Return the script of the worker for these languages; without any, one that removes itself.

    The version in it changes with the static files, the languages and the text of the offline page,
    so that a browser takes each release for another worker.
    """
    known = assets()
    if not codes:
        return known.files["service_worker_off.js"].content
    whole = hashlib.sha256(known.version.encode())
    for code in codes:
        whole.update(f"{code}\0{offline_page(code)}\0".encode())
    release = {
        "version": whole.hexdigest()[:16],
        "base": f"{PREFIX}/{known.version}/",
        "languages": codes,
        "files": [known.url(name) for name in _FILES],
    }
    written = f"const RELEASE = {json.dumps(release)};\n".encode()
    return written + known.files["service_worker.js"].content
