"""Folds events by an analyst's view, and reports the fault of a view that fails."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

from projections.analysis.event import Event
from projections.analysis.plain import NotPlainError, decode, encode
from projections.analysis.view_class import Maker, ViewError, line_of

Encoded = Any
"""A state, or rows, in the form in which they are kept and compared: JSON."""

UsedRows = Mapping[str, Sequence[Mapping[str, Any]]]
"""The rows of the views that a view uses, by the views' names."""

_PARTS = 5


class Fold:
    """The fold of events that come one after another."""

    def __init__(
        self, make: Maker, kept: Encoded | None, path: str = "", used: UsedRows | None = None
    ) -> None:
        """Begin with the view's own state, or with a state that was kept.

        ``used`` has the rows of other views, if the view declares any. Raises ``ViewError`` if the
        view cannot begin.
        """
        self._make, self._path, self._used = make, path, used
        self._view = make()
        self._state = self._begun() if kept is None else decode(kept)

    def take(self, events: Iterable[Event]) -> None:
        """Fold events. Raises ``ViewError`` if the view's fold fails at one."""
        fold, state = self._view.fold, self._state
        for event in events:
            try:
                state = fold(state, event)
            except Exception as error:
                raise ViewError(self._what_failed(event, error)) from error
        self._state = state

    def pause(self) -> None:
        """Keep the state, and go on with a new view that knows nothing but the state.

        Raises ``ViewError`` if the state cannot be kept.
        """
        kept = self.state()
        self._view, self._state = self._make(), decode(kept)

    def state(self) -> Encoded:
        """Return the state. Raises ``ViewError`` if a value in it is not plain."""
        return self._encoded(self._state, "state")

    def rows(self) -> Encoded:
        """Return the view's rows. Raises ``ViewError`` if the view fails to make them."""
        return ["list", *self.each_row()]

    def each_row(self) -> Iterator[Encoded]:
        """Yield the view's rows. Raises ``ViewError`` if the view fails to make them."""
        make: Any = self._view.rows
        words = (self._state,) if self._used is None else (self._state, self._used)
        try:
            for number, row in enumerate(make(*words)):
                yield encode(dict(row), f"rows[{number}]")
        except NotPlainError as error:
            raise ViewError(f"{self._view.name}: {error}") from error
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            at = self._at(error)
            raise ViewError(f"{self._view.name}: {at}its rows fail: {why}") from error

    def _begun(self) -> Any:
        try:
            return self._view.initial()
        except Exception as error:
            why = f"{self._at(error)}it fails to begin: {error}"
            raise ViewError(f"{self._view.name}: {why}") from error

    def _encoded(self, value: Any, what: str) -> Encoded:
        try:
            return encode(value, what)
        except NotPlainError as error:
            raise ViewError(f"{self._view.name}: {error}") from error

    def _what_failed(self, event: Event, error: Exception) -> str:
        at = (
            f"{self._view.name}: {self._at(error)}its fold fails at position {event.position} "
            f"({event.kind})"
        )
        if isinstance(error, FrozenInstanceError) or "mappingproxy" in str(error):
            return f"{at}: it changes the event, which is not its own; copy what you need"
        return f"{at}: {type(error).__name__}: {error}"

    def _at(self, error: Exception) -> str:
        line = line_of(self._path, error) if self._path else None
        return "" if line is None else f"line {line}: "


def stops(after: int, upto: int) -> Sequence[int]:
    """Return the positions at which a run in parts keeps its state.

    The first stop comes after one event. The others divide the run into equal parts.
    """
    length = upto - after
    chosen = {after + 1, *(after + length * part // _PARTS for part in range(1, _PARTS + 1))}
    return sorted(stop for stop in chosen if after < stop <= upto) or [upto]
