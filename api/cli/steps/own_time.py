"""Moments as people write them: a time with its offset, or a day of the agency's country."""

from datetime import datetime, tzinfo

from api.runtime.settings import Settings
from ledger.procedure.time_zones import zone_of
from projections.time.bitemporal import beginning_of, end_of


def own_zone(agency: str | None) -> tzinfo:
    """Return the time zone of an agency's country, or without an agency that of this node's.

    It is UTC where the protocol of the settings knows neither.
    """
    settings = Settings()
    protocol = settings.load_protocol()
    if agency is not None:
        known = protocol.agencies_by_id.get(agency)
        return zone_of(protocol, known.party if known is not None else None)
    from api.keys.log_keys import own_parties  # a client has no libraries of a node

    parties = own_parties(settings)
    return zone_of(protocol, parties[0] if len(parties) == 1 else None)


def until(text: str | None, agency: str | None) -> datetime | None:
    """Return a time, or the last moment of a day of the agency's country.

    ``None`` stays ``None``. Raises ``ValueError`` that says how a time is written.
    """
    return None if text is None else end_of(text, own_zone(agency))


def since(text: str | None, agency: str | None) -> datetime | None:
    """Return a time, or the first moment of a day of the agency's country. Raises as ``until``."""
    return None if text is None else beginning_of(text, own_zone(agency))
