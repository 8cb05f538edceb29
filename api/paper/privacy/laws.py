"""The data-protection law of a country, as far as published overviews tell of it.

Nobody read the laws themselves for this table. Each entry names where its facts are from, and the
papers say so. A country that is not here gets a blank.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataProtectionLaw:
    """A law, its supervisory authority, and what is known of it."""

    title: str
    authority: str
    known: str
    sources: tuple[str, ...]


_OVERVIEWS = "https://www.dlapiperdataprotection.com/"

LAWS: Mapping[str, DataProtectionLaw] = {
    "XK": DataProtectionLaw(
        "Law No. 06/L-082 on Protection of Personal Data",
        "Information and Privacy Agency",
        "The overview says that it transposes the GDPR, and that its Article 31 is on security of"
        " processing.",
        (f"{_OVERVIEWS}index.html?t=authority&c=XK", f"{_OVERVIEWS}index.html?t=security&c=XK"),
    ),
    "AL": DataProtectionLaw(
        "Law No. 124/2024 on Personal Data Protection (Official Gazette No. 9, 17 January 2025)",
        "Information and Data Protection Commissioner",
        "The overviews say that it aligns with the GDPR and with Directive (EU) 2016/680, and that"
        " some articles apply two years after the others.",
        (
            f"{_OVERVIEWS}index.html?t=world-map&c=AL/",
            "https://launch.kpmg.com/al/en/home/insights/2025/02/new-law-on--personal-data-protection-.html",
        ),
    ),
    "ME": DataProtectionLaw(
        "Personal Data Protection Law (Official Gazette of Montenegro Nos. 79/08, 70/09, 44/12,"
        " 22/17 and 77/24)",
        "Agency for Personal Data Protection and Free Access to Information",
        "The overviews say that it is older than the GDPR and differs from it, that a new law is"
        " drafted, and that controllers register their filing systems with the agency.",
        (
            "https://www.globallegalpost.com/lawoverborders/data-protection-1072382791/montenegro-1618390398",
            f"{_OVERVIEWS}index.html?t=law&c=ME",
            "https://www.azlp.me/en/personal-data-protection",
        ),
    ),
}
