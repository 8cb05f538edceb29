"""Firefox by WebDriver BiDi, which it speaks itself: no program is between it and the test."""

import json
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.other_browsers.driven import BrowserError, DrivenBrowser

FIREFOX = Path("/usr/bin/firefox-esr")
_LISTENS = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
_PREFERENCES = {
    # Nothing but the node under test is asked for anything.
    "app.normandy.enabled": False,
    "browser.newtabpage.enabled": False,
    "browser.region.network.url": "",
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.getAddons.cache.enabled": False,
    "extensions.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",
    "toolkit.telemetry.enabled": False,
    # One process for pages is enough for one window.
    "dom.ipc.processCount": 1,
    "dom.ipc.processPrelaunch.enabled": False,
    "fission.autostart": False,
    "intl.accept_languages": "en-GB",
    "intl.locale.requested": "en-GB",
}
_TELL_VIOLATIONS = """() => {
    document.addEventListener("securitypolicyviolation", (one) => {
        console.error(`${one.violatedDirective} forbids ${one.blockedURI} on ${location.pathname}`);
    });
}"""


class Firefox(DrivenBrowser):
    """Firefox without windows, with a profile that outlives it."""

    def __init__(
        self, profile: Path, *, is_private: bool = False, preferences: dict[str, Any] | None = None
    ) -> None:
        settings = _PREFERENCES | (preferences or {})
        if is_private:
            settings |= {"browser.privatebrowsing.autostart": True}
        (profile / "user.js").write_text(
            "".join(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n" for k, v in settings.items())
        )
        self._complaints: list[str] = []
        self.downloads = profile / "downloads"
        self.downloads.mkdir(exist_ok=True)
        self._number = 0
        self._context = ""
        self._opened = ExitStack()
        self._process = subprocess.Popen(
            [FIREFOX, "--headless", "--no-remote", "--remote-debugging-port=0",
             "--profile", profile, "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=_environment(profile),
        )  # fmt: skip
        try:
            assert self._process.stderr is not None
            address = f"{_address(self._process.stderr)}/session"
            self._socket = self._opened.enter_context(connect(address, max_size=None))
            self._ask("session.new", {"capabilities": {}})
            self._ask("session.subscribe", {"events": ["log.entryAdded"]})
            allowed = {"type": "allowed", "destinationFolder": str(self.downloads)}
            self._ask("browser.setDownloadBehavior", {"downloadBehavior": allowed})
            self._ask("script.addPreloadScript", {"functionDeclaration": _TELL_VIOLATIONS})
            # The window that Firefox starts with may never get the focus, without which keys press
            # no buttons.
            self._context = self._ask("browsingContext.create", {"type": "window"})["context"]
            for one in self._ask("browsingContext.getTree", {})["contexts"]:
                if one["context"] != self._context:
                    self._ask("browsingContext.close", {"context": one["context"]})
        except BaseException:
            self._process.kill()
            raise

    _socket: ClientConnection

    def _ask(self, method: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        asked = {"id": self._number, "method": method, "params": parameters}
        self._socket.send(json.dumps(asked))
        while True:
            told = json.loads(self._socket.recv(timeout=60))
            if told.get("type") == "event":
                self._hear(told["method"], told["params"])
            elif told.get("id") == self._number:
                if told["type"] == "error":
                    raise BrowserError(f"{told['error']}: {told.get('message')}")
                return told["result"]

    def _hear(self, method: str, event: dict[str, Any]) -> None:
        is_own = event.get("source", {}).get("context") == self._context
        if method == "log.entryAdded" and is_own and event["level"] in ("error", "warn"):
            self._complaints.append(event["text"])

    def goto(self, url: str) -> None:
        self._ask(
            "browsingContext.navigate", {"context": self._context, "url": url, "wait": "complete"}
        )

    def _evaluate(self, function: str) -> str:
        told = self._ask(
            "script.callFunction",
            {
                "functionDeclaration": function,
                "awaitPromise": True,
                "target": {"context": self._context},
            },
        )
        if told["type"] == "exception":
            raise BrowserError(told["exceptionDetails"]["text"])
        said: str = told["result"]["value"]
        return said

    def _element(self, selector: str) -> dict[str, str]:
        told = self._ask(
            "browsingContext.locateNodes",
            {
                "context": self._context,
                "locator": {"type": "css", "value": selector},
                "maxNodeCount": 1,
            },
        )
        if not told["nodes"]:
            raise BrowserError(f"no such element: {selector}")
        return {"sharedId": told["nodes"][0]["sharedId"]}

    def _act(self, *sources: dict[str, Any]) -> None:
        # Firefox shows a PDF that it saved in a window before this one.
        self._ask("browsingContext.activate", {"context": self._context})
        self._ask("input.performActions", {"context": self._context, "actions": list(sources)})

    def click(self, selector: str) -> None:
        self.run(
            """(at) => document.querySelector(at)
                .scrollIntoView({ block: "center", behavior: "instant" })""",
            selector,
        )
        origin = {"type": "element", "element": self._element(selector)}
        move = {"type": "pointerMove", "x": 0, "y": 0, "origin": origin}
        press, release = ({"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp"))
        self._act({"type": "pointer", "id": "mouse", "actions": [move, press, release]})

    def type(self, selector: str, text: str) -> None:
        self.run("(at) => document.querySelector(at).focus()", selector)
        self.press(text)

    def press(self, key: str) -> None:
        strokes = [{"type": kind, "value": one} for one in key for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keyboard", "actions": strokes})

    def choose_file(self, selector: str, file: Path) -> None:
        self._ask(
            "input.setFiles",
            {"context": self._context, "element": self._element(selector), "files": [str(file)]},
        )

    @property
    def complaints(self) -> list[str]:
        return self._complaints

    def close(self) -> None:
        try:
            self._ask("browser.close", {})
        except (ConnectionClosed, TimeoutError, BrowserError):
            self._process.terminate()
        self._opened.close()
        self._process.wait(60)
        if self._process.stderr is not None:
            self._process.stderr.close()


def _environment(profile: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "HOME": str(profile), "LANG": "C.UTF-8", "TZ": "UTC"}


def _address(errors: IO[str]) -> str:
    """Return the address that the browser prints."""
    for line in errors:
        if found := _LISTENS.search(line):
            return found[1]
    raise BrowserError("Firefox ended before it listened")
