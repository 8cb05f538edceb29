"""The code that a second device's camera reads."""

import hashlib

import pytest

from api.web.qr_code import qr_code, svg_path


@pytest.mark.parametrize(
    ("text", "width", "digest"),
    [
        (
            "https://node.example/join#" + "A" * 43,
            37,
            "fb7f86469c2fcd13a40ad0e5e12ed5235e9ce0d3c54999c6937119bd8c4f1b89",
        ),
        (
            "https://a.example/" + "b" * 170,
            57,
            "c646633ea0e4b5238a925af3121be0a4bd333c9e1a82b033dc514b3915f8d965",
        ),
    ],
)
def test_a_link_becomes_the_modules_that_another_program_makes_of_it(
    text: str, width: int, digest: str
) -> None:
    """PyPI's ``qrcode`` makes the same modules; a code has no other form but its mask."""
    matrix = qr_code(text)
    modules = "".join("01"[is_dark] for row in matrix for is_dark in row)
    assert len(matrix) == width
    assert hashlib.sha256(modules.encode()).hexdigest() == digest


def test_a_code_has_a_margin_and_a_longest_text() -> None:
    width, path = svg_path(qr_code("a"))
    assert width == 21 + 8
    assert path.startswith("M4 4h1v1h-1z")
    with pytest.raises(ValueError, match="too long"):
        qr_code("a" * 214)
