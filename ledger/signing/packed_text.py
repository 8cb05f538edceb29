"""The text of a protocol in a signed act: deflated where it is long.

An entry of the log has at most 65,535 bytes, which the format of its tiles sets. A text is signed
whole. As JSON in base64 a long one would not fit; its words are repetitive, so that deflated
(RFC 1951) it takes a sixth. Readers have the whole text in the field, however it was signed.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from typing import Any

TEXTS: Mapping[str, str] = {"protocol_adopted": "protocol", "amendment_proposed": "protocol"}
"""The field of each kind of act that has a text of the protocol."""
_DEFLATED = "deflated"
"""The one member of a text that is packed: base64url without padding."""
_PLAIN_BYTES = 24_576
"""A text of so many bytes is signed as it is."""
_MOST_BYTES = 1_048_576
"""No text inflates to more."""
_RAW = -15
"""The window size that stands for a stream without the header of zlib."""


def packed(kind: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an act as they are signed."""
    name = TEXTS.get(kind)
    if name is None or not isinstance(fields.get(name), dict):
        return dict(fields)
    text = json.dumps(fields[name], separators=(",", ":"), ensure_ascii=False).encode()
    if len(text) <= _PLAIN_BYTES:
        return dict(fields)
    deflating = zlib.compressobj(9, zlib.DEFLATED, _RAW)
    content = deflating.compress(text) + deflating.flush()
    encoded = base64.urlsafe_b64encode(content).decode("ascii").rstrip("=")
    return {**fields, name: {_DEFLATED: encoded}}


def unpacked(kind: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a signed act with its text whole.

    Raises ``ValueError`` if a packed text is none.
    """
    name = TEXTS.get(kind)
    text = fields.get(name) if name is not None else None
    if name is None or not isinstance(text, dict) or text.keys() != {_DEFLATED}:
        return fields
    return {**fields, name: _inflated(text[_DEFLATED])}


def _inflated(encoded: object) -> dict[str, Any]:
    if not isinstance(encoded, str):
        raise ValueError("a packed text is no text")
    try:
        content = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
        inflating = zlib.decompressobj(_RAW)
        text = inflating.decompress(content, _MOST_BYTES)
    except (ValueError, zlib.error):
        raise ValueError("a packed text does not inflate") from None
    if not inflating.eof or inflating.unused_data:
        raise ValueError("a packed text has another length than it may have")
    found = json.loads(text.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_refuse)
    if not isinstance(found, dict):
        raise ValueError("a packed text is no JSON object")
    return found


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a packed text repeats a name")
    return found


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
