"""The decisions that the ledger node signed on what commands sent: verified, and kept.

Each is one file that `case-ledger verify decision` reads. It holds the action as it is recorded,
without its disclosures, so that it can be handed to anybody.
"""

import os
from pathlib import Path

import httpx

from api.client import LedgerClient, RefusedError
from api.runtime.settings import Settings
from ledger.log.note import NoteError
from ledger.log.policy import Policy
from ledger.log.signed_decision import DecisionError, DecisionFile, SignedDecision
from ledger.signing import sd_jwt
from ledger.system.extras import how_to_install
from ledger.system.fsync import sync_directory


def keep_decision(
    settings: Settings, client: LedgerClient, signed: str, decision: str | None
) -> Path | None:
    """Verify and keep the signed decision on an action, and return its file, if one came.

    It is verified by the policy of the settings, or by the log key beside the command's own keys.
    If neither is there, it is kept unverified. Raises ``DecisionError`` for a decision that is not
    signed by the log or is on another action.
    """
    if decision is None:
        return None
    action = sd_jwt.without_disclosures(signed)
    read = SignedDecision.parse(decision)
    if not read.statement.is_of(action):
        raise DecisionError("the decision is on another action")
    if (trusted := _trusted(settings)) is not None:
        _verify(read, trusted, client)
    path = settings.data_directory / "decisions" / f"{read.statement.action}.json"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(DecisionFile(action=action, decision=decision).model_dump_json() + "\n")
    unfinished.replace(path)
    sync_directory(path.parent)
    return path


def _trusted(settings: Settings) -> Policy | None:
    """Return the policy that this command's user trusts. No key is made for it."""
    if settings.policy is not None:
        return Policy.parse(settings.policy.read_text(encoding="utf-8"))
    if not any(settings.key_directory.glob("log*.jwk")):
        return None  # not a node's machine
    from api.keys.log_keys import log_keys

    own = log_keys(settings)
    return Policy(tuple(key.verifier for key in own), {}) if own else None


def _verify(read: SignedDecision, trusted: Policy, client: LedgerClient) -> None:
    """Verify by the trusted policy, or by one that the parties adopted since. Raises as above."""
    try:
        read.verify(trusted)
    except DecisionError:
        try:
            from ledger.verification.policy_history import PolicyHistory

            history = PolicyHistory.parse(client.policies(read.statement.size))
            policy = history.believed(trusted).of_decisions(read.statement.size)
        except (NoteError, RefusedError, httpx.TransportError):
            raise DecisionError(
                "no log key that you trust signed the decision; name the policy in "
                "CASE_LEDGER_POLICY"
            ) from None
        except ImportError as missing:
            raise DecisionError(
                "no log key that you trust signed the decision; to look for the policies that the"
                f" parties adopted since, {how_to_install(missing) or 'install the extra `node`'}"
            ) from None
        read.verify(policy)
