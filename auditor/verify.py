#!/usr/bin/env python3
"""Verifies an export or a receipt of the ledger, apart from all of its other code.

    python verify.py export  DIRECTORY  POLICY
    python verify.py receipt FILE       POLICY

Needs Python 3.11 and `cryptography`. It is meant to be read in one sitting. It checks that

1. the checkpoint is signed by the policy's log, and cosigned by the policy's witnesses, each
   of which vouches that the ledger it saw only ever grew (C2SP signed-note, tlog-cosignature);
2. the events are exactly those of which the checkpoint is the root (RFC 6962);
3. for an export, each event is signed by a key that an earlier event registered for its agency.

It does not replay the procedure's rules; `case-ledger verify` does.
"""

import base64
import hashlib
import json
import re
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Failed(Exception):
    """Something does not hold."""


def need(condition: bool, what: str) -> None:
    if not condition:
        raise Failed(what)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


# --- Whom to believe (C2SP tlog-policy) and what they signed (signed-note) ---


class Key:
    """NAME+ID+BASE64(type, public key). Type 1 signs; type 4 cosigns with a time."""

    def __init__(self, vkey: str) -> None:
        self.name, key_id, material = vkey.split("+", 2)
        content = base64.b64decode(material)
        self.type, self.public = content[0], content[1:]
        self.id = sha256(self.name.encode(), b"\n", content)[:4]
        need(self.id.hex() == key_id, f"the key of {self.name} has another id")

    def signed(self, note: str) -> bool:
        """Whether a note carries this key's signature, and it verifies."""
        text, _, lines = note.rpartition("\n\n")
        text += "\n"
        for line in lines.splitlines():
            _, name, encoded = line.split(" ")
            content = base64.b64decode(encoded)
            if (name, content[:4]) != (self.name, self.id):
                continue
            if self.type == 1:
                return verifies(self.public, content[4:], text.encode())
            seconds = int.from_bytes(content[4:12], "big")
            message = f"cosignature/v1\ntime {seconds}\n{text}"
            return verifies(self.public, content[12:], message.encode())
        return False


def checked(note: str, policy: str) -> tuple[int, bytes, list[str]]:
    """Size and root of a checkpoint, and who cosigned it, if the policy is met."""
    logs, witnesses, groups, quorum = [], {}, {}, None
    for words in (line.split() for line in policy.splitlines()):
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "log":
            logs.append(Key(words[1]))
        elif words[0] == "witness":
            witnesses[words[1]] = Key(words[2])
        elif words[0] == "group":
            members = words[3:]
            threshold = {"all": len(members), "any": 1}.get(words[2]) or int(words[2])
            groups[words[1]] = (threshold, members)
        elif words[0] == "quorum":
            quorum = words[1]
    origin, size, root = note.split("\n")[:3]
    need(any(k.name == origin and k.signed(note) for k in logs), "the log did not sign it")
    cosigned = [name for name, key in witnesses.items() if key.signed(note)]

    def met(name: str) -> bool:
        if name in groups:
            return sum(map(met, groups[name][1])) >= groups[name][0]
        return name in cosigned

    need(quorum is not None, "the policy has no quorum")
    need(quorum == "none" or met(str(quorum)), f"only {cosigned} cosigned it: no quorum")
    return int(size), base64.b64decode(root), cosigned


# --- The tree (RFC 6962) ---


def root_of(leaves: list[bytes]) -> bytes:
    """The root, by the definition."""
    if len(leaves) == 1:
        return leaves[0]
    middle = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01", root_of(leaves[:middle]), root_of(leaves[middle:]))


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that a path leads to (RFC 9162 section 2.1.3.2)."""
    last, made = size - 1, leaf
    for sibling in path:
        need(last > 0, "the path is too long")
        if index & 1 or index == last:
            made = sha256(b"\x01", sibling, made)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            made = sha256(b"\x01", made, sibling)
        index, last = index >> 1, last >> 1
    need(last == 0, "the path is too short")
    return made


# --- The events ---


def entries_of(directory: Path, size: int) -> list[bytes]:
    """Every event's bytes, from the bundles (C2SP tlog-tiles)."""
    entries: list[bytes] = []
    for index in range(-(-size // 256)):
        groups = [f"{index % 1000:03}"]
        while index := index // 1000:
            groups.insert(0, f"x{index % 1000:03}")
        width = min(256, size - len(entries))
        name = "/".join(groups) + ("" if width == 256 else f".p/{width}")
        content = (directory / "tile" / "entries" / name).read_bytes()
        at = 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 2], "big")
            entries.append(content[at + 2 : at + 2 + length])
            at += 2 + length
    need(len(entries) == size, f"there are {len(entries)} events, not {size}")
    return entries


def check_signatures(entries: list[bytes]) -> list[str]:
    """Each event's signature, by a key that was registered for its agency before.

    Returns what is to be said of events that hold. By edition 1 of the rules, a node whose clock
    was behind the ledger's last time took a revoked key, and stored that time once more.
    """
    keys: dict[str, tuple[str, bytes]] = {}
    revoked: set[str] = set()
    marks: list[str] = []
    edition, last_time = 1, None
    for position, entry in enumerate(entries, 1):
        event = json.loads(entry)
        stood_still, last_time = event["recorded_at"] == last_time, event["recorded_at"]
        header, payload, signature = event["sd_jwt"].rstrip("~").split(".")
        claims = json.loads(unbase64url(payload))
        kid, act = json.loads(unbase64url(header))["kid"], claims["act"]
        grants = act.get("keys", []) if claims["kind"] == "protocol_adopted" else []
        need(not grants or position == 1, f"position {position}: a second adoption")
        for grant in grants:
            keys[thumbprint(grant["key"]["x"])] = grant["agency"], unbase64url(grant["key"]["x"])
        agency, public = keys.get(kid, ("", b""))
        message = f"{header}.{payload}".encode()
        need(agency == claims["iss"], f"position {position}: no key of {claims['iss']}")
        if kid in revoked and edition == 1 and stood_still:
            marks.append(f"position {position}: recorded after its key was revoked (edition 1)")
        else:
            need(kid not in revoked, f"position {position}: its key was revoked")
        need(
            verifies(public, unbase64url(signature), message),
            f"position {position}: the signature does not verify",
        )
        if claims["kind"] == "protocol_adopted":
            edition = act["protocol"].get("edition", 1)
        elif claims["kind"] == "key_registered":
            key = act["grant"]["key"]["x"]
            keys[thumbprint(key)] = act["grant"]["agency"], unbase64url(key)
        elif claims["kind"] in ("key_revoked", "key_compromised"):
            revoked.add(act["key_id"])
    return marks


def thumbprint(x: str) -> str:
    """A key's name (RFC 7638)."""
    digest = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode())
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def verify_export(directory: Path, policy: str) -> str:
    note = (directory / "checkpoint").read_text(encoding="utf-8")
    size, root, cosigned = checked(note, policy)
    entries = entries_of(directory, size)
    leaves = [sha256(b"\x00", entry) for entry in entries]
    need(root_of(leaves) == root, "the events are not those of the checkpoint")
    marks = "".join(f"\nmarked: {mark}" for mark in check_signatures(entries))
    return f"the export holds: {size} events, cosigned by {', '.join(cosigned)}{marks}"


def verify_receipt(file: Path, policy: str) -> str:
    head, _, note = file.read_text(encoding="utf-8").partition("\n\n")
    first, extra, index, *path = head.split("\n")
    need(first == "c2sp.org/tlog-proof@v1", "this is no receipt")
    entry = base64.b64decode(extra.removeprefix("extra "))
    number = int(re.fullmatch(r"index (\d+)", index)[1])  # type: ignore[index]
    size, root, cosigned = checked(note, policy)
    need(number < size, "the event is not in the checkpoint's tree")
    leaf = sha256(b"\x00", entry)
    made = root_by_path(leaf, number, size, [base64.b64decode(step) for step in path])
    need(made == root, "the path leads to another root")
    return f"the receipt holds: position {number + 1} of {size}, cosigned by {', '.join(cosigned)}"


def main() -> int:
    what, path, policy_file = sys.argv[1:]
    policy = Path(policy_file).read_text(encoding="utf-8")
    verify = {"export": verify_export, "receipt": verify_receipt}[what]
    try:
        print(verify(Path(path), policy))
    except (Failed, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        print(f"does not hold: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
