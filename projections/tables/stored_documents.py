"""Reads the documents of views' rows; one that is malformed hides no other."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)
_log = structlog.get_logger(__name__)


class DamagedViewError(RuntimeError):
    """The one row that was asked for is malformed: somebody changed it in the database."""


class StoredDocuments:
    """Validates documents, and remembers in which views malformed ones were met."""

    def __init__(self) -> None:
        self._met: dict[str, float] = {}

    def read(
        self,
        model: type[Model],
        view: str,
        rows: Iterable[Mapping[str, Any]],
        is_of_row: Callable[[Model, Mapping[str, Any]], bool] = lambda _document, _row: True,
    ) -> list[Model]:
        """Return the documents of ``rows`` that are as the view writes them, in order.

        ``is_of_row`` says whether a document belongs to its row.
        """
        found = []
        for row in rows:
            try:
                document = model.model_validate(row["document"])
                if not is_of_row(document, row):
                    raise ValueError("the document is another row's")
            except ValueError:
                self._met[view] = time.monotonic()
                _log.error("a row of a view is malformed", view=view)
            else:
                found.append(document)
        return found

    def read_one(
        self, model: type[Model], view: str, rows: Iterable[Mapping[str, Any]]
    ) -> Model | None:
        """Return the only document; ``None`` for no row. Raises ``DamagedViewError``."""
        some = list(rows)
        found = self.read(model, view, some)
        if some and not found:
            raise DamagedViewError(view)
        return found[0] if found else None

    def met_within(self, seconds: float) -> list[str]:
        """Return the views in which a malformed row was met in the last ``seconds``."""
        since = time.monotonic() - seconds
        return sorted(view for view, at in self._met.items() if at >= since)
