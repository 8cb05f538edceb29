"""Accessions: how a country becomes a party, by an amendment whose text names it.

- The text names the party with its agencies, and the keys and node with which it joins
  (:class:`~ledger.vocabulary.registration.Accession`). So every party signs the keys.
- The joining party accepts the text too. Its coordinator signs a statement with the key that the
  text names (``ledger.signing.accession_statement``), and a coordinator of a party records it.
- With the adoption, the keys of its coordinators and node and its country's key are registered.
  They count once the text is in force.
- A party that left joins again in the same way, with new keys. Its earlier keys end.

This is a reading of the procedure, not an official text.
"""

from collections.abc import Collection, Iterator
from datetime import datetime

from ledger.log.note import NoteError, SignatureType, VerifierKey
from ledger.procedure.protocol import COORDINATOR, Protocol
from ledger.refusals import unfit_text
from ledger.signing.country_key import CountryPublicKey
from ledger.signing.key_possession import check_proof
from ledger.signing.keys import check_grantable, from_public, key_id
from ledger.vocabulary.registration import Accession, KeyGrant

_OWN_WITNESS_EDITION = 2
"""The edition of the rules from which on a witness's key is compared by its bytes."""


def joining_parties(base: Protocol, text: Protocol) -> frozenset[str]:
    """Return the parties that ``text`` makes parties, or parties again, against ``base``."""
    before = {party.code: party.accession for party in base.parties}
    return frozenset(
        party.code
        for party in text.parties
        if party.accession is not None and party.accession != before.get(party.code)
    )


def accession_of(text: Protocol, party: str) -> Accession | None:
    """Return the keys and node with which a party joined; ``None`` for one of the first text."""
    named = text.parties_by_code.get(party)
    return None if named is None else named.accession


def coordinators_keys(text: Protocol, party: str) -> Iterator[KeyGrant]:
    """Yield the keys of a party's coordinators that its accession names."""
    accession = accession_of(text, party)
    for grant in () if accession is None else accession.keys:
        if text.agencies_by_id[grant.agency].role == COORDINATOR:
            yield grant


def check_accessions(
    base: Protocol,
    text: Protocol,
    left: Collection[str],
    registered: Collection[str],
    begins: datetime,
    of_policies: Collection[tuple[str | None, bytes]] = (),
) -> None:
    """Check the parties that a text adds to those of ``base``.

    ``left`` are the parties that left. ``registered`` has the id of each key that was ever
    registered. ``begins`` is the earliest time at which the text is in force. ``of_policies`` has
    the public key of each log and witness of the recorded policies, with the witness's name. Raises
    ``Refusal`` with the field at fault.
    """
    joining = joining_parties(base, text)
    before = {party.code: party.accession for party in base.parties}
    for place, party in enumerate(text.parties):
        where = f"parties.{place}"
        if party.code not in before and party.accession is None:
            raise unfit_text(
                where,
                f"{party.code} joins by its own signature: name its keys and its node"
                " (`accession`), as `case-ledger protocol join` writes them.",
            )
        is_changed = party.code in before and party.accession != before[party.code]
        if is_changed and (party.accession is None or party.code not in left):
            raise unfit_text(
                f"{where}.accession",
                f"The accession of {party.code} stays in the text as it was signed; its keys"
                " change by acts of its own.",
            )
    for place, party in enumerate(text.parties):
        if party.code in joining and party.accession is not None:
            where = f"parties.{place}.accession"
            _check_keys(text, party.accession, registered, begins, where)
            witness = _check_public_keys(text, party.code, party.accession, where)
            if text.edition >= _OWN_WITNESS_EDITION:
                _check_own_witness(text, party.code, witness, of_policies, where)


def _check_keys(
    text: Protocol,
    accession: Accession,
    registered: Collection[str],
    begins: datetime,
    where: str,
) -> None:
    for place, grant in enumerate(accession.keys):
        field = f"{where}.keys.{place}"
        try:
            check_grantable(grant.key)
        except ValueError as error:
            raise unfit_text(field, f"The key of {grant.agency} {error}.") from error
        check_proof(grant, text.id, f"act.protocol.{field}")
        if not grant.valid_from <= begins < grant.valid_until:
            raise unfit_text(
                field,
                f"The key of {grant.agency} is not valid on the text's first day: let the joining"
                " party name another.",
            )
        if key_id(from_public(grant.key)) in registered:
            raise unfit_text(
                field, f"The key of {grant.agency} is or was registered: it makes a new one."
            )


def _check_public_keys(text: Protocol, code: str, accession: Accession, where: str) -> VerifierKey:
    """Check the keys of a party's witness and country. Return that of the witness."""
    try:
        witness = VerifierKey.parse(accession.witness)
    except NoteError as error:
        raise unfit_text(f"{where}.witness", f"The key of {code}'s witness: {error}.") from error
    if witness.type is not SignatureType.COSIGNATURE:
        raise unfit_text(f"{where}.witness", f"The key of {code}'s witness cannot cosign.")
    others = {one.code: one.accession.witness for one in text.parties if one.accession is not None}
    if any(named == accession.witness for other, named in others.items() if other != code):
        raise unfit_text(f"{where}.witness", f"Another party has the key of {code}'s witness.")
    try:
        CountryPublicKey.from_text(accession.country_key)
    except ValueError as error:
        raise unfit_text(
            f"{where}.country_key", f"The key to which others seal for {code}: {error}."
        ) from error
    return witness


def _check_own_witness(
    text: Protocol,
    code: str,
    witness: VerifierKey,
    of_policies: Collection[tuple[str | None, bytes]],
    where: str,
) -> None:
    """Check that no other party's witness and no log has the key of a party's witness.

    The key counts by its bytes: the same key under another name cosigns for two. A party that joins
    again may keep the key that its own witness had. Raises ``Refusal``.
    """
    taken = {public for name, public in of_policies if name != code}
    for one in text.parties:
        if one.accession is not None and one.code != code:
            try:
                taken.add(VerifierKey.parse(one.accession.witness).public)
            except NoteError:  # a text of edition 1 may have it
                continue
    if witness.public in taken:
        raise unfit_text(
            f"{where}.witness",
            f"Another party's witness or the log has the key of {code}'s witness: let the joining"
            " party make a new one.",
        )
