"""The refusal of a content by its type."""


class RefusedTypeError(ValueError):
    """A content is of no accepted type, or of a kind that is refused. The message says why."""
