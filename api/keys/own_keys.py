"""Keys that a person may sign with in a browser, by the session and the registry."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ledger.procedure.registry import RegisteredKey, Registry


def own_keys(
    registry: Registry, agency: str, key_id: str | None, member: UUID | None, now: datetime
) -> Sequence[str]:
    """Return the ids of the valid keys of the person who is signed in, the best one first.

    ``key_id`` is the key that the session began with, ``None`` for a session of a provider. The
    key of the session comes first, then those of the member. A provider's session may use the
    keys that are registered for no member too, because the registry does not name their holder.
    """

    def rank(key: RegisteredKey) -> int | None:
        if key.id == key_id:
            return 0
        if member is not None and key.member == member:
            return 1
        return 2 if key_id is None and key.member is None else None

    ranked = [
        (found, key.valid_from, key.id)
        for key in registry.keys.values()
        if key.agency == agency and key.valid_at(now) and (found := rank(key)) is not None
    ]
    return [kid for _, _, kid in sorted(ranked)]
