"""Machine names as plain English words."""

import re

_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")


def plain(name: str) -> str:
    """Return a name such as ``victim_identified`` or ``FollowUp`` as words for people."""
    if "_" in name or name.islower() or name.isupper():
        return name.replace("_", " ")
    return _HUMP.sub(" ", name).lower()
