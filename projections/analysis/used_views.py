"""The views that a view uses, in the order in which one run makes their rows."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from projections.analysis.definition import Definition, read_definition
from projections.analysis.view_class import ViewError
from projections.columnar.duckdb_tables import is_taken

_MOST = 50


def with_used(path: Path) -> Sequence[Definition]:
    """Return a view's definition as the last one, after those of the views that it uses.

    Each view is there once, after all that it uses. The hash of a view that uses others is of
    their texts too, so a kept result does not outlive a change of any of them. No file is run.
    Raises ``ViewError`` if views use each other in a circle, or if one is no view.
    """
    made: dict[Path, Definition] = {}
    _add(path, (), made)
    names: dict[str, Path] = {}
    for definition in made.values():
        other = names.setdefault(definition.name, definition.path)
        if other != definition.path:
            raise ViewError(
                f"{path}: both {other.name} and {definition.path.name} are named "
                f"{definition.name}; use one of them"
            )
    own = [*made.values()][-1]
    for used in made.values():
        if used is not own and is_taken(used.name):
            raise ViewError(
                f"{used.path}: a view that others use cannot be named {used.name}, as a table of "
                "the ledger is"
            )
    return list(made.values())


def _add(path: Path, users: tuple[Path, ...], made: dict[Path, Definition]) -> None:
    if path in users:
        circle = [one.name for one in (*users[users.index(path) :], path)]
        raise ViewError(f"{users[0]}: views use each other in a circle: {' → '.join(circle)}")
    if path in made:
        return
    if len(made) + len(users) >= _MOST:
        raise ViewError(f"{users[0]}: it uses more than {_MOST} views")
    try:
        definition = read_definition(path)
    except ViewError as error:
        if not users:
            raise
        raise ViewError(f"{users[-1].name} uses {path.name}: {error}") from error
    for name in definition.uses:
        _add(path.with_name(name), (*users, path), made)
    if definition.uses:
        hashed = hashlib.sha256(definition.sha256.encode())
        for name in definition.uses:
            hashed.update(made[path.with_name(name)].sha256.encode())
        definition = replace(definition, sha256=hashed.hexdigest())
    made[path] = definition
