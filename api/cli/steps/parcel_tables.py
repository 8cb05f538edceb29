"""Decide on refused parcels, and show parcels that wait."""

from collections.abc import Sequence
from uuid import UUID

from rich import box
from rich.table import Table

from api.cli.output import fail, out, print_json
from api.client.schemas.health import Side
from api.exchange.parcel_standing import ParcelsStanding, WithoutKeys
from api.http.documents import parcels_waiting
from ledger.system import clock
from ledger.vault.arrived_parcels import RefusedParcels
from ledger.vault.sent_parcels import SentParcel

_AT_MOST = 200
_SIDES = {
    Side.MAILBOX: "in this mailbox",
    Side.SENT: "sent, not acknowledged",
    Side.RECEIVED: "waits for this country",
}


def decide_parcel(
    countries: Sequence[WithoutKeys], send_again: list[UUID], give_up: list[UUID], as_json: bool
) -> None:
    """Send refused parcels again, or give them up, as the operator decides."""
    again = sum(country.sent.send_again(send_again) for country in countries)
    dropped = sum(country.sent.give_up(give_up) for country in countries)
    if again + dropped < len({*send_again, *give_up}):
        fail("not every id is of a parcel that is sent again or was not believed; see the list")
    if as_json:
        print_json({"sent_again": again, "given_up": dropped})
    else:
        out.print(f"{again} to be sent again, {dropped} given up.")


def show_parcels(
    countries: Sequence[WithoutKeys], standing: tuple[ParcelsStanding, ...], as_json: bool
) -> None:
    """Print the parcels that wait, were sent, or were refused."""
    repeated = [(v.party, one) for v in countries for one in v.sent.repeated(_AT_MOST)]
    not_believed = [(v.party, one) for v in countries for one in v.sent.not_believed(_AT_MOST)]
    refused = [(v.party, one) for v in countries for one in v.arrived.refused()]
    if as_json:
        print_json(
            {
                "waiting": [parcels_waiting(one).model_dump(mode="json") for one in standing],
                "sent_again": [_named(party, one) for party, one in repeated],
                "not_believed": [_named(party, one) for party, one in not_believed],
                "refused_here": [
                    {
                        "recipient": party,
                        "sender": one.sender,
                        "reason": one.reason,
                        "parcels": one.parcels,
                        "last_at": one.last_at.isoformat(),
                    }
                    for party, one in refused
                ],
            }
        )
        return
    if not (standing or repeated or not_believed or refused):
        out.print("[green]Nothing waits, and nothing was refused.[/]")
    if standing:
        out.print(_standing_table(standing))
    if repeated:
        out.print(_sent_table("Being sent again", repeated))
    if not_believed:
        out.print(_sent_table("Not believed by the recipient", not_believed))
    if refused:
        out.print(_refused_table(refused))


def _named(party: str, one: SentParcel) -> dict[str, object]:
    return {
        "parcel": str(one.id),
        "sender": party,
        "recipient": one.recipient,
        "kind": one.kind,
        "about": str(one.about) if one.about else None,
        "queued_at": one.queued_at.isoformat(),
        "tries": one.tries,
        "reason": one.reason,
    }


def _standing_table(standing: tuple[ParcelsStanding, ...]) -> Table:
    table = Table("where", "from", "to", "parcels", "oldest", box=box.SIMPLE, title="Waiting")
    now = clock.now()
    for one in standing:
        hours = (now - one.oldest_at).total_seconds() / 3600
        since = f"{one.oldest_at:%d %b %Y %H:%M} UTC ({hours:.1f} hours)"
        table.add_row(_SIDES[one.side], one.sender, one.recipient, str(one.parcels), since)
    return table


def _sent_table(title: str, found: list[tuple[str, SentParcel]]) -> Table:
    table = Table("parcel", "from", "to", "kind", "tries", "why", box=box.SIMPLE, title=title)
    for party, one in found:
        table.add_row(str(one.id), party, one.recipient, one.kind, str(one.tries), one.reason or "")
    return table


def _refused_table(refused: list[tuple[str, RefusedParcels]]) -> Table:
    table = Table("from", "to", "why", "parcels", "last", box=box.SIMPLE, title="Refused here")
    for party, one in refused:
        last = f"{one.last_at:%d %b %Y %H:%M} UTC"
        table.add_row(one.sender, party, one.reason, str(one.parcels), last)
    return table
