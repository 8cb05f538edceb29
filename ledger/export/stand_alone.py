"""Further files of an export: policies, a verifier, instructions, fingerprints, its program."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from ledger.log.checkpoint import Checkpoint
from ledger.log.fingerprint import spoken
from ledger.log.note import Note
from ledger.log.policy import Policy
from ledger.system.version import program_version
from ledger.verification.policy_history import FILE_NAME, PolicyHistory

VERIFIER = Path(__file__).parents[2] / "auditor" / "verify.py"
PROGRAM = "program.json"
"""The one file that differs between exports of one ledger by two versions of the program."""

_README = """\
# Export of the ledger {origin}

These files are a whole copy of the ledger as it was at {size} events, with all that is needed to
verify it on a computer that has no network. They hold no name of any person: the ledger has
no personal data.

## Verify it

You need Python 3.11 or newer. Nothing has to be installed. With the Python package `cryptography`
it is about fifty times faster.

    python3 verify.py export .

It prints one line for each result. It ends with 0 if everything holds, with 3 if something does
not, and with 1 if it could not read a file that you named.

**That is not enough.** The person who gave you this export could have made all of it, `verify.py`
and `policy` too. So do these three things:

1. Take `verify.py` from a place that you trust, such as an earlier export or the project's source
   code. It is one file, meant to be read.
2. Ask the coordinators of at least two countries, by telephone, for the fingerprints that their
   own nodes show. They run `case-ledger log fingerprints --size {size}`. Compare them with the ones
   below, digit by digit.
3. Give every checkpoint that you kept from earlier exports. Then the verifier finds events that
   were cut off or replaced since:

       python3 verify.py export . --policy POLICY --held OLD/checkpoint

Keep this directory, or at least `checkpoint` and `policy`, apart from the ledger. The next time
they are your `OLD/checkpoint` and `POLICY`, also if the parties changed keys in the meantime:
`policies.json` leads from your policy to the one of the export.

## Fingerprints

Each is 40 digits in groups of five: a SHA-256, modulo 10 to the 40th power.

    policy    {policy}
    adoption  {adoption}
    root      {root}   (of {size} events)

- **policy**: of the file `policy`, which names the keys whose signatures count.
- **adoption**: of the ledger's first event, the agreement of the parties.
- **root**: of all events of this export.

## Look at it

    python3 verify.py export . --show 1                      # show the event at position 1
    python3 verify.py receipt FILE --policy policy --policies policies.json
    python3 verify.py decision FILE --export . --policy policy  # a signed receipt or refusal

## Files

| file | content |
|---|---|
| `checkpoint` | size and root, signed by the log and by the countries' witnesses |
| `policy` | the keys of log and witnesses that count for this size (C2SP tlog-policy) |
| `policies.json` | the policies that the parties adopted, from which size on, with proofs |
| `tile/entries/` | the events, 256 in a file (C2SP tlog-tiles) |
| `tile/0/`, `tile/1/`, … | the hashes of the tree |
| `timestamp/` | timestamps by an authority outside (RFC 3161), if there are any |
| `verify.py` | the verifier |
| `program.json` | the version of the program that wrote these files; nothing reads it |
"""


def stand_alone_files(
    note: Note, policy: Policy, history: PolicyHistory, adoption: bytes
) -> Mapping[str, bytes]:
    """Return the files by name; ``adoption`` is the leaf hash of the first event."""
    checkpoint = Checkpoint.parse(note.text)
    text = str(policy)
    readme = _README.format(
        origin=checkpoint.origin,
        size=checkpoint.size,
        policy=spoken(hashlib.sha256(text.encode()).digest()),
        adoption=spoken(adoption),
        root=spoken(checkpoint.root),
    )
    return {
        "README.md": readme.encode(),
        "policy": text.encode(),
        FILE_NAME: str(history).encode(),
        "verify.py": VERIFIER.read_bytes(),
        PROGRAM: _program().encode(),
    }


def _program() -> str:
    """Return the file that names the program and its version."""
    return json.dumps({"program": "case-ledger", "version": program_version()}) + "\n"
