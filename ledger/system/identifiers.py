"""New ids for what is made here.

They are UUIDs of version 7 (RFC 9562, section 5.7): the time of making, in milliseconds, and 74
random bits. So new ids lie at the end of an index, which stays in memory while a ledger grows
beyond it. A reader takes ids of every version, and nothing may rest on the time in an id: whoever
makes it chooses it. An id that must not tell when it was made, such as a member's pseudonym, is a
``uuid4``.
"""

from uuid import UUID

from uuid6 import uuid7


def new_id() -> UUID:
    """Return a new id, which lies after those that this process made before."""
    return UUID(int=uuid7().int)
