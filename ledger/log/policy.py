"""The keys whose signatures make a checkpoint trusted (C2SP ``tlog-policy``)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from ledger.log.checkpoint import Checkpoint
from ledger.log.note import Note, NoteError, SignatureType, VerifierKey, verify

NONE = "none"
OTHER_LINE_ENDS = frozenset("\r\v\f\x1c\x1d\x1e\x85\u2028\u2029")
"""The characters that some readers take for the end of a line, and others do not."""
_MOST_DIGITS = 1000


class PolicyError(ValueError):
    """The text is no policy."""


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A witness of the policy: its key, and the address to which checkpoints are submitted."""

    key: VerifierKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses or groups, of which ``threshold`` must have cosigned."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """Known logs, known witnesses, and the quorum of them."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, TrustedWitness]
    groups: Mapping[str, Group] = field(default_factory=dict)
    quorum: str = NONE

    @classmethod
    def of(
        cls,
        log: VerifierKey,
        witnesses: Mapping[str, TrustedWitness],
        threshold: int | None = None,
    ) -> Self:
        """Return a policy of one log and ``threshold`` of the witnesses: all of them by default."""
        if not witnesses or threshold == 0:
            return cls((log,), witnesses)
        needed = len(witnesses) if threshold is None else threshold
        return cls((log,), witnesses, {"parties": Group(needed, tuple(witnesses))}, "parties")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a policy file.

        Raises ``PolicyError``, which names the line, if the text is no policy.
        """
        reader = _Reader()
        for number, line in enumerate(text.splitlines(), 1):
            words = re.split(r"[ \t]+", line.strip(" \t"))
            if words == [""] or words[0].startswith("#"):
                continue
            try:
                reader.read(words)
            except (NoteError, PolicyError) as error:
                raise PolicyError(f"line {number}: {error}") from None
        if reader.quorum is None:
            raise PolicyError("the policy has no quorum")
        return cls(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum)

    def __str__(self) -> str:
        lines = [f"log {key}" for key in self.logs]
        lines += [f"witness {n} {w.key} {w.url or ''}".rstrip() for n, w in self.witnesses.items()]
        lines += [f"group {n} {g.threshold} {' '.join(g.members)}" for n, g in self.groups.items()]
        return "\n".join((*lines, f"quorum {self.quorum}", ""))

    @property
    def trust(self) -> str:
        """Return the policy as text, without the addresses of the witnesses.

        Two policies that trust the same keys and quorum have the same text.
        """
        known = {name: TrustedWitness(witness.key) for name, witness in self.witnesses.items()}
        return str(replace(self, witnesses=known))

    def check(self, note: Note) -> tuple[Checkpoint, dict[str, datetime]]:
        """Return the checkpoint, and the time at which each witness cosigned it.

        Raises ``NoteError`` if the log did not sign it or the witnesses are no quorum.
        """
        checkpoint = Checkpoint.parse(note.text)
        keys = [key for key in self.logs if key.name == checkpoint.origin]
        if not keys:
            raise NoteError(f"the log {checkpoint.origin} is not one of the policy")
        if not verify(note, keys):
            raise NoteError(f"no trusted key of {checkpoint.origin} signed the checkpoint")
        signed = verify(note, [witness.key for witness in self.witnesses.values()])
        cosigned = {
            name: moment
            for name, witness in self.witnesses.items()
            if (moment := signed.get(witness.key)) is not None
        }
        if not self.is_met(cosigned):
            named = ", ".join(cosigned) or "none"
            raise NoteError(f"the witnesses that cosigned ({named}) are no quorum")
        return checkpoint, cosigned

    def is_met(self, cosigned: Mapping[str, object]) -> bool:
        """Return whether these witnesses, by their names in the policy, are a quorum."""
        return self.quorum == NONE or self._has_witnessed(self.quorum, cosigned)

    def _has_witnessed(self, name: str, cosigned: Mapping[str, object]) -> bool:
        if name in self.witnesses:
            return name in cosigned
        group = self.groups[name]
        return sum(self._has_witnessed(m, cosigned) for m in group.members) >= group.threshold


class _Reader:
    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, TrustedWitness] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None

    def read(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self.logs.append(_key(vkey, SignatureType.ED25519, self.logs))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                known = [witness.key for witness in self.witnesses.values()]
                key = _key(vkey, SignatureType.COSIGNATURE, known)
                self.witnesses[self._new(name)] = TrustedWitness(key, url[0] if url else None)
            case ["group", name, threshold, *members] if members:
                for member in members:
                    self._defined(member)
                counts = {"all": len(members), "any": 1}
                number = counts.get(threshold) or _number(threshold)
                if not 1 <= number <= len(members):
                    raise PolicyError(f"{number} of {len(members)} is no quorum")
                self.groups[self._new(name)] = Group(number, tuple(members))
            case ["quorum", name] if self.quorum is None:
                if name != NONE:
                    self._defined(name)
                self.quorum = name
            case _:
                raise PolicyError(f"this is no line of a policy: {words[0]}")

    def _new(self, name: str) -> str:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise PolicyError(f"the name {name} is taken")
        return name

    def _defined(self, name: str) -> None:
        if name not in self.witnesses and name not in self.groups:
            raise PolicyError(f"{name} is not defined before")


def _key(vkey: str, kind: SignatureType, known: Sequence[VerifierKey]) -> VerifierKey:
    key = VerifierKey.parse(vkey)
    if key.type is not kind:
        raise PolicyError(f"{key.name} has a key of another type")
    if any(key.public == other.public for other in known):
        raise PolicyError(f"the key of {key.name} is named twice")
    return key


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise PolicyError(f"{text[:40]} is no threshold")
    return int(text)
