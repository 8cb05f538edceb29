"""Serves the practice ledger until a signal, and begins it anew when somebody resets it."""

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import platformdirs
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from rich.console import Console

from api.client.bounded_answers import bounded_client
from api.demo.practice.exercises import ExerciseBook, read_exercises, shipped_exercises
from api.demo.practice.ledger import PracticeLedger
from api.demo.practice.pages import PracticePages
from api.processes.server import base_url, listen, prepare, serving
from api.runtime.node_database import open_store
from api.runtime.practice_directory import PracticeError, claim_for_practice
from api.runtime.settings import Settings
from ledger.procedure.practice_protocol import practice_protocol
from ledger.procedure.protocol import load_protocol, shipped_protocol, with_assumptions_adopted

PORT = 8430
_GRACE_SECONDS = 2
_LOOK_SECONDS = 0.5
_RESET_SECONDS = 60


class PracticeSettings(Settings):
    """Settings of a node that no environment variable sets: those are a real node's."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the one source of values: what the command gives."""
        return (init_settings,)


def default_directory() -> Path:
    """Return the practice's own data directory, which is beside that of a real node."""
    return platformdirs.user_data_path("case-ledger-practice")


def practice_settings(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = PORT,
    protocol: Path | None = None,
    public_url: str | None = None,
) -> Settings:
    """Return the settings of a practice ledger. Raises ``ValueError`` for a file of no protocol."""
    text = load_protocol(protocol) if protocol is not None else shipped_protocol()
    settings = PracticeSettings(
        data_directory=directory,
        host=host,
        port=port,
        public_url=public_url,
        audience="case-ledger-practice",
    )
    # Deadlines that the text marks as assumed count here, so that people see them pass.
    return settings.with_protocol(practice_protocol(with_assumptions_adopted(text)))


def exercises_for(settings: Settings, path: Path | None) -> ExerciseBook | None:
    """Return the exercises of a file, or those that ship with the program for their protocol.

    Raises ``ExercisesError``.
    """
    protocol = settings.load_protocol()
    if path is None:
        book = shipped_exercises()
        if practice_protocol_id(book) != protocol.id:
            return None
    else:
        book = read_exercises(path)
    book.check_agencies(protocol)
    return book


def practice_protocol_id(book: ExerciseBook) -> str:
    """Return the id that the protocol of the exercises has in practice."""
    return f"practice-{book.protocol}"


def play_practice(settings: Settings, book: ExerciseBook | None) -> None:
    """Serve the practice ledger until SIGINT or SIGTERM.

    Raises ``PracticeError`` where the directory is not a practice's, or another process serves it.
    """
    console = Console()
    claim_for_practice(settings.data_directory)
    with _alone(settings.data_directory), open_store(settings, practice=True) as store:
        console.print("The practice is being prepared; the first time takes a minute.")
        ledger = PracticeLedger(settings, store.owner_conninfo)
        ledger.prepare()
        serve_practice(settings, ledger, book, partial(_tell, console, settings))


def serve_practice(
    settings: Settings,
    ledger: PracticeLedger,
    book: ExerciseBook | None,
    when_served: Callable[[str, int], None],
    stopped: threading.Event | None = None,
) -> None:
    """Serve a prepared ledger until ``stopped`` or a signal, with resets in between.

    ``when_served`` is called with the address and the number of resets, each time it is served.
    """
    prepare()
    stop = stopped or threading.Event()
    asked, resets = threading.Event(), 0
    pages = PracticePages(ledger.protocol, book, ledger.runs, asked.set)
    try:
        bound = listen(settings)
    except OSError as error:
        raise PracticeError(
            f"cannot serve at {settings.host}:{settings.port} ({error.strerror}): end what is"
            " there, or choose another --port"
        ) from error
    with bound:
        address = base_url(bound, settings)
        while not stop.is_set():
            asked.clear()
            with serving(
                settings, ledger.conninfo, pages.add_to, bound=bound, grace=_GRACE_SECONDS
            ):
                players = ledger.players(_local(address))
                try:
                    pages.open(players)
                    when_served(address, resets)
                    while not (asked.is_set() or stop.is_set()):
                        asked.wait(_LOOK_SECONDS)
                finally:
                    pages.close()
                    players.close()
            if asked.is_set():
                ledger.reset()
                resets += 1


def reset_practice(settings: Settings) -> None:
    """Put the practice ledger of a directory back to its beginning, served or not.

    Raises ``PracticeError`` if there is none, or if the process that serves it does not answer.
    """
    directory = settings.data_directory
    if not directory.exists():
        raise PracticeError(f"there is no practice ledger in {directory}")
    claim_for_practice(directory)
    try:
        with _alone(directory), open_store(settings, practice=True) as store:
            ledger = PracticeLedger(settings, store.owner_conninfo)
            ledger.prepare()
            ledger.reset()
    except _ServedError:
        _ask_to_reset(directory)


class _ServedError(PracticeError):
    """Another process serves the practice ledger of a directory."""


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Be the one process that has the practice ledger. Raises ``_ServedError`` otherwise."""
    with (directory / "served.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _ServedError(
                f"another process serves the practice ledger in {directory}: end it first"
            ) from None
        try:
            yield
        finally:
            with suppress(FileNotFoundError):
                _address_file(directory).unlink()


def _address_file(directory: Path) -> Path:
    return directory / "served.json"


def _tell(console: Console, settings: Settings, url: str, resets: int) -> None:
    shown = settings.public_url or url
    told = {"url": _local(url), "pid": os.getpid(), "resets": resets}
    file = _address_file(settings.data_directory)
    file.with_suffix(".new").write_text(json.dumps(told))
    file.with_suffix(".new").replace(file)
    if resets:
        console.print("The practice was reset.")
        return
    console.print(
        f"The practice is served at [bold]{shown}[/]. Every person in it is invented.\n"
        f"Reset it there, or by `case-ledger practice --reset`. Stop it with Ctrl-C.",
        soft_wrap=True,
        highlight=False,
    )


def _local(url: str) -> str:
    """Return the address for this machine: one that is served to all has no address to ask."""
    return url.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")  # noqa: S104


def _ask_to_reset(directory: Path) -> None:
    file = _address_file(directory)
    try:
        before = json.loads(file.read_text())
        with bounded_client(seconds=_RESET_SECONDS) as http:
            http.post(
                f"{before['url']}/practice/reset",
                data={"sure": "yes"},
                headers={"Sec-Fetch-Site": "same-origin"},
            ).raise_for_status()
        deadline = time.monotonic() + _RESET_SECONDS
        while json.loads(file.read_text())["resets"] == before["resets"]:
            if time.monotonic() > deadline:
                raise TimeoutError
            time.sleep(_LOOK_SECONDS)
    except (OSError, ValueError, KeyError, httpx.HTTPError) as error:
        raise PracticeError(
            "the process that serves the practice is starting or does not answer: try again, or"
            f" end it and give the command again ({type(error).__name__})"
        ) from error
