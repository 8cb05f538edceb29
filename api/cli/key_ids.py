"""A command that takes a key's id, which may begin with a hyphen as an option does."""

import re
from typing import Any

from typer.core import TyperCommand

_LIKE_AN_OPTION = re.compile(r"-[A-Za-z0-9_-]{42}")
"""A SHA-256 thumbprint in base64url (RFC 7638) that begins with a hyphen, as one in 64 does."""


class TakesKeyId(TyperCommand):
    """A command whose only argument is a key's id."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse ``args``. A key's id stays a value, whatever its first character is."""
        return super().parse_args(ctx, id_last(args))


def id_last(args: list[str]) -> list[str]:
    """Return ``args`` with an id that looks like an option after ``--``, where it is a value."""
    if "--" in args:
        return args
    ids = [arg for arg in args if _LIKE_AN_OPTION.fullmatch(arg)]
    if not ids:
        return args
    return [arg for arg in args if arg not in ids] + ["--", *ids]
