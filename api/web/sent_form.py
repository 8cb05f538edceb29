"""The fields of a form that a browser sent in a body, so that no log has what was typed."""

from collections.abc import Mapping
from urllib.parse import parse_qs

from fastapi import Request

MAX_FORM_BYTES = 4_000
"""Of a form without a long text. A longer one is cut, and its last field with it."""


async def form_values(
    request: Request, most: int | None = MAX_FORM_BYTES
) -> Mapping[str, list[str]]:
    """Return the values of each field of a form that is not empty, in the order sent.

    ``most``: so many bytes are read, or all of a form that must not be cut.
    """
    return parse_qs((await request.body())[:most].decode("ascii", "replace"))
