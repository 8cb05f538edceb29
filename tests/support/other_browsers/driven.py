"""The commands that a test gives to a browser of any maker."""

import json
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.waiting import until

ENTER, TAB = "\ue007", "\ue004"
"""Keys without a character, as WebDriver names them (section 17.4.2 of its specification)."""


class BrowserError(Exception):
    """The browser refuses a command: its error code, and what it says of it."""


class DrivenBrowser(ABC):
    """One window of one browser. Input comes as a person's would, by pointer and keys."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    downloads: Path
    """The folder of what is saved."""

    @property
    @abstractmethod
    def complaints(self) -> list[str]:
        """Return the warnings and errors on the browser's console so far."""

    @abstractmethod
    def goto(self, url: str) -> None:
        """Open an address, and wait until its page is loaded."""

    @abstractmethod
    def click(self, selector: str) -> None:
        """Click in the middle of the first element of a CSS selector."""

    @abstractmethod
    def type(self, selector: str, text: str) -> None:
        """Give the focus to an element, and type into it."""

    @abstractmethod
    def press(self, key: str) -> None:
        """Press a key wherever the focus is."""

    @abstractmethod
    def choose_file(self, selector: str, file: Path) -> None:
        """Choose a file in a file field."""

    @abstractmethod
    def close(self) -> None:
        """End the browser. Its profile stays."""

    @abstractmethod
    def _evaluate(self, function: str) -> str:
        """Return the string that an asynchronous function without parameters gives on the page."""

    def run(self, function: str, *arguments: object) -> Any:
        """Return the value that a JavaScript function gives on the page, once its promise is kept.

        Arguments and value are what JSON can say.
        """
        given = json.dumps(json.dumps(arguments))
        said = self._evaluate(
            f"async () => JSON.stringify((await ({function})(...JSON.parse({given}))) ?? null)"
        )
        return json.loads(said)

    def wait(self, condition: str, *arguments: object) -> Any:
        """Return the first value of an expression on the page that is true.

        The page may be on its way to another address meanwhile.
        """

        def asked() -> Any:
            return self.run(f"(...given) => {condition}", *arguments)

        def where() -> str:
            text = self.run(
                "() => [location.href, document.activeElement.outerHTML, document.body.innerText]"
                ".join('\\n')"
            )
            return f"{condition} {arguments}\n{text}\n{self.complaints}"

        return until(asked, where, seconds=60, while_raises=BrowserError)

    def wait_for(self, selector: str) -> None:
        """Wait until an element is there and is shown."""
        self.wait("document.querySelector(given[0])?.checkVisibility()", selector)

    def text(self, selector: str) -> str:
        """Return the text of an element as it is shown."""
        said: str = self.run("(at) => document.querySelector(at).innerText", selector)
        return said

    def value(self, selector: str) -> str:
        """Return the value of a field."""
        said: str = self.run("(at) => document.querySelector(at).value", selector)
        return said

    def choose(self, selector: str, value: str) -> None:
        """Choose an option of a list by its value.

        The open list is a window of the system, which no protocol of the W3C reaches in all
        browsers: the page is told as if a person had chosen.
        """
        self.run(
            """(at, value) => {
                const list = document.querySelector(at);
                list.focus();
                list.value = value;
                if (list.value !== value) throw new Error(`no option ${value}`);
                for (const kind of ["input", "change"]) {
                    list.dispatchEvent(new Event(kind, { bubbles: true }));
                }
            }""",
            selector,
            value,
        )
