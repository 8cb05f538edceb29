"""C2SP formats, against the specifications' own examples and everything that is not them."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from ledger.log.checkpoint import Checkpoint
from ledger.log.merkle import ProofError, Tree, leaf_hash
from ledger.log.note import Note, NoteError, SignatureType, SignerKey, VerifierKey, verify
from ledger.log.policy import Policy, PolicyError, TrustedWitness
from ledger.log.tiles import TileError, TileName, bundle, read_bundle, tiles_of
from ledger.log.tlog_proof import TlogProof

# From the specification of signed notes.
FOO_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
FOO_NOTE = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""  # noqa: E501
# From the specifications of checkpoints and cosignatures.
COSIGNED = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORIGIN = "ledger.example/kosovo-montenegro-albania"


def signer(name: str, kind: SignatureType = SignatureType.ED25519) -> SignerKey:
    return SignerKey(name, kind, Ed25519PrivateKey.generate())


def test_the_example_of_a_note_verifies() -> None:
    key = VerifierKey.parse(FOO_KEY)
    assert str(key) == FOO_KEY
    note = Note.parse(FOO_NOTE)
    assert str(note) == FOO_NOTE
    assert Note.parse(FOO_NOTE.encode()) == note
    assert verify(note, [key]) == {key: None}
    assert verify(note, [signer("example.com/foo").verifier]) == {}
    with pytest.raises(NoteError, match="does not verify"):
        verify(replace(note, text="This is another message.\n"), [key])


def test_the_example_of_a_cosigned_checkpoint_is_read_and_written() -> None:
    note = Note.parse(COSIGNED)
    assert str(note) == COSIGNED
    checkpoint = Checkpoint.parse(note.text)
    assert (checkpoint.origin, checkpoint.size) == ("example.com/behind-the-sofa", 20852163)
    assert str(checkpoint) == note.text
    assert int.from_bytes(note.signatures[1].signature[:8]) == 1679315147


@pytest.mark.parametrize(
    "content",
    [
        "",
        "no signature\n",
        "no blank line\n— a b\n",
        FOO_NOTE.removesuffix("\n"),
        FOO_NOTE.replace("—", "-"),
        FOO_NOTE.replace("This", "Th\tis"),
        FOO_NOTE.replace("example.com/foo", "example.com+foo"),
        FOO_NOTE.replace("=\n", "\n"),
        FOO_NOTE.replace("\n\n", "\n\n\n") + "trailing",
        "text\n\n",
        "x" * 70_000,
    ],
)
def test_what_is_no_note_is_refused(content: str) -> None:
    with pytest.raises(NoteError):
        Note.parse(content)
    with pytest.raises(NoteError):
        Note.parse(content.encode() + b"\xff")


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        FOO_KEY.replace("530d903a", "530d903b"),
        FOO_KEY.replace("example.com/foo", "example.com/bar"),
        FOO_KEY[:-4],
        FOO_KEY.replace("+Aek", "+Bek"),
    ],
)
def test_what_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    "text",
    [
        "origin\n1\n",
        "origin\n01\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n-1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
        "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I\n",
        "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=",
        "origin\n1\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\nextension\n",
        "origin\n\N{ARABIC-INDIC DIGIT ONE}\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(NoteError):
        Checkpoint.parse(text)


def test_a_cosignature_says_when_and_covers_it() -> None:
    witness = signer("witness.example/me", SignatureType.COSIGNATURE)
    text = str(Checkpoint(ORIGIN, 3, bytes(32)))
    made = witness.sign(text, NOW)
    note = Note(text, (made,))
    assert verify(note, [witness.verifier]) == {witness.verifier: NOW}
    later = replace(made, signature=(int.from_bytes(made.signature[:8]) + 1).to_bytes(8)
                    + made.signature[8:])  # fmt: skip
    with pytest.raises(NoteError):
        verify(Note(text, (later,)), [witness.verifier])
    plain = SignerKey(witness.name, SignatureType.ED25519, witness.private)
    assert plain.verifier.key_id != witness.verifier.key_id
    assert verify(note, [plain.verifier]) == {}


def test_tiles_of_the_specifications_example() -> None:
    tiles = list(tiles_of(70_000))
    hashes = [t for t in tiles if t.level is not None]
    assert sum(t.level == 0 and t.is_full for t in hashes) == 273
    assert [(t.level, t.width) for t in hashes if not t.is_full] == [(0, 112), (1, 17), (2, 1)]
    assert sum(t.level == 1 and t.is_full for t in hashes) == 1
    assert [t.path for t in tiles_of(256)] == [
        "tile/entries/000", "tile/0/000", "tile/1/000.p/1",
    ]  # fmt: skip
    assert TileName(3, 1_234_067).path == "tile/3/x001/x234/067"
    assert list(tiles_of(0)) == []
    grown = set(tiles_of(70_300)) - set(tiles_of(70_000))
    assert grown <= set(tiles_of(70_300, since=70_000))


@given(
    level=st.none() | st.integers(0, 63),
    index=st.integers(0, 2**40),
    width=st.integers(1, 256),
)
def test_paths_of_tiles_are_read_back(level: int | None, index: int, width: int) -> None:
    tile = TileName(level, index, width)
    assert TileName.parse(tile.path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/../000",
        "tile/entries/000/",
        "tile/-1/000",
        "tile/0/00\N{ARABIC-INDIC DIGIT ZERO}",
    ],
)
def test_other_paths_are_refused(path: str) -> None:
    with pytest.raises(TileError):
        TileName.parse(path)


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_bundles_are_read_back(entries: list[bytes]) -> None:
    content = bundle(entries)
    assert read_bundle(content) == entries
    for cut in range(1, min(len(content), 4)):
        try:
            shorter = read_bundle(content[:-cut])
        except TileError:
            continue
        assert len(shorter) < len(entries)


def test_a_proof_is_checked_offline_against_a_policy() -> None:
    log = signer(ORIGIN)
    witnesses = [signer(f"{ORIGIN}/{p}", SignatureType.COSIGNATURE) for p in ("xk", "me", "al")]
    leaves = [leaf_hash(bytes([n])) for n in range(5)]
    tree = Tree(5, lambda _, start, count: leaves[start : start + count])
    text = str(Checkpoint(ORIGIN, 5, tree.root()))
    note = Note(text, (log.sign(text), *(w.sign(text, NOW) for w in witnesses)))
    proof = TlogProof(2, tuple(tree.inclusion(2, 5)), note, extra=b"an event")
    assert TlogProof.parse(str(proof)) == proof
    policy = Policy.of(log.verifier, {w.name[-2:]: TrustedWitness(w.verifier) for w in witnesses})
    assert Policy.parse(str(policy)) == policy
    checkpoint, cosigned = proof.check(leaves[2], policy)
    assert checkpoint.size == 5
    assert set(cosigned.values()) == {NOW}
    with pytest.raises(ProofError):
        proof.check(leaves[3], policy)
    with pytest.raises(NoteError, match="are no quorum"):
        replace(proof, checkpoint=replace(note, signatures=note.signatures[:3])).check(
            leaves[2], policy
        )
    with pytest.raises(NoteError, match="signed"):
        replace(proof, checkpoint=replace(note, signatures=note.signatures[1:])).check(
            leaves[2], policy
        )
    another = Policy.of(signer("ledger.example/another").verifier, policy.witnesses)
    with pytest.raises(NoteError, match="not one of the policy"):
        proof.check(leaves[2], another)
    for line in ("index 2", "index x", "index 02", "c2sp.org/tlog-proof@v2", "extra !"):
        broken = str(proof).splitlines()
        broken[0 if "tlog" in line else 1 if "extra" in line else 2] = line
        if line != "index 2":
            with pytest.raises(NoteError):
                TlogProof.parse("\n".join(broken) + "\n")


def test_policies_have_groups_of_groups() -> None:
    keys = {n: signer(f"w.example/{n}", SignatureType.COSIGNATURE).verifier for n in "abcde"}
    lines = "\n".join(f"witness {n} {key}" for n, key in keys.items())
    policy = Policy.parse(
        f"# an example\nlog {signer(ORIGIN).verifier} https://ledger.example\n\n{lines}\n"
        "group x 2 a b c\ngroup y any d e\n  group both\tall x y \nquorum both\n"
    )
    for cosigned, met in [("abd", True), ("ab", False), ("ade", False), ("bce", True), ("", False)]:
        assert policy.is_met(dict.fromkeys(cosigned)) is met
    assert Policy.parse(str(policy)) == policy


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("", "no quorum"),
        ("quorum x", "not defined"),
        ("quorum none\nquorum none", "no line"),
        ("log KEY\nlog KEY\nquorum none", "twice"),
        ("witness a KEY\nquorum none", "another type"),
        ("witness a COSIGNER\nwitness a OTHER\nquorum a", "taken"),
        ("witness a COSIGNER\ngroup g 2 a\nquorum g", "is no quorum"),
        ("witness a COSIGNER\ngroup g 0 a\nquorum g", "is no quorum"),
        ("witness a COSIGNER\ngroup g x a\nquorum g", "no threshold"),
        ("witness none COSIGNER\nquorum none", "taken"),
        ("logs KEY\nquorum none", "no line"),
    ],
)
def test_what_is_no_policy_is_refused(lines: str, why: str) -> None:
    for word, kind in (
        ("KEY", SignatureType.ED25519),
        ("COSIGNER", SignatureType.COSIGNATURE),
        ("OTHER", SignatureType.COSIGNATURE),
    ):
        lines = lines.replace(word, str(signer("name.example", kind).verifier))
    with pytest.raises(PolicyError, match=why):
        Policy.parse(lines)
