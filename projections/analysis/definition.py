"""An analyst's view: a Python file with a fold, or a file of SQL; its name, version and hash.

The file runs with the rights of the analyst, on the analyst's own machine. No server loads one.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any, Protocol

from ledger.vocabulary import ALL_ACTIONS
from projections.analysis.events import Event

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}")
_HEADER = re.compile(r"^--\s*(name|version):\s*(\S+)\s*$", re.MULTILINE)

# What gives another answer each time it is asked, or on each machine.
_MODULES = frozenset(
    (
        *("asyncio", "ctypes", "http", "multiprocessing", "os", "platform", "random", "requests"),
        *("secrets", "socket", "subprocess", "tempfile", "threading", "time", "urllib"),
    )
)
_CALLS = frozenset(
    (
        *("now", "utcnow", "today", "uuid1", "uuid4", "urandom", "getenv"),
        *("input", "open", "id", "hash"),
    )
)


class ViewError(ValueError):
    """A view is refused; the message says what is wrong with it."""


class AnalystView(Protocol):
    """A pure fold. ``name`` and ``version`` are declared by the class."""

    name: str
    version: int

    def initial(self) -> Any:
        """Return the state before the first event, made of plain values that can be kept."""

    def fold(self, state: Any, event: Event) -> Any:
        """Return the state after one more event.

        The fold must not change the event. It may change the state.
        """

    def rows(self, state: Any) -> Iterable[Mapping[str, Any]]:
        """Return the view's table as one mapping for each row, in an order of the view's own."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A view as it is declared, and as it is written."""

    path: Path
    name: str
    version: int
    sha256: str
    """Of the file. What it imports is not in it: a view is one file."""
    text: str

    @property
    def is_sql(self) -> bool:
        return self.path.suffix == ".sql"


@dataclass(frozen=True, slots=True)
class LoadedView:
    """A view of a Python file, which can be made anew as often as needed."""

    definition: Definition
    make: Callable[[], AnalystView]
    kinds: Collection[str] | None
    """The kinds that its fold asks for; ``None`` for all."""


def read_definition(path: Path) -> Definition:
    """Read a view's definition; a Python file is run for this.

    Raises ``ViewError`` if the file does not define a view.
    """
    return _read_sql(path) if path.suffix == ".sql" else load(path).definition


def load(path: Path) -> LoadedView:
    """Load a Python file, and check that no fold uses anything but its events.

    Raises ``ViewError`` if one does, or if the file does not define a view.
    """
    content = _read(path)
    try:
        tree = ast.parse(content, str(path))
    except SyntaxError as error:
        raise ViewError(f"{path}: line {error.lineno}: {error.msg}") from error
    for line, what in _impure(tree):
        raise ViewError(f"{path}: line {line}: {what}; a view depends on its events alone")
    made = _new(path, content)
    definition = Definition(path, made.name, made.version, _hash(content), content.decode())
    kinds = getattr(made, "kinds", None)
    _check_kinds(path, kinds)
    return LoadedView(definition, lambda: _new(path, content), kinds)


def check(view: Any, where: object) -> AnalystView:
    """Check that a view declares a valid name and version, and return the view.

    Raises ``ViewError`` if it does not.
    """
    name, version = getattr(view, "name", None), getattr(view, "version", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ViewError(f"{where}: its name must be of small letters, digits and _")
    if type(version) is not int or version < 1:
        raise ViewError(f"{where}: its version must be 1 or more")
    checked: AnalystView = view
    return checked


def _check_kinds(where: object, kinds: Collection[str] | None) -> None:
    if kinds is not None and (unknown := set(kinds) - ALL_ACTIONS.keys()):
        raise ViewError(f"{where}: there is no action {', '.join(sorted(unknown))}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ViewError(f"{path} cannot be read") from error


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_sql(path: Path) -> Definition:
    content = _read(path)
    text = content.decode()
    said = dict(_HEADER.findall(text))
    name, version = said.get("name", ""), said.get("version", "")
    if not _NAME.fullmatch(name) or not version.isdecimal() or int(version) < 1:
        raise ViewError(f"{path}: begin it with the lines `-- name: NAME` and `-- version: NUMBER`")
    return Definition(path, name, int(version), _hash(content), text)


class _Loader(SourceFileLoader):
    """Runs exactly the bytes that were read, and writes no compiled file beside them."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        made: CodeType = self.source_to_code(self._content, self.path)
        return made


def _new(path: Path, content: bytes) -> AnalystView:
    """Run the file in a module of its own, and make its one view."""
    name = f"analysts_view_{path.stem}"
    spec = spec_from_loader(name, _Loader(name, str(path), content))
    if spec is None or spec.loader is None:
        raise ViewError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = [c for c in vars(module).values() if _is_view(c) and c.__module__ == name]
        if len(found) != 1:
            raise ViewError(
                f"{path}: a view is one class with `initial`, `fold` and `rows`; "
                f"there {'are ' + str(len(found)) if found else 'is none'}"
            )
        made = found[0]()
    except ViewError:
        raise
    except Exception as error:
        raise ViewError(f"{path}: it fails when it is loaded: {_told(error)}") from error
    return check(made, path)


def _is_view(found: Any) -> bool:
    return isinstance(found, type) and all(
        callable(getattr(found, name, None)) for name in ("initial", "fold", "rows")
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _impure(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    if alias.name.split(".")[0] in _MODULES:
                        yield node.lineno, f"it imports {alias.name}"
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in _MODULES:
                yield node.lineno, f"it imports {module}"
            case ast.ImportFrom(names=names):
                for alias in names:
                    if alias.name in _CALLS:
                        yield node.lineno, f"it imports {alias.name}"
            case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)) if (
                called in _CALLS
            ):
                yield node.lineno, f"it calls {called}()"
