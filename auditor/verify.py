#!/usr/bin/env python3
"""Verify an export, a receipt or a decision of the ledger, with this file and Python 3.11 alone.

    python3 verify.py export   DIRECTORY [--policy FILE] [--held CHECKPOINT] [--show POSITION]
    python3 verify.py receipt  FILE       --policy FILE  [--policies FILE]
    python3 verify.py decision FILE       --export DIRECTORY [--policy FILE] [--policies FILE]

It is meant to be read in one sitting. It checks that

1. the checkpoint is signed by the log's key and cosigned by the witnesses, each of which vouches
   that the ledger that it saw only ever grew (C2SP signed-note, tlog-checkpoint, tlog-cosignature);
2. where the parties changed these keys since, the change is recorded: `policies.json` leads from
   the policy that you trust to the one that holds for the checkpoint's size;
3. the events and the hash tiles are exactly those of the checkpoint (RFC 6962, C2SP tlog-tiles),
   and every checkpoint that you kept (`--held`) is one of the same ledger;
4. for an export, each event is signed by a key that an earlier event registered for its agency;
5. each vote on these keys or on the protocol's text names a checkpoint of this very ledger: on a
   fork it counts for nothing.

It does not replay the procedure's rules; `case-ledger verify` does.

A decision is the file that a country's node kept: an action, and the signed receipt or refusal that
the ledger node gave for it. A receipt is false if the event at its position is another one. A
refusal is false if the action is recorded all the same among the events that the ledger had then,
or if the events contradict the reason: the key, the signature, the agency or its role, the version
of the case, the action's id, the checkpoint of a vote. Other reasons need the procedure's rules.

It ends with 0 where all holds, with 3 where something does not, with 1 where it cannot tell (a
file that you named cannot be read, an act on the protocol needs a later version of this script, or
the reason of a refusal needs the rules), and with 2 where it is called wrongly. It ends with 5
where the log's key signed a decision that is false, which is evidence against the ledger node, and
with 6 where the export has fewer events than the decision is about. If the Python package
`cryptography` is installed it is used, which is about fifty times faster.
"""

import argparse
import base64
import copy
import hashlib
import json
import re
import stat
import sys
import uuid
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
except ImportError:
    Ed25519PublicKey = None  # type: ignore[assignment,misc]

HOLDS, CANNOT_TELL, DOES_NOT_HOLD, IS_FALSE, NOT_COVERED = 0, 1, 3, 5, 6
TILE = 256
MAX_NOTE = 64 * 1024
MAX_BUNDLE = TILE * (2 + 65_535)
MAX_JSON = 64 * 1024 * 1024
COSIGNATURE = 4


class Failed(Exception):
    """Something does not hold."""


class Unreadable(Exception):
    """A file that was named cannot be read."""


class Evidence(Exception):
    """The log's key signed a decision that the events contradict."""


class NotCovered(Exception):
    """The export has fewer events than a decision is about."""


class Newer(Exception):
    """An act on the protocol needs a later version of this script: it may change keys."""

    def __init__(self, position: int) -> None:
        super().__init__(
            f"the event at position {position} needs a later version of this script: get it, and"
            " run it again. The events from there on are not judged"
        )
        self.position = position


def need(condition: object, what: str) -> None:
    if not condition:
        raise Failed(what)


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def unbase64(text: object, length: int | None = None) -> bytes:
    """RFC 4648 section 4, in its one form."""
    try:
        content = base64.b64decode(str(text), validate=True)
    except ValueError:
        raise Failed("something is not base64") from None
    need(base64.b64encode(content).decode() == text, "something is not canonical base64")
    need(length is None or len(content) == length, "a hash has another length than SHA-256")
    return content


def unbase64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def spoken(digest: bytes) -> str:
    """Return a fingerprint for the telephone: 40 decimal digits of a SHA-256, in groups of five."""
    digits = f"{int.from_bytes(digest, 'big') % 10**40:040}"
    return " ".join(digits[at : at + 5] for at in range(0, 40, 5))


def read(path: Path, limit: int) -> bytes:
    """Return a file's content; refuse a link, a device and a file that is too long."""
    try:
        found = path.lstat()
        need(stat.S_ISREG(found.st_mode), f"{path} is no ordinary file")
        need(found.st_size <= limit, f"{path} is longer than {limit} bytes")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise Failed(f"{path} cannot be read ({error.strerror})") from None
    need(len(content) <= limit, f"{path} is longer than {limit} bytes")
    return content


def read_text(path: Path, limit: int) -> str:
    try:
        return read(path, limit).decode("utf-8")
    except UnicodeDecodeError:
        raise Failed(f"{path} is not UTF-8") from None


def named(path: Path, limit: int) -> str:
    """Read a file that the caller named, and stop if it cannot be read."""
    try:
        return read_text(path, limit)
    except Failed as error:
        raise Unreadable(str(error)) from None


# --- Ed25519 (RFC 8032 section 5.1.7), for where the package `cryptography` is not installed ---

P = 2**255 - 19
Q = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int, int, int]


def plus(a: Point, b: Point) -> Point:
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def times(factor: int, point: Point) -> Point:
    made: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            made = plus(made, point)
        point, factor = plus(point, point), factor >> 1
    return made


def point_of(content: bytes) -> Point | None:
    """Section 5.1.3."""
    y = int.from_bytes(content, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= P:
        return None
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = point_of((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    if len(public) != 32 or len(signature) != 64:
        return False
    if Ed25519PublicKey is not None:
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True
    key, commitment = point_of(public), point_of(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or BASE is None or scalar >= Q:
        return False
    digest = hashlib.sha512(signature[:32] + public + message).digest()
    left = times(scalar, BASE)
    right = plus(commitment, times(int.from_bytes(digest, "little") % Q, key))
    crossed = left[0] * right[2] - right[0] * left[2], left[1] * right[2] - right[1] * left[2]
    return not any(number % P for number in crossed)


# --- Signed notes and checkpoints (C2SP signed-note, tlog-checkpoint) ---

SIGNATURE_LINE = re.compile(r"\N{EM DASH} ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


class Note(NamedTuple):
    """A checkpoint with its signature lines, none of which is verified yet."""

    text: str
    signatures: tuple[tuple[str, bytes], ...]
    origin: str
    size: int
    root: bytes


def note_of(content: str) -> Note:
    """Read a checkpoint exactly as the specifications have it."""
    need(not re.search(r"[\x00-\x09\x0b-\x1f]", content), "a checkpoint has a control character")
    text, blank, lines = content.rpartition("\n\n")
    need(blank and lines.endswith("\n"), "a checkpoint is a text, an empty line, and signatures")
    signatures = []
    for line in lines[:-1].split("\n"):
        found = SIGNATURE_LINE.fullmatch(line)
        need(found, "a checkpoint has a malformed signature line")
        signatures.append((found[1], unbase64(found[2])))  # type: ignore[index]
        need(len(signatures[-1][1]) > 4, "a checkpoint has a malformed signature line")
    body = text.split("\n")
    need(len(body) >= 3 and all(body), "a checkpoint has three lines: origin, size and root")
    need(NUMBER.fullmatch(body[1]), "a checkpoint's size is no decimal number")
    return Note(text + "\n", tuple(signatures), body[0], int(body[1]), unbase64(body[2], 32))


class Key:
    """NAME+ID+BASE64(type, public key). Type 1 signs; type 4 cosigns with a time."""

    def __init__(self, vkey: str) -> None:
        self.name, _, rest = vkey.partition("+")
        key_id, _, material = rest.partition("+")
        content = unbase64(material)
        need(len(content) == 33 and content[0] in (1, COSIGNATURE), f"{vkey} is no Ed25519 key")
        self.type, self.public = content[0], content[1:]
        self.id = sha256(self.name.encode(), b"\n", content)[:4]
        need(self.id.hex() == key_id, f"the key of {self.name} has another id")

    def signed(self, note: Note) -> bool:
        """Return whether a note has this key's signature; refuse one that does not verify."""
        found = False
        for name, content in note.signatures:
            if (name, content[:4]) != (self.name, self.id):
                continue
            message, signature = note.text, content[4:]
            if self.type == COSIGNATURE:
                seconds, signature = int.from_bytes(content[4:12], "big"), content[12:]
                message = f"cosignature/v1\ntime {seconds}\n{note.text}"
            good = verifies(self.public, signature, message.encode())
            need(good, f"the signature of {self.name} does not verify")
            found = True
        return found


class Policy:
    """The keys whose signatures make a checkpoint trusted (C2SP tlog-policy)."""

    def __init__(self, text: str) -> None:
        self.logs: list[Key] = []
        self.witnesses: dict[str, Key] = {}
        self.addresses: dict[str, list[str]] = {}
        self.log_lines: list[str] = []
        self.witness_lines: dict[str, str] = {}
        groups: dict[str, tuple[int, list[str]]] = {}
        quorum = None
        for words in (re.split(r"[ \t]+", line.strip(" \t")) for line in text.splitlines()):
            if words == [""] or words[0].startswith("#"):
                continue
            match words:
                case ["log", vkey, *url] if len(url) <= 1:
                    self.logs.append(Key(vkey))
                    self.log_lines.append(f"log {vkey}")
                    need(self.logs[-1].type == 1, "a log's key has another type")
                case ["witness", name, vkey, *url] if len(url) <= 1:
                    need(name not in {"none", *self.witnesses, *groups}, f"{name} is named twice")
                    self.witnesses[name], self.addresses[name] = Key(vkey), url
                    self.witness_lines[name] = " ".join(["witness", name, vkey, *url])
                    need(self.witnesses[name].type == COSIGNATURE, f"{name}'s key cannot cosign")
                case ["group", name, threshold, *members] if members:
                    need(name not in {"none", *self.witnesses, *groups}, f"{name} is named twice")
                    need(set(members) <= {*self.witnesses, *groups}, f"{name} has unknown members")
                    counts = {"all": str(len(members)), "any": "1"}
                    count = counts.get(threshold, threshold)
                    need(re.fullmatch("[0-9]{1,1000}", count), f"{threshold[:40]} is no threshold")
                    need(1 <= int(count) <= len(members), f"the group {name} can have no quorum")
                    groups[name] = int(count), members
                case ["quorum", name] if quorum is None:
                    need(name in {"none", *self.witnesses, *groups}, f"{name} is not defined")
                    quorum = name
                case _:
                    raise Failed(f"this is no line of a policy: {words[0][:40]}")
        for keys in ([k.public for k in self.logs], [k.public for k in self.witnesses.values()]):
            need(len(set(keys)) == len(keys), "the policy names a key twice")
        need(quorum is not None, "the policy has no quorum")
        self.groups, self.quorum = groups, str(quorum)
        named_keys = [f"log {k.name}+{k.public.hex()}" for k in self.logs]
        named_keys += [f"{n} {k.name}+{k.public.hex()}" for n, k in self.witnesses.items()]
        self.trust = repr((sorted(named_keys), sorted(groups.items()), quorum))
        """The common form of two policies that believe the same, wherever the witnesses are."""

    def witness(self, name: str) -> tuple[str, bytes, list[str]] | None:
        """Return a witness's key and address."""
        key = self.witnesses.get(name)
        return None if key is None else (key.name, key.public, self.addresses[name])

    def changes(self, before: "Policy") -> set[str]:
        """Return the parts in which this policy differs from another: the subjects of a vote."""
        changed = set()
        if {(k.name, k.public) for k in self.logs} != {(k.name, k.public) for k in before.logs}:
            changed.add("LogKey")
        names = {*self.witnesses, *before.witnesses}
        if any(self.witness(name) != before.witness(name) for name in names) or (
            self.groups,
            self.quorum,
        ) != (before.groups, before.quorum):
            changed.add("Witnesses")
        return changed

    def aligned(self, left: set[str], admitted: dict[str, str], publishing: int) -> "Policy | None":
        """Return this policy with the witnesses of the parties, or None if it stays as it is.

        `left` are parties that left. `admitted` has the line of the witness of each party that
        joined since the last vote.
        """
        keys = {name: Key(line.split(" ")[2]) for name, line in admitted.items()}
        joined = {
            name: line
            for name, line in admitted.items()
            if name not in self.witnesses
            or (self.witnesses[name].name, self.witnesses[name].public)
            != (keys[name].name, keys[name].public)
        }
        gone = left | joined.keys()
        lines = {name: line for name, line in self.witness_lines.items() if name not in gone}
        if len(lines) == len(self.witness_lines) and not joined:
            return None
        count, before = self.groups.get(self.quorum, (0, list(self.witness_lines)))
        need(self.groups.keys().isdisjoint(before), "the policy has groups within groups")
        members = sorted({*joined, *(name for name in before if name in lines)})
        count = min(max(publishing, count), len(members))
        witnesses = [*lines.values(), *(joined[name] for name in sorted(joined))]
        group = f"group parties {count} {' '.join(members)}"
        return Policy("\n".join([*self.log_lines, *witnesses, group, "quorum parties", ""]))

    def check(self, note: Note) -> list[str]:
        """Return the cosigners of a checkpoint, if the log signed it and the quorum is met."""
        self.check_log(note)
        cosigned = [name for name, key in self.witnesses.items() if key.signed(note)]

        def met(name: str) -> bool:
            if name in self.groups:
                count, members = self.groups[name]
                return sum(map(met, members)) >= count
            return name in cosigned

        told = ", ".join(cosigned) or "nobody"
        need(self.quorum == "none" or met(self.quorum), f"only {told} cosigned it: no quorum")
        return cosigned

    def check_log(self, note: Note) -> None:
        keys = [key for key in self.logs if key.name == note.origin]
        need([key for key in keys if key.signed(note)], "no log key of the policy signed it")


# --- The tree (RFC 6962) ---


class Tree:
    """Grows by leaf hashes; keeps the hashes of full tiles to compare, and roots that are asked."""

    def __init__(self, wanted: set[int]) -> None:
        self.size = 0
        self.peaks: list[bytes] = []
        """The roots of the perfect subtrees that make up the tree, the largest first."""
        self.levels: list[bytearray] = []
        """Of tile levels 1 and above: the root of each full tile below."""
        self.roots: dict[int, bytes] = {}
        self.wanted = wanted

    def add(self, leaf: bytes) -> None:
        made, index, height = leaf, self.size, 0
        while index & 1:
            made, index, height = sha256(b"\x01", self.peaks.pop(), made), index >> 1, height + 1
            if height % 8 == 0:
                while len(self.levels) < height // 8:
                    self.levels.append(bytearray())
                self.levels[height // 8 - 1] += made
        self.peaks.append(made)
        self.size += 1
        if self.size in self.wanted:
            self.roots[self.size] = self.root()

    def root(self) -> bytes:
        made = self.peaks[-1] if self.peaks else sha256()
        for peak in self.peaks[-2::-1]:
            made = sha256(b"\x01", peak, made)
        return made


def root_by_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that a path leads to (RFC 9162 section 2.1.3.2)."""
    need(0 <= index < size, "the event is not in the checkpoint's tree")
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


def check_continues(old: Note, new: Note, proof: list[bytes]) -> None:
    """Check that one checkpoint's tree begins with another's (RFC 9162 section 2.1.4.2)."""
    what = f"the checkpoint of {old.size} events is not of the same ledger"
    need(0 < old.size <= new.size, what)
    if old.size == new.size:
        need(old.root == new.root and not proof, what)
        return
    hashes = ([old.root] if old.size & (old.size - 1) == 0 else []) + proof
    need(hashes, what)
    node, last = old.size - 1, new.size - 1
    while node & 1:
        node, last = node >> 1, last >> 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        need(last > 0, what)
        if node & 1 or node == last:
            older, newer = sha256(b"\x01", sibling, older), sha256(b"\x01", sibling, newer)
            while not node & 1 and node:
                node, last = node >> 1, last >> 1
        else:
            newer = sha256(b"\x01", newer, sibling)
        node, last = node >> 1, last >> 1
    need(last == 0 and older == old.root and newer == new.root, what)


# --- The events ---


class Event(NamedTuple):
    """The fields of an event that are in the clear."""

    kind: str
    agency: str
    key_id: str
    case: str | None
    action_id: str
    act: dict[str, Any]
    acted_at: str
    signed_at: int
    """Seconds since 1970."""
    version: int
    recorded_at: str
    signed: bytes
    signature: bytes
    canonical: bool
    """Whether the claims are in canonical form, as from edition 2 of the rules on."""
    digest: str
    """Of the signed text, in base64url, as an approval names it."""
    protocol: str
    approval: "Approval | None"


class Approval(NamedTuple):
    """The second signature of an event, of a member who approved the action."""

    agency: str
    key_id: str
    signed_at: int
    """Seconds since 1970."""
    protocol: str
    action: str
    digest: str
    signed: bytes
    signature: bytes


@dataclass
class Amendment:
    """A proposed text of the protocol."""

    text: dict[str, Any]
    digest: str
    earliest: datetime
    party: str
    missing: set[str]
    """The parties that have not accepted it."""
    position: int
    """Of the proposal."""
    joining: set[str]
    """The parties that it adds, or that join again by it."""


@dataclass
class Withdrawal:
    """A party's declaration that it leaves."""

    party: str
    begins: datetime
    """When it is no party any more, by the times of recording."""
    position: int


DEFAULT_ZONES = {"AL": "Europe/Tirane", "ME": "Europe/Podgorica", "XK": "Europe/Belgrade"}
"""The zones of parties whose text names none, as the ledger's rules have them."""


def zone_of(party: dict[str, Any]) -> tzinfo:
    """Return the time zone of a party of a text; UTC without one."""
    name = party.get("time_zone") or DEFAULT_ZONES.get(party["code"])
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Failed(f"the time zone database of this machine has no {name}") from None


def day_begins(day: str, zone: tzinfo) -> datetime:
    """Return when a day of the agreement begins at local time."""
    try:
        return datetime.fromisoformat(day).replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def accessions(text: dict[str, Any]) -> dict[str, dict[str, Any] | None]:
    """Return the keys and node with which each party joined; None for a party of the first text.

    Earlier programs recorded other spellings of a time: each is read as the time that it is.
    """
    found = {}
    for party in text["parties"]:
        accession = party.get("accession")
        if accession is not None:
            grants = [
                {name: part for name, part in grant.items() if part is not None}
                | {name: instant(grant[name]) for name in ("valid_from", "valid_until")}
                for grant in accession["keys"]
            ]
            accession = accession | {"keys": grants}
        found[party["code"]] = accession
    return found


def instant(value: str | float) -> str:
    """Return a time in one form. It is a text, or seconds or milliseconds since 1970."""
    if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", value) is None:
        return datetime.fromisoformat(value).astimezone(UTC).isoformat()
    seconds = float(value)
    seconds = seconds / 1000 if abs(seconds) > 20_000_000_000 else seconds
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def whole(value: object) -> int:
    """Return a whole number. Earlier programs recorded some as text."""
    number = float(str(value)) if not isinstance(value, bool) else float(value)
    need(number.is_integer(), "something is no whole number")
    return int(number)


def joining(base: dict[str, Any], text: dict[str, Any]) -> set[str]:
    """Return the parties that a text adds to those of another, or that join again by it."""
    before = accessions(base)
    return {
        code
        for code, accession in accessions(text).items()
        if accession is not None and accession != before.get(code)
    }


def is_admitted(one: Withdrawal, texts: list[tuple[int, datetime, dict[str, Any]]]) -> bool:
    """Return whether one of these texts, adopted after a withdrawal, has the party join again."""
    return any(
        adopted > one.position and one.party in joining(texts[n - 1][2], text)
        for n, (adopted, _, text) in enumerate(texts)
        if n
    )


def text_digest(text: dict[str, Any]) -> str:
    """SHA-256 of a text as JSON with sorted names and without spaces."""
    written = json.dumps(text, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(written.encode()).hex()


KEYED_BY_DATA = {"roles", "access", "labels", "labels.*", "parties.names", "agencies.names"}
"""The objects in a text of the protocol whose names are data of the parties."""
KEYED_BY_LIST = {"actions", "access.*", "indicators.strength"}
"""The objects whose names are of a list that a program has: kinds of action, and operations."""
FREE = {
    "id",
    "title",
    "roles.*",
    "labels.*.*",
    "parties.code",
    "parties.name",
    "parties.names.*",
    "agencies.id",
    "agencies.name",
    "agencies.names.*",
    "agencies.party",
    "agencies.role",
    "agencies.city",
    "actions.*.roles",
    "expected.roles",
    "duties.roles",
    "confirmed_keys.roles",
    "confirmed_keys.by",
}
"""The parts of a text whose values are the parties' own words, such as a name or a role."""
FREE_BELOW = "parties.accession."


def parts_of(value: object, place: str = "") -> Iterator[str]:
    """Yield each part of a text by its path, and each word that may be of a program's list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{place}.*" if place in KEYED_BY_DATA else f"{place}.{name}"
            keyed = place in KEYED_BY_DATA or place in KEYED_BY_LIST
            yield from parts_of(inner, (f"{place}.*" if keyed else f"{place}.{name}").lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from parts_of(inner, place)
    elif isinstance(value, str) and place not in FREE and not place.startswith(FREE_BELOW):
        yield f"{place}={value}"


def names_nothing_new(text: dict[str, Any], adopted: list[dict[str, Any]]) -> bool:
    """Return whether a program that reads the adopted texts reads this one too."""
    edition = text.get("edition", 1)
    if not isinstance(edition, int):
        return False
    known = {part for one in adopted for part in parts_of(one)}
    editions = [whole(one.get("edition", 1)) for one in adopted]
    return edition <= max(editions, default=1) and set(parts_of(text)) <= known


REQUIRED = {"iss", "iat", "jti", "protocol", "kind", "act", "_sd_alg"}
UUID_TEXT = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
KEY_ID = re.compile(r"[A-Za-z0-9_-]{43}")
AGENCY = re.compile(r"[a-z][a-z0-9-]{2,43}")
TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?Z")
YEAR_10000 = 253_402_300_800
ON_PROTOCOL = {
    "protocol_adopted",
    "amendment_proposed",
    "amendment_accepted",
    "amendment_declined",
    "accession_accepted",
    "party_withdrawal_declared",
    "party_withdrawal_revoked",
    "witnesses_aligned",
    "agency_registered",
    "agency_invited",
    "agency_renamed",
    "agency_retired",
    "agency_change_confirmed",
    "agency_change_declined",
    "contact_point_named",
    "contact_point_ended",
    "contact_card_given",
    "contact_card_ended",
    "key_registered",
    "key_revoked",
    "key_compromised",
    "coordinator_key_recovered",
    "key_change_confirmed",
    "key_change_declined",
    "log_policy_adopted",
    "country_key_registered",
    "readings_anchored",
    "absence_announced",
    "presence_declared",
}
"""The kinds of acts that are on the protocol and on no case."""
OF_EDITION_2 = {
    "party_withdrawal_declared",
    "party_withdrawal_revoked",
    "witnesses_aligned",
    "agency_registered",
    "agency_invited",
    "agency_renamed",
    "agency_retired",
    "agency_change_confirmed",
    "agency_change_declined",
    "contact_point_named",
    "contact_point_ended",
    "contact_card_given",
    "contact_card_ended",
    "coordinator_key_recovered",
    "absence_announced",
    "presence_declared",
}
"""The kinds of acts on the protocol that a text of edition 1 does not have."""
OF_LEFT_PARTIES = {
    "information_acknowledged",
    "information_provided",
    "information_declined",
    "information_released",
    "joint_action_done",
    "break_glass_reviewed",
    "legal_hold_lifted",
    "erasure_confirmed",
    "readings_anchored",
    "key_revoked",
    "key_compromised",
}
"""The kinds of acts that agencies of a party that left may take: they answer what it owes."""
VERSIONS = {
    "amendment_accepted": 2,
    "key_registered": 3,
    "log_policy_adopted": 2,
    "protocol_adopted": 2,
}
"""The latest schema version of each of these kinds that has more than one."""
MOST_TEXT = 1_048_576
"""No text of the protocol inflates to more bytes."""
EDITION = 2
"""The latest edition of the rules."""


def event_of(entry: bytes) -> Event:
    """Read an event's bytes: the time of recording and a signed action (an SD-JWT)."""
    try:
        content = strict_json(entry)
        text = content["sd_jwt"]
        own, ends, second = text.partition("~")
        header, payload, signature = own.split(".")
        head, claims = strict_json(unbase64url(header)), strict_json(unbase64url(payload))
        texts = [claims["kind"], claims["iss"], head["kid"], content["recorded_at"]]
        need(all(isinstance(text, str) for text in texts), "a claim is no text")
        kind, agency, key_id, recorded_at = texts
        act, case = claims["act"], claims.get("case")
        need(isinstance(act, dict), "there is no act")
        act = with_whole_text(kind, act)
        return Event(
            kind,
            agency,
            key_id,
            # Earlier programs recorded other texts of an id, numbers as text, null, and a case in
            # an act on the protocol.
            None if case is None or kind in ON_PROTOCOL else str(uuid.UUID(case)),
            str(uuid.UUID(claims["jti"])),
            act,
            moment(act["acted_at"]),
            int(float(claims["iat"])),
            claims.get("version") or 1,
            recorded_at,
            f"{header}.{payload}".encode(),
            unbase64url(signature),
            bool(ends) and is_canonical(head, claims),
            base64url(sha256(f"{own}~".encode())),
            str(claims["protocol"]),
            approval_of(second) if second else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise Failed("its bytes are not those of an event") from None


APPROVAL = {"iss", "iat", "protocol", "action", "sd_hash"}


def approval_of(text: str) -> Approval:
    """Read an approval, which has one form only."""
    parts = text.split(".")
    need(len(parts) == 3, "an approval is no JWT")
    head, claims, signature = map(unbase64url, parts)
    need(
        all(base64url(unbase64url(part)) == part for part in parts),
        "an approval is not canonical base64url",
    )
    header, payload = strict_json(head), strict_json(claims)
    texts = [header["kid"], *(payload[name] for name in APPROVAL - {"iat"})]
    need(
        header.keys() == {"alg", "typ", "kid"}
        and (header["alg"], header["typ"]) == ("Ed25519", "action-approval+jwt")
        and payload.keys() == APPROVAL
        and all(isinstance(text, str) for text in texts)
        and KEY_ID.fullmatch(header["kid"])
        and AGENCY.fullmatch(payload["iss"])
        and UUID_TEXT.fullmatch(payload["action"])
        and KEY_ID.fullmatch(payload["sd_hash"])
        and type(payload["iat"]) is int
        and 0 <= payload["iat"] < YEAR_10000,
        "an approval is not in its one form",
    )
    return Approval(
        payload["iss"],
        header["kid"],
        payload["iat"],
        payload["protocol"],
        payload["action"],
        payload["sd_hash"],
        f"{parts[0]}.{parts[1]}".encode(),
        signature,
    )


def with_whole_text(kind: str, act: dict[str, Any]) -> dict[str, Any]:
    """Return an act with its text of the protocol whole, which is deflated where it is long."""
    text = act.get("protocol") if kind in ("protocol_adopted", "amendment_proposed") else None
    if not isinstance(text, dict) or text.keys() != {"deflated"}:
        return act
    inflating = zlib.decompressobj(-15)
    try:
        whole = inflating.decompress(unbase64url(text["deflated"]), MOST_TEXT)
    except zlib.error:
        raise Failed("a text of the protocol does not inflate") from None
    need(inflating.eof and not inflating.unused_data, "a text of the protocol is too long")
    return {**act, "protocol": strict_json(whole)}


def is_newer(event: Event) -> bool:
    """Return whether an act on the protocol has a kind, version or text of a later program.

    An action on a case changes no key, whatever its kind is. A proposed text of a later program
    changes nothing before it is adopted.
    """
    if event.case is not None:
        return False
    return (
        event.kind not in ON_PROTOCOL
        or event.version > VERSIONS.get(event.kind, 1)
        or (event.kind == "protocol_adopted" and is_newer_text(event.act.get("protocol")))
    )


def is_newer_text(text: object) -> bool:
    """Return whether a text of the protocol names a later edition of the rules."""
    edition = text.get("edition", 1) if isinstance(text, dict) else 1
    return isinstance(edition, int) and edition > EDITION


def is_canonical(head: dict[str, Any], claims: dict[str, Any]) -> bool:
    """Return whether each claim has its one form: whole numbers, ids in lower case, no null."""

    def is_text(value: object, form: re.Pattern[str]) -> bool:
        return isinstance(value, str) and form.fullmatch(value) is not None

    return (
        head.keys() == {"alg", "typ", "kid"}
        and (head["alg"], head["typ"]) == ("Ed25519", "case-action+sd-jwt")
        and is_text(head["kid"], KEY_ID)
        and REQUIRED <= claims.keys() <= REQUIRED | {"case", "version"}
        and is_text(claims["iss"], AGENCY)
        and type(claims["iat"]) is int
        and 0 <= claims["iat"] < YEAR_10000
        and is_text(claims["jti"], UUID_TEXT)
        and (
            "case" not in claims
            or (claims["kind"] not in ON_PROTOCOL and is_text(claims["case"], UUID_TEXT))
        )
        and ("version" not in claims or (type(claims["version"]) is int and claims["version"] > 1))
        and isinstance(claims["protocol"], str)
        and claims["_sd_alg"] == "sha-256"
        and is_text(claims["act"]["acted_at"], TIME)
    )


def moment(value: object) -> str:
    """Return a time in its one form: RFC 3339 in UTC, microseconds if there are any."""
    text = str(value)
    if TIME.fullmatch(text) is None:
        return text
    return datetime.fromisoformat(text).isoformat().replace("+00:00", "Z")


def strict_json(content: bytes) -> dict[str, Any]:
    """Return a JSON object in which no name is repeated."""

    def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        need(len(found) == len(pairs), "a name is repeated")
        return found

    def refuse(name: str) -> None:
        raise Failed(f"{name} is not JSON")

    made = json.loads(content.decode(), object_pairs_hook=distinct, parse_constant=refuse)
    need(isinstance(made, dict), "it is no JSON object")
    return made  # type: ignore[no-any-return]


def thumbprint(x: str) -> str:
    """Return a key's name (RFC 7638)."""
    digest = sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode())
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class Registry:
    """The keys that count, and the adopted policies, as the events say."""

    def __init__(self) -> None:
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.validity: dict[str, tuple[datetime, datetime]] = {}
        """From when until when each key may sign."""
        self.revoked: set[str] = set()
        self.parties: set[str] = set()
        self.coordinators: dict[str, str] = {}
        self.roles: dict[str, str] = {}
        """Each agency's role."""
        self.owners: dict[str, str] = {}
        """Each agency's party."""
        self.declared_roles: set[str] = set()
        self.confirmed: list[dict[str, Any]] = []
        """The roles whose keys change only once another party has confirmed the change."""
        self.proposals: dict[str, tuple[str, dict[str, Any]]] = {}
        """Changes of keys that wait: the kind of the act and its fields, by the act's id."""
        self.votes: dict[str, tuple[str, frozenset[str]]] = {}
        """The policy that each party adopted last, and the absent parties that it names."""
        self.nodes: dict[str, str] = {}
        """The party of each country's node."""
        self.notice: timedelta | None = None
        """How long an absence is announced before it counts, where the protocol has a quorum."""
        self.absences: dict[str, dict[str, datetime]] = {}
        """When the absence of each party was announced, by subject of the votes."""
        self.policies: list[tuple[int, Policy]] = []
        """From which size on each adopted policy holds."""
        self.voted = 0, datetime.min.replace(tzinfo=UTC)
        """The position and time of the last vote that adopted a policy."""
        self.recoveries: dict[str, tuple[dict[str, Any], datetime, set[str]]] = {}
        self.deciding = 0
        """So many parties decide while all others are absent."""
        self.publishing = 0
        """So many parties' witnesses publish."""
        self.named: list[tuple[int, int, bytes]] = []
        """Each vote's position, and size and root of the checkpoint that it names."""
        self.edition = 1
        self.versions: list[tuple[int, datetime, dict[str, Any]]] = []
        """Each text of the protocol: the position of its adoption, and the earliest time."""
        self.in_force = 0
        """The text that judges the event that is taken."""
        self.left: set[str] = set()
        """The parties that left, for the event that is taken."""
        self.without_say: set[str] = set()
        """The parties of ``left`` that no adopted text admits again, in force or not."""
        self.withdrawals: dict[str, Withdrawal] = {}
        """The declarations of leaving that were not taken back, by the declaring act's id."""
        self.withdrawal_notice = timedelta(days=90)
        self.amendments: dict[str, Amendment] = {}
        """Texts that are proposed and neither adopted nor closed, by the proposing act's id."""
        self.registered: dict[str, tuple[str, str]] = {}
        """The party and the role of each agency that its country registered or invited itself."""
        self.retired: set[str] = set()
        """The agencies that their countries retired."""
        self.agency_proposals: dict[str, tuple[str, dict[str, Any], str]] = {}
        """Oversight bodies to be registered or retired: the kind of the act, its fields and party,
        by the act's id."""
        self.approvals: list[dict[str, Any]] = []
        """The actions that a second member of the agency approves."""
        self.holders: dict[str, str] = {}
        """The member who holds each key that was registered for one."""
        self.members: set[tuple[str, str]] = set()
        """The members who have or had keys, each with the agency."""
        self.recorded_at = ""
        self.marks: list[str] = []
        """The remarks on events that hold."""

    def take(self, position: int, event: Event) -> None:
        """Check an event's signature, and take in its changes.

        Raises ``Newer`` if the event is an act that only a later version of this script knows.
        """
        try:
            if is_newer(event):
                raise Newer(position)
            self._take(position, event)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Failed(f"position {position}: the act on the protocol is malformed") from None
        except Failed as failed:
            raise Failed(f"position {position}: {failed}") from None

    def _take(self, position: int, event: Event) -> None:
        act = event.act
        stood_still, self.recorded_at = event.recorded_at == self.recorded_at, event.recorded_at
        if event.kind == "protocol_adopted":
            need(not self.parties, "a second adoption")
            self.versions.append((position, datetime.min.replace(tzinfo=UTC), act["protocol"]))
            self._judge_by(act["protocol"])
            for grant in act["keys"]:
                self._register(grant)
        self._find_version(position, event.recorded_at)
        self._find_left(position, event.recorded_at)
        need(event.agency in self.owners, f"{event.agency[:60]} is no agency of the protocol")
        need(
            self.edition >= 2 or event.kind not in OF_EDITION_2,
            f"the text in force has edition {self.edition} of the rules, which has no such act",
        )
        need(
            self.owners[event.agency] not in self.left or event.kind in OF_LEFT_PARTIES,
            f"{event.agency}'s party left the agreement, and it owed nothing like this",
        )
        if not event.canonical:
            need(self.edition == 1, "its claims are not in canonical form")
            self.marks.append(f"position {position}: not in canonical form (edition 1)")
        agency, public = self.keys.get(event.key_id, ("", b""))
        need(agency == event.agency, f"no key of {event.agency[:60]} signed it")
        if event.key_id in self.revoked and self.edition == 1 and stood_still:
            # By edition 1 of the rules, a node whose clock was behind the ledger's last time took a
            # revoked key, and stored that time once more.
            self.marks.append(
                f"position {position}: recorded after its key was revoked (edition 1)"
            )
        else:
            need(event.key_id not in self.revoked, "its key was revoked")
        need(verifies(public, event.signature, event.signed), "the signature does not verify")
        self._check_approval(event)
        if event.case is None:  # a coordinator that signs has a key: none is recovered for it
            self.recoveries = {
                key: begun
                for key, begun in self.recoveries.items()
                if begun[0]["agency"] != event.agency
            }
            self._return((self.coordinators | self.nodes).get(event.agency))
        if event.kind in ("key_registered", "key_revoked", "key_compromised"):
            self._check_member(event)
            if self._waits(event):
                self.proposals[event.action_id] = event.kind, act
            else:
                self._change(event.kind, act)
        elif event.kind == "key_change_confirmed":
            kind, fields = self.proposals.pop(act["proposal"])
            self._check_party_stays(kind, self.owners[self._owner_of_key(kind, fields)])
            self._change(kind, fields)
        elif event.kind == "key_change_declined":
            del self.proposals[act["proposal"]]
        elif event.kind == "coordinator_key_recovered":
            self._recover(event)
        elif event.kind == "log_policy_adopted":
            self._vote(position, event)
        elif event.kind in ("agency_registered", "agency_invited", "agency_retired"):
            self._propose_agency(event)
        elif event.kind == "agency_renamed":
            need(
                self.owners[act["agency"]] == self._coordinator_of(event),
                "another country's coordinator signed it",
            )
        elif event.kind == "agency_change_confirmed":
            kind, fields, party = self.agency_proposals.pop(act["proposal"])
            need(self.owners[event.agency] != party, "no other party confirms it")
            self._check_party_stays(kind, party)
            self._change_agency(kind, fields, party)
        elif event.kind == "agency_change_declined":
            del self.agency_proposals[act["proposal"]]
        elif event.kind == "amendment_proposed":
            self._propose(position, event)
        elif event.kind == "amendment_accepted":
            self._accept(position, event)
        elif event.kind == "accession_accepted":
            self._accept_joining(position, event)
        elif event.kind == "amendment_declined":
            self._amendment(event)
            del self.amendments[act["proposal"]]
        elif event.kind in ("party_withdrawal_declared", "party_withdrawal_revoked"):
            self._withdraw(position, event)
        elif event.kind == "witnesses_aligned":
            self._align(position, event)
        elif event.kind == "absence_announced":
            announced = self.absences.setdefault(act["party"], {})
            for subject in act["subjects"]:
                announced.setdefault(subject, datetime.fromisoformat(event.recorded_at))

    def _judge_by(self, protocol: dict[str, Any]) -> None:
        """Take the parties, agencies and rules of a text of the protocol."""
        self.edition = whole(protocol.get("edition", 1))
        self.parties = {party["code"] for party in protocol["parties"]}
        agencies = protocol["agencies"]
        self.declared_roles = set(protocol["roles"])
        self.roles = {a["id"]: a["role"] for a in agencies}
        self.owners = {a["id"]: a["party"] for a in agencies}
        for agency, (party, role) in self.registered.items():
            self.roles[agency], self.owners[agency] = role, party
        self.confirmed = protocol.get("confirmed_keys", [])
        self.approvals = protocol.get("approvals", [])
        self.coordinators = {a["id"]: a["party"] for a in agencies if a["role"] == "coordinator"}
        self.nodes = {a["id"]: a["party"] for a in agencies if a["role"] == "node"}
        quorum = protocol.get("quorum") if self.edition >= 2 else None
        self.notice, self.deciding, self.publishing = None, 0, 0
        if quorum is not None:
            self.notice = timedelta(days=whole(quorum.get("notice_days", 14)))
            self.deciding, self.publishing = map(
                whole, (quorum["coordinators"], quorum["witnesses"])
            )
        terms = protocol.get("withdrawal") or {}
        self.withdrawal_notice = timedelta(days=whole(terms.get("notice_days", 90)))

    def _find_left(self, position: int, recorded_at: str) -> None:
        """Find the parties that are none any more for an event. Some may have joined again."""
        if not self.withdrawals:
            return
        at = datetime.fromisoformat(recorded_at)
        gone = [w for w in self.withdrawals.values() if w.position < position and w.begins <= at]
        texts = self.versions[: self.in_force + 1]
        self.left = {one.party for one in gone if not is_admitted(one, texts)}
        self.parties = accessions(texts[-1][2]).keys() - self.left
        # By edition 1 of the rules, a party had no say before the text that admits it is in force.
        decided = self.versions if self.edition >= 2 else texts
        self.without_say = {one.party for one in gone if not is_admitted(one, decided)}

    def _find_version(self, position: int, recorded_at: str) -> None:
        """Judge from here on by the last adopted text whose earliest time has come."""
        at = datetime.fromisoformat(recorded_at)
        while len(self.versions) > self.in_force + 1:
            adopted, earliest, protocol = self.versions[self.in_force + 1]
            if adopted >= position or earliest > at:
                return
            self.in_force += 1
            self._judge_by(protocol)

    def _propose(self, position: int, event: Event) -> None:
        act, party = event.act, self._coordinator_of(event)
        text = act["protocol"]
        need(text_digest(text) == act["digest"], "the digest is not that of the proposed text")
        _, _, base = self.versions[-1]
        need(text["id"] == base["id"], "the proposed text is of another protocol")
        need(
            whole(text["version"]) == whole(base["version"]) + 1,
            "the proposed text amends another version",
        )
        need(
            whole(text.get("edition", 1)) >= whole(base.get("edition", 1)),
            "the proposed text goes back to earlier rules",
        )
        before, after = accessions(base), accessions(text)
        need(before.keys() <= after.keys(), "the proposed text has no longer every party")
        for code, accession in after.items():
            if code not in before or accession != before[code]:
                need(accession is not None, f"{code} does not join by a signature of its own")
                need(code not in before or code in self.without_say, f"{code} is a party already")
        joins = joining(base, text)
        kept = {one["id"] for one in text["agencies"]}
        need({one["id"] for one in base["agencies"]} <= kept, "an agency is removed")
        need(kept.isdisjoint(self.registered), "the proposed text has a registered agency")
        roles = {role for one, (_, role) in self.registered.items() if one not in self.retired}
        need(roles <= text["roles"].keys(), "the proposed text has no role of a registered agency")
        self.amendments = {i: one for i, one in self.amendments.items() if one.party != party}
        day = act.get("earliest_day")
        earliest = datetime.min.replace(tzinfo=UTC)
        if day is not None:
            local = whole(base.get("edition", 1)) >= 2
            zones = map(zone_of, text["parties"]) if local else [UTC]
            earliest = max(day_begins(day, zone) for zone in zones)
        missing = ((before.keys() - self.without_say) | joins) - {party}
        proposed = Amendment(text, act["digest"], earliest, party, missing, position, joins)
        self.amendments[event.action_id] = proposed
        self._settle(position, proposed, event.recorded_at)

    def _accept(self, position: int, event: Event) -> None:
        amendment, party = self._amendment(event), self._coordinator_of(event)
        need(party in amendment.missing, "its party has accepted this text, or has no say")
        self._take_named(position, event.act.get("checkpoint"), amendment.position)
        amendment.missing.remove(party)
        self._settle(position, amendment, event.recorded_at)

    def _accept_joining(self, position: int, event: Event) -> None:
        """Take the statement by which a joining party accepts a text (a compact JWS)."""
        amendment, party = self._amendment(event), event.act["party"]
        need(party in amendment.joining, f"{party} does not join by this text")
        need(party in amendment.missing, f"{party} has accepted this text")
        self._take_named(position, event.act["checkpoint"], amendment.position)
        header, payload, signature = event.act["statement"].split(".")
        head, said = strict_json(unbase64url(header)), strict_json(unbase64url(payload))
        roles = {one["id"]: one["role"] for one in amendment.text["agencies"]}
        for grant in (accessions(amendment.text)[party] or {})["keys"]:
            if head["kid"] == thumbprint(grant["key"]["x"]):
                break
        else:
            raise Failed(f"no key that the text names for {party} signed the statement")
        need(roles[grant["agency"]] == "coordinator", "no coordinator signed the statement")
        expected = {
            "protocol": amendment.text["id"],
            "proposal": event.act["proposal"],
            "digest": amendment.digest,
            "party": party,
            "agency": grant["agency"],
        }
        need(
            said == expected
            and (head["alg"], head["typ"]) == ("Ed25519", "accession-statement+jwt"),
            "the statement is of something else",
        )
        need(
            verifies(
                unbase64url(grant["key"]["x"]),
                unbase64url(signature),
                f"{header}.{payload}".encode(),
            ),
            "the signature of the statement does not verify",
        )
        amendment.missing.remove(party)
        self._settle(position, amendment, event.recorded_at)

    def _withdraw(self, position: int, event: Event) -> None:
        """Take a party's declaration that it leaves, or that it takes this back."""
        party, at = self._coordinator_of(event), datetime.fromisoformat(event.recorded_at)
        if event.kind == "party_withdrawal_revoked":
            declared = self.withdrawals.pop(event.act["declaration"])
            need(declared.party == party, "another party declared this withdrawal")
            need(at < declared.begins, "the party has left")
            return
        need(event.act["party"] == party, "another party declares the withdrawal")
        waits = [w for w in self.withdrawals.values() if w.party == party and at < w.begins]
        need(not waits, "the party declared its withdrawal before")
        leaving = {w.party for w in self.withdrawals.values() if at < w.begins}
        staying = self.parties - {party} - (leaving if self.edition >= 2 else set())
        need(staying, "the last party does not leave")
        (own,) = (one for one in self.versions[self.in_force][2]["parties"] if one["code"] == party)
        begins = day_begins(event.act["day"], zone_of(own) if self.edition >= 2 else UTC)
        need(begins >= at + self.withdrawal_notice, "the period of notice is not kept")
        self.withdrawals[event.action_id] = Withdrawal(party, begins, position)

    def _align(self, position: int, event: Event) -> None:
        """Have the policy follow the parties that joined and left."""
        need(event.agency in self.coordinators | self.nodes, "no coordinator or node signed it")
        need(self.policies, "no policy is adopted yet")
        text, (voted, at) = self.versions[self.in_force][2], self.voted
        since = {
            code
            for n, (adopted, earliest, later) in enumerate(self.versions[: self.in_force + 1])
            if n and not (adopted < voted and earliest <= at)
            for code in joining(self.versions[n - 1][2], later)
        }
        lines = {
            code: f"witness {code} {joined['witness']} {joined['node']}/witness/{code}"
            for code, joined in accessions(text).items()
            if joined is not None and code in self.parties & since
        }
        before = self.policies[-1][1]
        publishing = min(self.publishing or len(self.parties), len(self.parties))
        policy = before.aligned(self.left, lines, publishing)
        if policy is None:
            raise Failed("the policy names the witnesses of the parties already")
        self.policies.append((position, policy))
        self.votes = {}

    def _settle(self, position: int, amendment: "Amendment", recorded_at: str) -> None:
        """Adopt a text that every party accepted, and close all other proposals."""
        if amendment.missing <= self.without_say - amendment.joining:
            if is_newer_text(amendment.text):
                raise Newer(position)
            earliest = max(
                amendment.earliest, datetime.fromisoformat(recorded_at), self.versions[-1][1]
            )
            self.versions.append((position, earliest, amendment.text))
            self.amendments = {}
            if self.edition >= 2:
                self._drop_waiting(amendment.joining)
            owners = self.owners | {a["id"]: a["party"] for a in amendment.text["agencies"]}
            for party in amendment.joining:
                self.revoked |= {k for k, (a, _) in self.keys.items() if owners[a] == party}
            for party in amendment.joining:
                for grant in (accessions(amendment.text)[party] or {})["keys"]:
                    need(thumbprint(grant["key"]["x"]) not in self.keys, "a key is known already")
                    self._register(grant)

    def _check_party_stays(self, kind: str, party: str) -> None:
        """Check that a confirmed registration is of a party that has not left."""
        registers = kind in ("key_registered", "agency_registered")
        gone = registers and self.edition >= 2 and party in self.left
        need(not gone, f"{party} left the agreement: nothing is registered for it")

    def _drop_waiting(self, joining: set[str]) -> None:
        """Drop what waited for parties, and their votes and absences, where they join again."""
        owners = self.owners
        self.recoveries = {
            key: one
            for key, one in self.recoveries.items()
            if owners[one[0]["agency"]] not in joining
        }
        self.proposals = {
            action: one
            for action, one in self.proposals.items()
            if owners[self._owner_of_key(*one)] not in joining
        }
        self.agency_proposals = {
            action: one for action, one in self.agency_proposals.items() if one[2] not in joining
        }
        self.votes = {
            party: vote
            for party, vote in self.votes.items()
            if party not in joining and joining.isdisjoint(vote[1])
        }
        for party in joining:
            self.absences.pop(party, None)

    def _amendment(self, event: Event) -> "Amendment":
        """Return the open amendment that an act names."""
        self._coordinator_of(event)
        amendment = self.amendments.get(event.act["proposal"])
        if amendment is None:
            raise Failed("no such amendment is open")
        need(amendment.digest == event.act["digest"], "the digest is of another text")
        return amendment

    def _coordinator_of(self, event: Event) -> str:
        need(event.agency in self.coordinators, "no coordinator signed it")
        return self.coordinators[event.agency]

    def _return(self, party: str | None) -> None:
        """End a party's absence when its coordinator or node signs, and drop votes without it."""
        if party is not None and self.absences.pop(party, None) is not None:
            self.votes = {p: vote for p, vote in self.votes.items() if party not in vote[1]}

    def _vote(self, position: int, event: Event) -> None:
        """Count a party's vote on a policy: adopted by all, or without absent parties."""
        self._take_named(position, event.act.get("checkpoint"))
        vote = event.act["policy"], frozenset(event.act.get("without") or ())
        text, without = vote
        policy = Policy(text)
        deciding = min(self.deciding, len(self.parties))
        need(len(self.parties - without) >= deciding, "too few parties decide")
        logs = {key.public for key in policy.logs}
        shared = any(key.public in logs for key in policy.witnesses.values())
        need(self.edition == 1 or not shared, "a witness has the key of the log")
        need(self.left.isdisjoint(policy.witnesses), "the policy has a witness of a left party")
        for party in without:
            self._check_absent(party, policy, datetime.fromisoformat(event.recorded_at))
        self.votes[self.coordinators[event.agency]] = vote
        for_text = {party for party, one in self.votes.items() if one[0] == text}
        alike = {party for party, one in self.votes.items() if one == vote}
        if for_text >= self.parties or (without and alike >= self.parties - without):
            self.policies.append((position, policy))
            self.voted = position, datetime.fromisoformat(event.recorded_at)
            self.votes = {}

    def _take_named(self, position: int, checkpoint: dict[str, Any] | None, least: int = 1) -> None:
        """Take the checkpoint that a vote names: a size and root of the ledger before it."""
        need(checkpoint or self.edition == 1, "the vote names no checkpoint")
        if checkpoint:
            size, root = int(checkpoint["size"]), bytes.fromhex(checkpoint["root"])
            need(0 < size < position, "the vote names a checkpoint beyond itself")
            need(size >= least or self.edition == 1, "the vote's checkpoint has not the proposal")
            self.named.append((position, size, root))

    def _check_absent(self, party: str, policy: "Policy", at: datetime) -> None:
        """Check that a party counts as absent for a policy, and keeps its witness in it."""
        if self.notice is None or not self.policies:
            raise Failed("no party decides without another here")
        before, announced = self.policies[-1][1], self.absences.get(party, {})
        absent = {subject for subject, since in announced.items() if at >= since + self.notice}
        need(policy.changes(before) <= absent, f"{party} is not absent for this vote")
        need(
            policy.witness(party) is not None and policy.witness(party) == before.witness(party),
            f"the policy changes the witness of {party}, which is away",
        )
        count, members = policy.groups.get(policy.quorum, (0, []))
        need(
            set(members) == self.parties and count >= min(self.publishing, len(self.parties)),
            "the policy has another quorum than the protocol",
        )

    def _recover(self, event: Event) -> None:
        """Register a key by the other parties for a coordinator that lost every one.

        Each signs it, and one of them again seven days after the first.
        """
        grant = event.act["grant"]
        key = thumbprint(grant["key"]["x"])
        at = datetime.fromisoformat(event.recorded_at)
        _, since, parties = self.recoveries.setdefault(key, (grant, at, set()))
        parties.add(self.coordinators[event.agency])
        owner = self.coordinators[grant["agency"]]
        need(owner not in self.left, f"{owner} left the agreement: nothing is registered for it")
        others = self.parties - {owner}
        if parties >= others and at >= since + timedelta(days=7):
            self._register(self.recoveries.pop(key)[0])

    def _waits(self, event: Event) -> bool:
        """Return whether a change of a key waits for another party.

        An agency ends its own key at once.
        """
        registers = event.kind == "key_registered"
        owner = self._owner_of_key(event.kind, event.act)
        need(not registers or owner not in self.retired, "a retired agency gets no key")
        change = "registration" if registers else "revocation"
        return owner != event.agency and any(
            self.roles[owner] in rule["roles"] and change in rule["changes"]
            for rule in self.confirmed
        )

    def _check_approval(self, event: Event) -> None:
        """Check that a second member of the agency approved an action, where the text asks."""
        role, party = self.roles[event.agency], self.owners[event.agency]
        asked = [
            whole(one.get("within_days", 7))
            for one in self.approvals
            if event.case is not None
            and event.kind in one["actions"]
            and role != "node"
            and (not one.get("roles") or role in one["roles"])
            and (not one.get("parties") or party in one["parties"])
        ]
        approval = event.approval
        need(bool(asked) == (approval is not None), "its approval is not as the text asks")
        if approval is None:
            return
        agency, public = self.keys.get(approval.key_id, ("", b""))
        need(agency == approval.agency == event.agency, "no colleague of the agency approved it")
        need(
            (approval.action, approval.digest, approval.protocol)
            == (event.action_id, event.digest, event.protocol),
            "the approval is of another action",
        )
        need(verifies(public, approval.signature, approval.signed), "the approval does not verify")
        begins, ends = self.validity[approval.key_id]
        at = datetime.fromisoformat(event.recorded_at)
        need(
            approval.key_id not in self.revoked and begins <= at < ends,
            "the key of the approval does not count",
        )
        author = self.holders.get(event.key_id)
        second = self.holders.get(approval.key_id)
        need(author and second and author != second, "no two members signed it")
        oldest = min(event.signed_at, approval.signed_at)
        need(
            at.timestamp() - oldest <= min(asked) * 86_400
            and approval.signed_at <= at.timestamp() + 300,
            "the approval is too old, or of the future",
        )

    def _check_member(self, event: Event) -> None:
        """Check that a member has keys of one agency alone."""
        member = event.act.get("member") if event.kind == "key_registered" else None
        if member is None:
            return
        waiting = {
            (act.get("member"), act["grant"]["agency"])
            for kind, act in self.proposals.values()
            if kind == "key_registered"
        }
        agencies = {agency for one, agency in self.members | waiting if one == member}
        need(agencies <= {event.act["grant"]["agency"]}, "the member has a key of another agency")

    def _propose_agency(self, event: Event) -> None:
        """Register, invite or retire an agency of a country; a second party confirms oversight."""
        act, party = event.act, self._coordinator_of(event)
        agency = act["agency"]
        waiting = {fields["agency"] for _, fields, _ in self.agency_proposals.values()}
        need(agency not in waiting, "the same change waits already")
        if event.kind == "agency_retired":
            need(self.owners[agency] == party, "another country's coordinator signed it")
            need(agency not in self.retired, "the agency is retired already")
            role = self.roles[agency]
        else:
            role = act["role"]
            texts = [protocol for _, _, protocol in self.versions]
            known = {one["id"] for text in texts for one in text["agencies"]}
            need(agency not in known | self.registered.keys(), "the agency's id was given before")
            need(role in self.declared_roles, "the protocol declares no such role")
        need(role not in ("coordinator", "node"), f"a {role} is changed by an amendment alone")
        if role == "oversight":
            need(event.kind != "agency_invited", "an international body is no oversight body")
            self.agency_proposals[event.action_id] = event.kind, act, party
        else:
            self._change_agency(event.kind, act, party)

    def _change_agency(self, kind: str, act: dict[str, Any], party: str) -> None:
        agency = act["agency"]
        if kind == "agency_retired":
            self.retired.add(agency)
            self.revoked |= {key for key, (owner, _) in self.keys.items() if owner == agency}
            self.proposals = {
                action: one
                for action, one in self.proposals.items()
                if self._owner_of_key(*one) != agency
            }
        else:
            self.registered[agency] = party, act["role"]
            self.roles[agency], self.owners[agency] = act["role"], party

    def _owner_of_key(self, kind: str, act: dict[str, Any]) -> str:
        """Return the agency whose key an act registers, revokes or declares compromised."""
        registers = kind == "key_registered"
        return str(act["grant"]["agency"] if registers else self.keys[act["key_id"]][0])

    def _change(self, kind: str, act: dict[str, Any]) -> None:
        if kind == "key_registered":
            self._register(act["grant"])
            if act.get("member") is not None:
                self.members.add((act["member"], act["grant"]["agency"]))
                self.holders[thumbprint(act["grant"]["key"]["x"])] = act["member"]
        else:
            self.revoked.add(act["key_id"])

    def _register(self, grant: dict[str, Any]) -> None:
        x = grant["key"]["x"]
        self.keys[thumbprint(x)] = grant["agency"], unbase64url(x)
        ends = (
            datetime.fromisoformat(instant(grant[name])) for name in ("valid_from", "valid_until")
        )
        self.validity[thumbprint(x)] = next(ends), next(ends)

    def judge_next(self, position: int, at: datetime) -> datetime:
        """Take the text of the protocol that judges the next event, and return its time."""
        if self.recorded_at:
            at = max(at, datetime.fromisoformat(self.recorded_at))
        self._find_version(position, at.isoformat())
        return at


# --- Which policy holds for which size ---

GET_POLICIES = "give the recorded policies (--policies FILE, from `case-ledger log policies`)"


class Trust:
    """The policy that you trust, and how the recorded ones follow from it (`policies.json`).

    A newer policy follows from the trusted one by the parties' own signed decisions. For an older
    one, a proof shows that its checkpoint is a beginning of the ledger that is believed.
    """

    def __init__(self, trusted: Policy, policies: str | None) -> None:
        self.trusted = trusted
        self.periods: list[tuple[int, Policy]] = [(0, trusted)]
        self.first = 0
        self.head: Note | None = None
        self.bridges: dict[int, list[bytes]] = {}
        if policies is not None:
            try:
                self._read(json.loads(policies))
            except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
                raise Failed("the file of recorded policies is malformed") from None

    def _read(self, content: dict[str, Any]) -> None:
        need(content["format"] == "case-ledger policies 1", "the policies have another format")
        periods = [(int(p["since"]), Policy(p["policy"])) for p in content["periods"]]
        notes = [note_of(p["checkpoint"]) if p["checkpoint"] else None for p in content["periods"]]
        begins = [since for since, _ in periods]
        need(begins and begins[0] == 0, "the recorded policies do not begin at the first event")
        need(begins == sorted(set(begins)), "the recorded policies are not in their order")
        for bridge in content["bridges"]:
            self.bridges[bridge["size"]] = [unbase64(step, 32) for step in bridge["proof"]]
        trusted = self.trusted.trust
        found = [n for n, (_, p) in enumerate(periods) if p.trust == trusted and notes[n]]
        need(found, "the recorded policies do not lead from the policy that you trust")
        self.first, self.periods = found[0], periods
        self.head = next(note for note in reversed(notes) if note is not None)
        for n in range(self.first, len(periods)):
            if (note := notes[n]) is not None:
                self._check_period(n, note)
                check_continues(note, self.head, self.bridges[note.size])
        registry = Registry()
        positions = [int(act["position"]) for act in content["acts"]]
        need(positions == sorted(set(positions)), "the acts on the protocol are not in their order")
        for act in content["acts"]:
            event, index = unbase64(act["event"]), int(act["position"]) - 1
            path = [unbase64(step, 32) for step in act["path"]]
            made = root_by_path(sha256(b"\x00", event), index, self.head.size, path)
            need(made == self.head.root, f"the act at position {index + 1} is not in the ledger")
            registry.take(index + 1, event_of(event))
        for position, size, root in registry.named:
            need(size in self.bridges, f"the proof for the vote at position {position} is missing")
            check_continues(Note("", (), "", size, root), self.head, self.bridges[size])
        need(len(registry.policies) == len(periods) - 1, "acts that adopt a policy are missing")
        self.check_recorded(registry.policies)

    def _check_period(self, n: int, note: Note) -> None:
        ends = self.periods[n + 1][0] if n + 1 < len(self.periods) else note.size + 1
        need(self.periods[n][0] <= note.size < ends, "a checkpoint is of another policy's time")
        self.periods[n][1].check(note)

    def check_recorded(self, recorded: list[tuple[int, Policy]]) -> None:
        """Check that the policies that events adopt are those trusted here."""
        found = [(since, policy.trust) for since, policy in recorded]
        if self.head is None:
            latest = found[-1][1] if found else self.trusted.trust
            need(latest == self.trusted.trust, "the events adopt another policy; " + GET_POLICIES)
            return
        told = [(since, policy.trust) for since, policy in self.periods[1:]]
        need(found == told[: len(found)], "the events adopt other policies than `policies.json`")

    def of_decisions(self, size: int) -> Policy:
        """Return the policy whose log keys sign decisions at a size."""
        n = max(n for n, (since, _) in enumerate(self.periods) if since <= size)
        # No event adopted the policy of the first period: the file of policies alone names it.
        need(
            n > 0 or self.first == 0,
            "the decision is older than every policy that the parties recorded: give the policy"
            " that you trusted then (--policy)",
        )
        return self.periods[n][1]

    def check(self, note: Note, quorum: bool = True) -> list[str]:
        """Return the cosigners of a checkpoint that must be trusted."""
        n = max(n for n, (since, _) in enumerate(self.periods) if since <= note.size)
        since, policy = self.periods[n]
        if n >= self.first:
            if quorum:
                return policy.check(note)
            policy.check_log(note)
            return []
        if self.head is None or note.size not in self.bridges:
            since = self.periods[self.first][0]
            raise Failed(
                f"the checkpoint of {note.size} events is older than the policy that you trust, "
                f"which holds from size {since} on; the proof that it is of the same ledger is "
                f"missing: get `policies.json` by `case-ledger log policies --size {note.size}`"
            )
        check_continues(note, self.head, self.bridges[note.size])
        return [name for name, key in policy.witnesses.items() if key.signed(note)]


# --- A signed decision: a receipt or a refusal ---

DECISION_TYPE = "case-ledger-decision+jwt"
MAX_DECISION, MAX_ACTION = 4096, 70_000


class Decision:
    """A decision on an action, held against the events as they are read."""

    def __init__(self, content: dict[str, Any]) -> None:
        try:
            self._parse(content["action"], content["decision"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
            raise Failed("this is no file with an action and a decision on it") from None

    def _parse(self, action: str, jws: str) -> None:
        need(len(action) <= MAX_ACTION and len(jws) <= MAX_DECISION, "the file is too long")
        form = r"[A-Za-z0-9_.-]+~([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+){2})?"
        need(re.fullmatch(form, action), "the action is no signed action")
        need(re.fullmatch(r"([A-Za-z0-9_-]+\.){2}[A-Za-z0-9_-]+", jws), "the decision is no JWS")
        header, payload, signature = jws.split(".")
        head, self.said = strict_json(unbase64url(header)), strict_json(unbase64url(payload))
        need(
            head == {"alg": "Ed25519", "typ": DECISION_TYPE, "kid": head.get("kid")},
            "the decision has another type",
        )
        self.key_id, self.signed = head["kid"], f"{header}.{payload}".encode()
        self.signature, self.action = unbase64url(signature), action
        digest = base64.urlsafe_b64encode(sha256(action.encode())).decode().rstrip("=")
        need(self.said["digest"] == digest, "the decision is on another action than the one given")
        self.id = str(uuid.UUID(self.said["action"]))
        self.is_receipt = self.said["outcome"] == "recorded"
        need(self.is_receipt or self.said["outcome"] == "refused", "the decision has no outcome")
        self.size = int(self.said["position" if self.is_receipt else "size"])
        time = self.said["recorded_at" if self.is_receipt else "decided_at"]
        self.at = datetime.fromisoformat(time)
        try:
            entry = json.dumps({"recorded_at": moment(time), "sd_jwt": action})
            self.event: Event | None = event_of(entry.encode())
        except Failed:  # an action that cannot be read was refused for that
            self.event = None
        self.registry = Registry()
        """As it was after the first ``size`` events."""
        self.case_version = 0
        """How many of these events are of the action's case."""
        self.found: tuple[int, bool] | None = None
        """Where an event has the action's id, and whether it is this very action."""
        self.at_position: tuple[bytes, bytes] | None = None
        """The entry at the receipt's position, and its leaf hash."""

    @property
    def names(self) -> set[int]:
        """Return the size of the checkpoint that the action names, if it is a vote."""
        named = self.event.act.get("checkpoint") if self.event else None
        return {int(named["size"])} if isinstance(named, dict) and self._is_vote() else set()

    def check_signed(self, trust: "Trust") -> None:
        """Check that a log key of the policy in force at the decision's size signed it."""
        for key in trust.of_decisions(self.size).logs:
            if (key.name, f"{key.name}+{key.id.hex()}") == (self.said["iss"], self.key_id):
                good = verifies(key.public, self.signature, self.signed)
                need(good, "the signature of the decision does not verify")
                return
        raise Failed(f"no log key of the policy in force at size {self.size} signed the decision")

    def take(self, position: int, entry: bytes, event: Event, leaf: bytes, all_: Registry) -> None:
        """Take the next event; ``all_`` is the registry after it."""
        if event.action_id == self.id and self.found is None:
            self.found = position, self._is_in(entry)
        if position > self.size:
            return
        if self.event is not None and event.case is not None and event.case == self.event.case:
            self.case_version += 1
        if position == self.size:
            self.at_position = entry, leaf
            self.registry = copy.deepcopy(all_)

    def judge(self, roots: dict[int, bytes]) -> str:
        """Return how the events bear the decision out.

        Raises `Evidence` if they contradict it, and `Unreadable` if that needs the rules.
        """
        return self._judge_receipt() if self.is_receipt else self._judge_refusal(roots)

    def _judge_receipt(self) -> str:
        if self.at_position is None:
            raise Failed("the receipt has no position")
        entry, leaf = self.at_position
        at = f"the event at position {self.size}"
        if not self._is_in(entry):
            raise Evidence(f"{at} is another one than the receipt says")
        said = base64.urlsafe_b64decode(self.said["leaf_hash"] + "=")
        recorded_at = datetime.fromisoformat(strict_json(entry)["recorded_at"])
        if (said, self.at) != (leaf, recorded_at):
            raise Evidence(f"{at} has other bytes than the receipt says")
        return f"{at} is the action, as the receipt says"

    def _judge_refusal(self, roots: dict[int, bytes]) -> str:
        rule, size = str(self.said["rule"]), self.size
        if self.found is not None and self.found[1] and self.found[0] <= size:
            raise Evidence(
                f"the action is recorded at position {self.found[0]}, among the first {size} events"
            )
        if rule == "action-id-reused":
            if self.found is None or self.found[0] > size:
                raise Evidence(f"no event among the first {size} has this action's id")
            return f"the event at position {self.found[0]} has this action's id"
        at = self.registry.judge_next(size + 1, self.at)
        reason = self._reasons(at, roots).get(rule)
        if reason is None:
            raise Unreadable(
                f"the log's key signed the refusal ({rule}); whether it is true needs the"
                " procedure's rules: `case-ledger verify decision FILE --export DIRECTORY`"
            )
        holds, what = reason
        if not holds:
            raise Evidence(f"by the first {size} events it is not so that {what}")
        return f"by the first {size} events {what}"

    def _reasons(self, at: datetime, roots: dict[int, bytes]) -> dict[str, tuple[bool, str]]:
        """Return what the events say of each reason that needs none of the procedure's rules."""
        event, known = self.event, self.registry
        if event is None or not known.versions:
            return {}
        _, _, protocol = known.versions[known.in_force]
        owner, public = known.keys.get(event.key_id, ("", b""))
        begins, ends = known.validity.get(event.key_id, (at, at))
        waiting = {thumbprint(act["grant"]["key"]["x"]) for _, act in self._proposed()}
        found = {
            "unknown-key": (not owner and event.key_id not in waiting, "the key is not registered"),
            "key-of-another-agency": (
                bool(owner) and owner != event.agency,
                "the key is another agency's",
            ),
            "revoked-key": (event.key_id in known.revoked, "the key was revoked"),
            "key-not-valid": (
                not owner or not begins <= at < ends,
                "the key may not sign at that time",
            ),
            "signature": (
                not verifies(public, event.signature, event.signed),
                "the signature of the action does not verify",
            ),
            "unknown-agency": (event.agency not in known.owners, "the agency is not known"),
            "retired-agency": (event.agency in known.retired, "the agency is retired"),
        }
        # The same rules are named for keys and agencies that the act speaks of.
        if self.said.get("field") not in (None, "iss", "header.kid"):
            found = {}
        if event.kind == "amendment_proposed":
            proposed = event.act["protocol"]
            if names_nothing_new(proposed, [text for _, _, text in known.versions]):
                new = "the text names something that no adopted text names"
                found["unknown-version"] = False, new
        rule = protocol["actions"].get(event.kind)
        if rule is not None:
            role = known.roles.get(event.agency, "")
            found["role"] = role not in rule["roles"], "the agency's role may not take the action"
        if event.case is not None:
            version = self.case_version
            found["already-opened"] = version > 0, "the case was opened before"
            found["case-version"] = (
                version != self.said["acted_on"],
                f"the case is at version {version}, and not {self.said['acted_on']}",
            )
        if self._is_vote() and isinstance(named := event.act.get("checkpoint"), dict):
            size, root = int(named["size"]), bytes.fromhex(named["root"])
            is_own = size <= self.size and roots.get(size) == root
            found["another-history"] = not is_own, "the vote names another history of the ledger"
        return found

    def _proposed(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the registrations of keys that wait for another party."""
        for kind, act in self.registry.proposals.values():
            if kind == "key_registered":
                yield kind, act

    def _is_vote(self) -> bool:
        votes = ("log_policy_adopted", "amendment_accepted", "accession_accepted")
        return self.event is not None and self.event.kind in votes

    def _is_in(self, entry: bytes) -> bool:
        return bool(strict_json(entry)["sd_jwt"] == self.action)


# --- What is verified ---


def entries_of(directory: Path, size: int) -> Iterator[bytes]:
    """Yield every event's bytes, from the bundles (C2SP tlog-tiles)."""
    for index in range(-(-size // TILE)):
        width = min(TILE, size - index * TILE)
        path = directory / "tile" / "entries" / tile_name(index, width)
        content, at, found = read(path, MAX_BUNDLE), 0, 0
        while at < len(content):
            length = int.from_bytes(content[at : at + 2], "big")
            need(at + 2 + length <= len(content), f"{path} ends within an event")
            yield content[at + 2 : at + 2 + length]
            at, found = at + 2 + length, found + 1
        need(found == width, f"{path} has {found} events, not {width}")


def tile_name(index: int, width: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups) + ("" if width == TILE else f".p/{width}")


def check_tiles(directory: Path, level: int, hashes: bytes, first: int = 0) -> None:
    """Check a level's hash tiles against the events; `first` is the index of the first tile."""
    for at in range(0, len(hashes), TILE * 32):
        made = hashes[at : at + TILE * 32]
        name = tile_name(first + at // (TILE * 32), len(made) // 32)
        path = directory / "tile" / str(level) / name
        need(read(path, TILE * 32) == made, f"{path} has other hashes than the events")


def check_votes(directory: Path, named: list[tuple[int, int, bytes]], size: int) -> None:
    """Check that each vote names a checkpoint of this ledger, by the leaf tiles checked before."""
    tree = Tree({of for _, of, _ in named})
    for index in range(-(-max(tree.wanted, default=0) // TILE)):
        path = directory / "tile" / "0" / tile_name(index, min(TILE, size - index * TILE))
        hashes = read(path, TILE * 32)
        for at in range(0, len(hashes), 32):
            tree.add(hashes[at : at + 32])
    for position, of, root in named:
        what = f"position {position}: the vote names a checkpoint of another history of the ledger"
        need(tree.roots.get(of) == root, what)


def verify_export(
    arguments: argparse.Namespace,
    directory: Path | None = None,
    take: Callable[[int, bytes, Event, bytes, Registry], None] = lambda *_: None,
    roots: dict[int, bytes] | None = None,
    check: Callable[[Trust, int], None] = lambda *_: None,
) -> list[str]:
    """Verify an export; ``take`` is given each event.

    ``check`` is called before the events are read. ``roots`` gets the roots of its sizes.
    """
    directory, roots = directory or arguments.path, {} if roots is None else roots
    policy_file = arguments.policy or directory / "policy"
    policy_text = named(policy_file, MAX_NOTE)
    trust = Trust(Policy(policy_text), recorded_policies(arguments.policies or directory))
    note = note_of(read_text(directory / "checkpoint", MAX_NOTE))
    held = [(file, note_of(named(file, MAX_NOTE))) for file in arguments.held]
    cosigned = trust.check(note)
    check(trust, note.size)
    for file, kept in held:
        trust.check(kept, quorum=False)
        what = f"{file} is of {kept.size} events and the export of {note.size}: events are missing"
        need(kept.size <= note.size, what)
    tree, registry = Tree({*(kept.size for _, kept in held), *roots}), Registry()
    told, adoption, leaves = [], b"", bytearray()
    newer: Newer | None = None
    for position, entry in enumerate(entries_of(directory, note.size), 1):
        leaf = sha256(b"\x00", entry)
        tree.add(leaf)
        leaves += leaf
        if position % TILE == 0 or position == note.size:
            check_tiles(directory, 0, bytes(leaves), (position - 1) // TILE)
            leaves.clear()
        adoption = adoption or leaf
        if newer is not None:
            continue
        try:
            event = event_of(entry)
        except Failed as failed:
            raise Failed(f"position {position}: {failed}") from None
        try:
            registry.take(position, event)
        except Newer as found:
            newer = found
            continue
        take(position, entry, event, leaf, registry)
        if position == arguments.show:
            told = described(position, event, leaf)
    need(tree.root() == note.root, "the events are not those of the checkpoint")
    for level, hashes in enumerate(tree.levels, 1):
        check_tiles(directory, level, bytes(hashes))
    check_votes(directory, registry.named, note.size)
    roots |= tree.roots
    for file, kept in held:
        need(tree.roots.get(kept.size, sha256()) == kept.root, f"{file} is of another ledger")
    if newer is not None:
        raise newer
    trust.check_recorded([(since, p) for since, p in registry.policies if since <= note.size])
    need(not arguments.show or told, f"there is no event at position {arguments.show}")
    own = ", which came with the export: compare it" if arguments.policy is None else ""
    return [
        f"the export holds: {note.size} events, cosigned by {', '.join(cosigned) or 'nobody'}",
        f"ledger    {note.origin}",
        f"root      {note.root.hex()}",
        f"          by telephone: {spoken(note.root)}",
        f"adoption  {adoption.hex()}",
        f"          by telephone: {spoken(adoption)}",
        f"policy    {policy_file}{own}",
        f"          by telephone: {spoken(sha256(policy_text.encode()))}",
        *(f"held      {file}: {kept.size} events, a beginning of these" for file, kept in held),
        *(f"marked    {mark}" for mark in registry.marks),
        *told,
    ]


def verify_receipt(arguments: argparse.Namespace) -> list[str]:
    need(not arguments.held, "--held is for an export: a receipt is of one event")
    if arguments.policy is None:
        raise Unreadable("say whom you trust: --policy FILE")
    policy_text = named(arguments.policy, MAX_NOTE)
    policies = recorded_policies(arguments.policies) if arguments.policies else None
    trust = Trust(Policy(policy_text), policies)
    head, _, rest = named(arguments.path, MAX_JSON).partition("\n\n")
    first, extra, index, *path = [*head.split("\n"), "", ""]
    path = path[:-2]
    need(first == "c2sp.org/tlog-proof@v1", "this is no receipt")
    need(extra.startswith("extra "), "the receipt has not the event's bytes")
    entry = unbase64(extra.removeprefix("extra "))
    number = re.fullmatch(r"index (0|[1-9][0-9]{0,18})", index)
    need(number, "the receipt has no index")
    note = note_of(rest)
    need(len(rest.encode()) <= MAX_NOTE, "the receipt's checkpoint is too long")
    try:
        cosigned = trust.check(note)
    except Failed as failed:
        hint = f" (if the parties changed keys since: {GET_POLICIES})" if policies is None else ""
        raise Failed(f"{failed}{hint}") from None
    position = int(number[1]) + 1  # type: ignore[index]
    leaf = sha256(b"\x00", entry)
    made = root_by_path(leaf, position - 1, note.size, [unbase64(step, 32) for step in path])
    need(made == note.root, "the path leads to another root")
    return [
        f"the receipt holds: position {position} of {note.size}, cosigned by "
        f"{', '.join(cosigned) or 'nobody'}",
        f"ledger    {note.origin}",
        f"root      {note.root.hex()}",
        *described(position, event_of(entry), leaf),
    ]


def verify_decision(arguments: argparse.Namespace) -> list[str]:
    if arguments.export is None:
        raise Unreadable("say which events to hold it against: --export DIRECTORY")
    try:
        decision = Decision(strict_json(named(arguments.path, 100_000).encode()))
    except (ValueError, RecursionError):
        raise Failed("this is no file with an action and a decision on it") from None

    def check(trust: Trust, size: int) -> None:
        if size < decision.size:
            raise NotCovered(f"the decision is of {decision.size} events, and there are {size}")
        decision.check_signed(trust)

    roots = dict.fromkeys(decision.names, b"")
    told = verify_export(arguments, arguments.export, decision.take, roots, check)
    said = {name: printable(str(value)) for name, value in decision.said.items()}
    return [
        f"the decision holds: the log's key signed it, and {decision.judge(roots)}",
        *(f"{name:<12} {value}" for name, value in said.items()),
        *told,
    ]


def recorded_policies(path: Path) -> str | None:
    """Return the file of recorded policies, or an export's; none if an export has none."""
    if not path.is_dir():
        return named(path, MAX_JSON)
    file = path / "policies.json"
    return read_text(file, MAX_JSON) if file.exists() or file.is_symlink() else None


def described(position: int, event: Event, leaf: bytes) -> list[str]:
    """Describe an event, in lines."""
    told = {
        "event": f"position {position}: {event.kind}",
        "agency": event.agency,
        "case": event.case or "none: it is an act on the protocol",
        "acted": event.acted_at,
        "recorded": event.recorded_at,
        "id": event.action_id,
        "key": event.key_id,
        "leaf": leaf.hex(),
    }
    return [f"{name:<9} {printable(str(value))}" for name, value in told.items()]


def printable(text: str) -> str:
    """Return one line, without any character that a terminal would obey."""
    return "".join(c if c.isprintable() else "?" for c in text)[:1000]


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Verify an export, a receipt or a decision of the ledger."
    )
    parser.add_argument("what", choices=("export", "receipt", "decision"))
    parser.add_argument("path", type=Path, help="the export's directory, or the file")
    parser.add_argument("trusted", type=Path, nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--policy", type=Path, help="whom you trust; of an export: its own")
    parser.add_argument("--policies", type=Path, help="recorded policies: a file, or an export")
    parser.add_argument("--held", type=Path, action="append", default=[], help="a kept checkpoint")
    parser.add_argument("--export", type=Path, help="of a decision: the events, as an export")
    parser.add_argument("--show", type=int, help="the position of an event to describe")
    arguments = parser.parse_args()
    arguments.policy = arguments.policy or arguments.trusted
    verify = {
        "export": verify_export,
        "receipt": verify_receipt,
        "decision": verify_decision,
    }[arguments.what]
    try:
        told = verify(arguments)
    except Evidence as error:
        what = f"false: the log's key signed the decision, and the events contradict it: {error}"
        print(printable(what), file=sys.stderr)
        return IS_FALSE
    except NotCovered as error:
        print(printable(f"too few events: {error}"), file=sys.stderr)
        return NOT_COVERED
    except (Unreadable, Newer) as error:
        print(printable(f"cannot tell: {error}"), file=sys.stderr)
        return CANNOT_TELL
    except Failed as error:
        print(printable(f"does not hold: {error}"), file=sys.stderr)
        return DOES_NOT_HOLD
    except Exception as error:  # what it reads may be anything, and an auditor needs one line
        print(f"does not hold: it cannot be read ({type(error).__name__})", file=sys.stderr)
        return DOES_NOT_HOLD
    print("\n".join(told))
    return HOLDS


if __name__ == "__main__":
    sys.exit(main())
