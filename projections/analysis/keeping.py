"""The kept results of a view beside its file: state and rows at a position, and the live ones.

Another definition, by its version or by its text, is folded from the first event into files of its
own, while the old files stay; then one pointer moves.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import Annotated, Any, Literal

from pyarrow import parquet  # type: ignore[import-untyped]
from pydantic import Field, ValidationError

from ledger.system.fsync import sync_directory
from ledger.vocabulary.action import LedgerModel
from projections.analysis.definition import Definition
from projections.analysis.view_class import ViewError
from projections.columnar.manifest import Sha256, write_durably

_LIVE = "live.json"


class KeptView(LedgerModel):
    """A view as it is kept."""

    format: Literal[1] = 1
    name: str
    version: Annotated[int, Field(ge=1)]
    definition: Sha256
    ledger_id: str
    position: int
    root: str | None
    """The Merkle root of the events that were folded, where it is known."""
    state: str | None
    """The file of the state; a view in SQL has none."""
    rows: str
    """The file of the rows."""
    engine: Literal["duckdb", "spark"] | None = None
    """The engine that ran a view in SQL; results of earlier programs do not say."""


class Keeper:
    """The kept files of one view over one ledger."""

    def __init__(self, definition: Definition, ledger_id: str) -> None:
        self._definition = definition
        self.directory = kept_directory(definition.path) / ledger_id

    def live(self) -> KeptView | None:
        """Return the kept view that is live, whichever definition made it."""
        return _read(self.directory / _LIVE)

    def is_of_this_definition(self, kept: KeptView) -> bool:
        """Return whether the current definition of the view made the kept view."""
        now = self._definition
        return (kept.version, kept.definition) == (now.version, now.sha256)

    def is_beyond(self, position: int) -> bool:
        """Return whether this view is kept at a later position.

        A result at an earlier position does not replace a later one.
        """
        kept = self.live()
        return kept is not None and self.is_of_this_definition(kept) and kept.position > position

    def state(self, kept: KeptView) -> Any:
        """Return the encoded state of a kept view, or ``None`` if the view has none."""
        if kept.state is None:
            return None
        return json.loads((self.directory / kept.state).read_text(encoding="utf-8"))

    def rows(self, kept: KeptView) -> Any:
        """Return the rows of a kept view as a table."""
        return parquet.read_table(self.directory / kept.rows)

    def keep(
        self,
        position: int,
        root: str | None,
        state: Any | None,
        table: Any,
        engine: Literal["duckdb", "spark"] | None = None,
    ) -> KeptView:
        """Write the state and the rows, make them live, and remove the other files."""
        definition = self._definition
        stem = f"v{definition.version}-{definition.sha256[:12]}-{position}"
        if state is not None:
            content = json.dumps(state, ensure_ascii=False).encode()
            write_durably(self.directory / f"{stem}.state.json", content)
        unfinished = self.directory / f".{stem}.rows.writing"
        parquet.write_table(table, unfinished)
        unfinished.replace(self.directory / f"{stem}.parquet")
        sync_directory(self.directory)
        kept = KeptView(
            name=definition.name,
            version=definition.version,
            definition=definition.sha256,
            ledger_id=self.directory.name,
            position=position,
            root=root,
            state=f"{stem}.state.json" if state is not None else None,
            rows=f"{stem}.parquet",
            engine=engine,
        )
        write_durably(self.directory / _LIVE, kept.model_dump_json(indent=1).encode())
        for path in self.directory.iterdir():
            if path.name not in (_LIVE, ".lock", kept.state, kept.rows):
                path.unlink()
        return kept

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lock this view, so that no other run keeps it until the block ends.

        Raises ``ViewError`` if another run holds the lock.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / ".lock").open("w") as file:
            try:
                flock(file, LOCK_EX | LOCK_NB)
            except OSError as error:
                raise ViewError(f"{self._definition.name} is being run already") from error
            yield


def kept_directory(path: Path) -> Path:
    """Return the directory of the kept results of a view's file."""
    return path.with_name(f"{path.name}.kept")


def kept_views(path: Path) -> list[KeptView]:
    """Return the live kept view of a view's file, for each ledger."""
    found = (_read(live) for live in sorted(kept_directory(path).glob(f"*/{_LIVE}")))
    return [kept for kept in found if kept is not None]


def _read(path: Path) -> KeptView | None:
    try:
        return KeptView.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ViewError(f"{path} was not written by this program; remove its directory") from error
