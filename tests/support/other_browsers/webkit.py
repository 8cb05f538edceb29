"""WebKitGTK by WebDriver (the classic protocol), through the driver that it comes with."""

import re
import socket
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from tests.support.other_browsers.driven import BrowserError, DrivenBrowser
from tests.support.waiting import until

DRIVER = Path("/usr/bin/WebKitWebDriver")
DISPLAY = Path("/usr/bin/Xvfb")
"""WebKitGTK needs a display. This one is in memory."""
_COMPLAINT = re.compile("CONSOLE .*(ERROR|WARN)")
_NO_COMPLAINT = re.compile(
    # The browser's own viewer of PDFs.
    "^webkit-pdfjs-viewer:"
    # A request that ends because the person leaves the page; htmx tells it as an error.
    "|due to access control checks|htmx:(afterRequest|sendError), "
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name that the specification gives to the id of an element."""


WINDOW = Path(__file__).with_name("webkit_window.py")
PACKAGES = "webkit2gtk-driver, xvfb, gir1.2-webkit2-4.1 and python3-gi"
"""The packages of Debian that have all of it."""
_BINDINGS = "import gi; gi.require_version('WebKit2', '4.1')"


def is_installed() -> bool:
    """Return whether the driver, its display and the bindings for the window are installed."""
    if not (DRIVER.exists() and DISPLAY.exists() and Path("/usr/bin/python3").exists()):
        return False
    asked = subprocess.run(["/usr/bin/python3", "-c", _BINDINGS], capture_output=True, check=False)
    return asked.returncode == 0


class WebKit(DrivenBrowser):
    """A window of WebKitGTK, on a display that nobody sees, with a profile that outlives it."""

    def __init__(self, profile: Path) -> None:
        self._console = profile / "console.log"
        self.downloads = profile / "downloads"
        self._display = subprocess.Popen(
            [DISPLAY, "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._display.stdout is not None
        display = self._display.stdout.readline().strip()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._driver = subprocess.Popen(
            [DRIVER, f"--port={port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=_environment(profile, f":{display}"),
        )  # fmt: skip
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        try:
            until(lambda: self._client.get("/status").json()["value"]["ready"])
            window = {"binary": str(WINDOW), "args": [str(profile)]}
            wanted = {"alwaysMatch": {"webkitgtk:browserOptions": window}}
            told = self._ask("POST", "/session", {"capabilities": wanted})
            self._session = f"/session/{told['sessionId']}"
        except BaseException:
            self._end()
            raise

    @property
    def complaints(self) -> list[str]:
        said = self._console.read_text(errors="replace") if self._console.exists() else ""
        told = (line for line in said.splitlines() if _COMPLAINT.search(line))
        return [line for line in told if not _NO_COMPLAINT.search(line)]

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        told = self._client.request(method, path, json=body if method == "POST" else None)
        value = told.json()["value"]
        if told.is_error:
            raise BrowserError(f"{value['error']}: {value.get('message')}")
        return value

    def _post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", self._session + path, body)

    def goto(self, url: str) -> None:
        # The driver may answer before the scripts of the new page have run.
        self.run("() => { document.documentElement.dataset.isLeft = 1; }")
        self._post("/url", url=url)
        self.wait(
            "!('isLeft' in document.documentElement.dataset)"
            " && (document.readyState === 'complete' || Boolean(document.querySelector('iframe')))"
        )

    def _evaluate(self, function: str) -> str:
        said: str = self._post(
            "/execute/async",
            script="const done = arguments[arguments.length - 1];"
            f"({function})().then(done, (error) => done('!' + error));",
            args=[],
        )
        if said.startswith("!"):
            raise BrowserError(said[1:])
        return said

    def _element(self, selector: str) -> str:
        found = self._post("/element", using="css selector", value=selector)
        return f"/element/{found[_ELEMENT]}"

    def click(self, selector: str) -> None:
        self._post(f"{self._element(selector)}/click")

    def type(self, selector: str, text: str) -> None:
        self._post(f"{self._element(selector)}/value", text=text)

    def press(self, key: str) -> None:
        strokes = [{"type": kind, "value": one} for one in key for kind in ("keyDown", "keyUp")]
        self._post("/actions", actions=[{"type": "key", "id": "keyboard", "actions": strokes}])

    def choose_file(self, selector: str, file: Path) -> None:
        self.type(selector, str(file))

    def close(self) -> None:
        with suppress(BrowserError, httpx.TransportError):
            self._ask("DELETE", self._session)
        self._end()

    def _end(self) -> None:
        self._client.close()
        for process in (self._driver, self._display):
            process.terminate()
            process.wait(60)
        if self._display.stdout is not None:
            self._display.stdout.close()


def _environment(profile: Path, display: str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin", "HOME": str(profile), "LANG": "C.UTF-8", "TZ": "UTC",
        "DISPLAY": display, "GDK_BACKEND": "x11", "XDG_RUNTIME_DIR": str(profile),
        # There is no graphics card.
        "LIBGL_ALWAYS_SOFTWARE": "1", "WEBKIT_DISABLE_COMPOSITING_MODE": "1",
        "NO_AT_BRIDGE": "1", "GIO_USE_VFS": "local", "GSETTINGS_BACKEND": "memory",
    }  # fmt: skip
