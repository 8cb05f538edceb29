"""ASVS 5 V11, cryptography: what is compared, and what the time of a refusal tells."""

import ast
import statistics
import time
from pathlib import Path

from api.client.assertion import make_assertion
from ledger.signing import keys
from tests.attacks.target import KOSOVO, Target, claims, forged, header

ROOT = Path(__file__).parent.parent.parent
SECRET = ("passphrase", "password", "secret", "token", "private", "signature", "hmac")
TIMES = 30


def compared(tree: ast.AST) -> list[tuple[int, str]]:
    """Names that sound secret, where they are compared by ``==`` or ``!=``, with their lines."""
    return [
        (node.lineno, name)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare)
        and any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
        for side in (node.left, *node.comparators)
        if isinstance(side, ast.Name | ast.Attribute)
        for name in [side.id if isinstance(side, ast.Name) else side.attr]
        if any(word in name.lower() for word in SECRET)
    ]


def test_no_secret_is_compared_byte_by_byte() -> None:
    """ASVS V11.2.4: secrets are never compared with ``==``; libraries verify."""
    assert compared(ast.parse("given.token == token"))  # it does find some
    found = {
        f"{file.relative_to(ROOT)}:{line} {name}"
        for package in ("api", "ledger", "projections")
        for file in (ROOT / package).rglob("*.py")
        for line, name in compared(ast.parse(file.read_text(encoding="utf-8")))
    }
    assert found == set()


def took(target: Target, token: str, rule: str) -> float:
    began = time.perf_counter()
    target.refuses(target.ask("/v1/agencies", token=token), 401, rule)
    return time.perf_counter() - began


def test_time_does_not_tell_whether_an_agency_exists(target: Target) -> None:
    """ASVS V6.3.8, V11.2.4: an unregistered key's refusal, for agencies that are and are not."""
    stranger = keys.generate()

    def once(agency: str) -> float:
        return took(target, make_assertion(agency, stranger, "case-ledger"), "unknown-key")

    pairs = [(once(KOSOVO), once("xk-nobody-at-all")) for _ in range(TIMES)]
    there, nowhere = (statistics.median(column) for column in zip(*pairs, strict=True))
    assert abs(there - nowhere) < max(0.02, min(there, nowhere))


def test_an_agency_that_is_none_is_refused_as_an_unknown_key(target: Target) -> None:
    """ASVS V6.3.8: an agency that does not exist is refused as one whose key is not known."""
    stranger = keys.generate()
    told = []
    for agency in (KOSOVO, "xk-nobody-at-all"):
        token = forged(header(stranger), claims(agency), stranger)
        told.append(target.ask("/v1/agencies", token=token))
        target.refuses(told[-1], 401, "unknown-key")
    assert told[0].text == told[1].text
