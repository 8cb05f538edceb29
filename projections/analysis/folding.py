"""Folds a range of events by an analyst's view, and reports the fault of a view that fails."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import FrozenInstanceError
from typing import Any

from projections.analysis.definition import AnalystView, LoadedView, ViewError
from projections.analysis.events import Event, Events
from projections.analysis.plain import NotPlainError, decode, encode

Progress = Callable[[int], None]
"""Told the position that is folded."""
_OFTEN = 1_000


def fold(
    view: AnalystView, state: Any, events: Iterable[Event], progress: Progress = lambda _: None
) -> Any:
    """Return the state after ``events``.

    Raises ``ViewError`` if the view's fold fails at an event.
    """
    for number, event in enumerate(events):
        try:
            state = view.fold(state, event)
        except Exception as error:
            raise ViewError(_what_failed(view, event, error)) from error
        if number % _OFTEN == 0:
            progress(event.position)
    return state


def rows(view: AnalystView, state: Any) -> list[dict[str, Any]]:
    """Return the view's rows.

    Raises ``ViewError`` if the view fails to make them.
    """
    try:
        return [dict(row) for row in view.rows(state)]
    except Exception as error:
        raise ViewError(f"{view.name}: its rows fail: {type(error).__name__}: {error}") from error


def initial(view: AnalystView) -> Any:
    """Return the view's state before the first event.

    Raises ``ViewError`` if the view fails to make it.
    """
    try:
        return view.initial()
    except Exception as error:
        raise ViewError(f"{view.name}: it fails to begin: {error}") from error


def encoded(view: AnalystView, state: Any, what: str = "state") -> Any:
    """Encode a state, or rows, in the form in which they are kept and compared.

    Raises ``ViewError`` if a value is not plain.
    """
    try:
        return encode(state, what)
    except NotPlainError as error:
        raise ViewError(f"{view.name}: {error}") from error


def fold_in_parts(
    loaded: LoadedView, events: Events, after: int, stops: Sequence[int], kept: Any | None
) -> tuple[Any, Any]:
    """Fold up to the last of ``stops``, keeping the state at each and going on with a new view.

    ``kept`` is the encoded state at ``after``, if there is one. Returns the encoded state and
    the encoded rows: the same as of one pass, if nothing but the state is remembered.
    """
    for stop in stops:
        view = loaded.make()
        state = initial(view) if kept is None else decode(kept)
        state = fold(view, state, events.read(after, stop, loaded.kinds))
        kept, after = encoded(view, state), stop
    view = loaded.make()
    state = initial(view) if kept is None else decode(kept)
    return encoded(view, state), encoded(view, rows(view, state), "rows")


def _what_failed(view: AnalystView, event: Event, error: Exception) -> str:
    at = f"{view.name}: its fold fails at position {event.position} ({event.kind})"
    if isinstance(error, FrozenInstanceError) or "mappingproxy" in str(error):
        return f"{at}: it changes the event, which is not its own; copy what you need"
    return f"{at}: {type(error).__name__}: {error}"
