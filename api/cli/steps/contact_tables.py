"""The message on a recorded contact point."""

from api.client.schemas import ContactPointDocument


def contact_line(one: ContactPointDocument) -> str:
    """Return one contact point as a line of text."""
    reached = filter(None, (one.office.email, one.office.telephone, one.office.address))
    until = f", ended at {one.ended_at}" if one.ended_at is not None else ""
    rank = "deputy" if one.deputy else "contact point"
    card = one.card
    person = (card.full_name, card.telephone_24h, card.email) if card is not None else ()
    held_by = f"; held by {', '.join(part for part in person if part)}" if any(person) else ""
    return (
        f"{one.id}  {one.party} {rank}: {one.function}, {one.agency};"
        f" {', '.join(reached)}; {', '.join(one.languages)}; since {one.since}{until}{held_by}"
    )
