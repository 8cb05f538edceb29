"""Old events as today's code reads them: the schema of an action may change, its bytes never do.

An action says in its signed claims which version of its kind's schema it follows; without a word
it is the first. Whoever reads an event brings its ``ledger`` fields from that version to today's
by pure functions, one for each step. Nothing stored is changed, and the signature stays that of
the old bytes.

``case`` and ``personal`` fields are not touched: a vault knows them by the names and digests of
their time. A later version may add such fields, and gives none of the old ones another meaning.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]


class UnknownVersionError(ValueError):
    """An event follows a later version of its kind's schema than this program knows."""


@dataclass(frozen=True, slots=True)
class Upcaster:
    """One step of one kind's schema, from ``from_version`` to the next."""

    kind: str
    from_version: int
    change: Callable[[Fields], dict[str, Any]]
    """Makes new fields of the old ones, which it leaves as they are."""
    digests: int
    """How many digests an action of the old version carries."""


class Upcasters:
    """The steps of every kind whose schema has changed, by kind and version."""

    def __init__(self, *steps: Upcaster) -> None:
        """Raises ``ValueError`` where a kind's steps do not follow one another from the first."""
        self._steps: dict[str, list[Upcaster]] = {}
        for step in sorted(steps, key=lambda step: (step.kind, step.from_version)):
            of_kind = self._steps.setdefault(step.kind, [])
            if step.from_version != len(of_kind) + 1:
                raise ValueError(f"{step.kind} has no step from version {len(of_kind) + 1}")
            of_kind.append(step)

    def version(self, kind: str) -> int:
        """The version that actions of ``kind`` are signed in today."""
        return len(self._steps.get(kind, ())) + 1

    def digests(self, kind: str, version: int) -> int | None:
        """How many digests an older version has; ``None`` for today's, which its model tells."""
        of_kind = self._steps.get(kind, ())
        return of_kind[version - 1].digests if version <= len(of_kind) else None

    def upcast(self, kind: str, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """The ``ledger`` fields in today's version. Raises ``UnknownVersionError``."""
        of_kind = self._steps.get(kind, ())
        if not 1 <= version <= len(of_kind) + 1:
            raise UnknownVersionError(
                f"{kind} is of version {version}; this program knows {len(of_kind) + 1}"
            )
        for step in of_kind[version - 1 :]:
            fields = step.change(fields)
        return fields


UPCASTERS = Upcasters()
"""What every reader uses. Every kind is in its first version yet."""


def upcasters() -> Upcasters:
    """The steps in force."""
    return UPCASTERS
