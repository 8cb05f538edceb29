"""The class of an analyst's view, and how a file's text becomes one.

The text is run only where a view folds: in a locked process. Listing a view does not run it.
"""

from collections.abc import Callable, Iterable, Mapping
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import CodeType
from typing import Any, Protocol

from projections.analysis.event import Event

METHODS = ("initial", "fold", "rows")


class ViewError(ValueError):
    """A view is refused; the message says what is wrong with it."""


class NotDeterministicError(ViewError):
    """A view gives other results in another run."""


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


Maker = Callable[[], AnalystView]
"""Makes a view that remembers nothing of an earlier one."""


def line_of(path: str, error: BaseException) -> int | None:
    """Return the line of a view's file at which an error arose, if it arose there."""
    line, at = None, error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == path:
            line = at.tb_lineno
        at = at.tb_next
    return line


def made(path: Path, content: bytes) -> AnalystView:
    """Run a file's text in a module of its own, and make its one view.

    Raises ``ViewError`` if the text fails, or does not have one view.
    """
    name = f"analysts_view_{path.stem}"
    spec = spec_from_loader(name, _Loader(name, str(path), content))
    if spec is None or spec.loader is None:
        raise ViewError(f"{path} cannot be loaded")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        found = [c for c in vars(module).values() if _is_view(c) and c.__module__ == name]
        if len(found) != 1:
            raise ViewError(not_one(path, len(found)))
        view: AnalystView = found[0]()
    except ViewError:
        raise
    except Exception as error:
        line = line_of(str(path), error)
        at = f"{path}: " if line is None else f"{path}: line {line}: "
        why = f"{type(error).__name__}: {error}"
        raise ViewError(f"{at}it fails when it is loaded: {why}") from error
    return view


def not_one(path: Path, count: int) -> str:
    """Return what is wrong with a file that has no view, or several."""
    return (
        f"{path}: a view is one class with `initial`, `fold` and `rows`; "
        f"there {f'are {count}' if count else 'is none'}"
    )


class _Loader(SourceFileLoader):
    """Runs exactly the bytes that were read, and writes no compiled file beside them."""

    def __init__(self, name: str, path: str, content: bytes) -> None:
        super().__init__(name, path)
        self._content = content

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002
        code: CodeType = self.source_to_code(self._content, self.path)
        return code


def _is_view(found: Any) -> bool:
    return isinstance(found, type) and all(callable(getattr(found, m, None)) for m in METHODS)
