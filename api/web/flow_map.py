"""The flow of cases between countries as a map: an SVG that the server makes, without a script.

Countries stand on a circle, in the order of their codes: the map shows relations and no geography.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import cos, hypot, pi, sin

from api.paper.subject_access.wording import Wording
from projections.folds.caseload_indicators import Flow

WIDTH, HEIGHT = 640, 420
_RADIUS_X, _RADIUS_Y = 210.0, 140.0
_NODE_RADIUS = 26.0
_BEND = 0.18
"""How far an arrow bends to its side, as a share of its length: two directions stay apart."""
_THINNEST, _THICKEST = 2.0, 12.0


@dataclass(frozen=True, slots=True)
class Place:
    """A country on the map, in SVG units."""

    code: str
    name: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Arrow:
    """The cases from one country to another, in SVG units."""

    origin: str
    destination: str
    cases: int
    path: str
    width: float
    label_x: float
    label_y: float
    head: str
    """The points of the arrow's head."""


@dataclass(frozen=True, slots=True)
class FlowMap:
    """The countries and arrows of a map; without any arrow nothing is drawn."""

    places: Sequence[Place]
    arrows: Sequence[Arrow]

    @property
    def view_box(self) -> str:
        """Return the part of the drawing that has something in it: two countries are one line."""
        heights = [*(p.y for p in self.places), *(a.label_y for a in self.arrows)]
        top, bottom = min(heights, default=0.0) - 40, max(heights, default=0.0) + 60
        return f"0 {top:.0f} {WIDTH} {bottom - top:.0f}"


def flow_map(flows: Iterable[Flow], words: Wording) -> FlowMap:
    """Return the map of the flows, the sum of all stages for each pair of countries."""
    cases: Counter[tuple[str, str]] = Counter()
    for one in flows:
        cases[one.origin, one.destination] += one.cases
    codes = sorted({code for pair in cases for code in pair})
    places = {code: _place(number, code, len(codes), words) for number, code in enumerate(codes)}
    most = max(cases.values(), default=1)
    return FlowMap(
        places=tuple(places.values()),
        arrows=tuple(
            _arrow(places[origin], places[destination], number, most)
            for (origin, destination), number in sorted(cases.items())
        ),
    )


def _place(number: int, code: str, countries: int, words: Wording) -> Place:
    angle = pi + 2 * pi * number / countries
    x, y = WIDTH / 2 + _RADIUS_X * cos(angle), HEIGHT / 2 + _RADIUS_Y * sin(angle)
    return Place(code, words.country(code), round(x, 1), round(y, 1))


def _arrow(start: Place, end: Place, cases: int, most: int) -> Arrow:
    dx, dy = end.x - start.x, end.y - start.y
    length = hypot(dx, dy)
    side_x, side_y = -dy / length, dx / length
    middle_x = (start.x + end.x) / 2 + side_x * length * _BEND
    middle_y = (start.y + end.y) / 2 + side_y * length * _BEND
    width = _THINNEST + (_THICKEST - _THINNEST) * cases / most
    head = 10.0 + width
    from_x, from_y = _towards(start.x, start.y, middle_x, middle_y, _NODE_RADIUS)
    tip_x, tip_y = _towards(end.x, end.y, middle_x, middle_y, _NODE_RADIUS + 2)
    base_x, base_y = _towards(end.x, end.y, middle_x, middle_y, _NODE_RADIUS + 2 + head)
    back_x, back_y = (base_x - tip_x) / head, (base_y - tip_y) / head
    half = head * 0.6
    corners = (
        (tip_x, tip_y),
        (base_x - back_y * half, base_y + back_x * half),
        (base_x + back_y * half, base_y - back_x * half),
    )
    return Arrow(
        origin=start.code,
        destination=end.code,
        cases=cases,
        path=f"M{from_x:.1f} {from_y:.1f} Q{middle_x:.1f} {middle_y:.1f} {base_x:.1f} {base_y:.1f}",
        width=round(width, 1),
        # Half-way on the curve, and a little further to its side.
        label_x=round((start.x + end.x) / 4 + middle_x / 2 + side_x * (width / 2 + 10), 1),
        label_y=round((start.y + end.y) / 4 + middle_y / 2 + side_y * (width / 2 + 10), 1),
        head=" ".join(f"{x:.1f},{y:.1f}" for x, y in corners),
    )


def _towards(x: float, y: float, to_x: float, to_y: float, by: float) -> tuple[float, float]:
    length = hypot(to_x - x, to_y - y)
    return x + (to_x - x) * by / length, y + (to_y - y) * by / length
