"""QR codes of links (ISO/IEC 18004): bytes at error correction level M, versions 1 to 10.

A person points the camera of a second device at the code instead of typing a link of 80 characters.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, zip_longest

Matrix = list[list[bool]]
_Grid = list[list[bool | None]]
"""Modules by row; ``None`` where the data goes."""

_BLOCKS = {
    1: (10, (16,)),
    2: (16, (28,)),
    3: (26, (44,)),
    4: (18, (32,) * 2),
    5: (24, (43,) * 2),
    6: (16, (27,) * 4),
    7: (18, (31,) * 4),
    8: (22, (38, 38, 39, 39)),
    9: (22, (36, 36, 36, 37, 37)),
    10: (26, (43, 43, 43, 43, 44)),
}
"""By version: error correction codewords of each block, and the data codewords of the blocks."""
_ALIGNED: dict[int, tuple[int, ...]] = {
    1: (),
    **{version: (6, 10 + 4 * version) for version in range(2, 7)},
    7: (6, 22, 38),
    8: (6, 24, 42),
    9: (6, 26, 46),
    10: (6, 28, 50),
}
_LONG_FROM, _VERSION_FROM = 10, 7
"""From these versions on the length has 16 bits, and the code names its version."""
_QUIET = 4
"""Modules of the empty margin."""
_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda y, x: (y + x) % 2 == 0,
    lambda y, _: y % 2 == 0,
    lambda _, x: x % 3 == 0,
    lambda y, x: (y + x) % 3 == 0,
    lambda y, x: (y // 2 + x // 3) % 2 == 0,
    lambda y, x: y * x % 2 + y * x % 3 == 0,
    lambda y, x: (y * x % 2 + y * x % 3) % 2 == 0,
    lambda y, x: ((y + x) % 2 + y * x % 3) % 2 == 0,
)
_FINDER_LIKE = (True, False, True, True, True, False, True)


def qr_code(text: str) -> Matrix:
    """Return the modules of a text's code, by row; ``True`` is dark.

    Raises ``ValueError`` if the text is longer than 213 bytes.
    """
    content = text.encode()
    version = next((v for v in _BLOCKS if len(content) <= _room(v)), None)
    if version is None:
        raise ValueError("this text is too long for a code")
    grid = _frame(version)
    cells = list(_way(grid))
    bits = chain(_bits(_codewords(content, version)), iter(lambda: False, None))
    data = dict(zip(cells, bits, strict=False))
    found = (_masked(grid, data, number, version) for number in range(len(_MASKS)))
    return min(found, key=_penalty)


def svg_path(matrix: Matrix) -> tuple[int, str]:
    """Return the width of a code with its margin, in modules, and the path of its dark modules."""
    dark = (
        f"M{x + _QUIET} {y + _QUIET}h1v1h-1z"
        for y, row in enumerate(matrix)
        for x, is_dark in enumerate(row)
        if is_dark
    )
    return len(matrix) + 2 * _QUIET, "".join(dark)


def _room(version: int) -> int:
    """Return how many bytes of text a version holds."""
    return sum(_BLOCKS[version][1]) - (3 if version >= _LONG_FROM else 2)


def _codewords(content: bytes, version: int) -> Sequence[int]:
    """Return the data and error correction codewords, interleaved by block."""
    corrections, sizes = _BLOCKS[version]
    long = version >= _LONG_FROM
    head = f"0100{len(content):0{16 if long else 8}b}"
    bits = head + "".join(f"{byte:08b}" for byte in content) + "0000"
    data = [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]
    data += [(0xEC, 0x11)[at % 2] for at in range(sum(sizes) - len(data))]
    blocks, start = [], 0
    for size in sizes:
        blocks.append(data[start : start + size])
        start += size
    corrected = [_correction(block, corrections) for block in blocks]
    columns = chain(zip_longest(*blocks), zip_longest(*corrected))
    return [word for column in columns for word in column if word is not None]


def _bits(words: Sequence[int]) -> Iterator[bool]:
    return (bool(word >> shift & 1) for word in words for shift in range(7, -1, -1))


def _times(one: int, other: int) -> int:
    """Multiply in GF(256) with the polynomial 0x11D."""
    product = 0
    for shift in range(7, -1, -1):
        product = product << 1 ^ (product >> 7) * 0x11D
        product ^= (other >> shift & 1) * one
    return product


def _correction(data: Sequence[int], degree: int) -> list[int]:
    """Return the Reed-Solomon codewords of a block."""
    divisor = [0] * (degree - 1) + [1]
    root = 1
    for _ in range(degree):
        divisor = [
            _times(factor, root) ^ (divisor[at + 1] if at + 1 < degree else 0)
            for at, factor in enumerate(divisor)
        ]
        root = _times(root, 2)
    rest = [0] * degree
    for word in data:
        factor = word ^ rest[0]
        rest = [one ^ _times(by, factor) for one, by in zip([*rest[1:], 0], divisor, strict=True)]
    return rest


def _frame(version: int) -> _Grid:
    """Return the code without its data: finders, timing, alignment, and what is reserved."""
    size = 17 + 4 * version
    grid: _Grid = [[None] * size for _ in range(size)]

    def square(cy: int, cx: int, half: int, is_dark: Callable[[int], bool]) -> None:
        for y in range(max(0, cy - half), min(size, cy + half + 1)):
            for x in range(max(0, cx - half), min(size, cx + half + 1)):
                grid[y][x] = is_dark(max(abs(y - cy), abs(x - cx)))

    for at in range(size):
        grid[6][at] = grid[at][6] = at % 2 == 0
    for cy, cx in ((3, 3), (3, size - 4), (size - 4, 3)):
        square(cy, cx, 4, lambda distance: distance not in (2, 4))
    centres = _ALIGNED[version]
    for cy in centres:
        for cx in centres:
            if (cy, cx) not in ((6, 6), (6, centres[-1]), (centres[-1], 6)):
                square(cy, cx, 2, lambda distance: distance != 1)
    for (y, x), _ in chain(_format_cells(size, 0), _version_cells(size, version)):
        grid[y][x] = False
    return grid


def _remainder(value: int, divisor: int, degree: int) -> int:
    """Return a value with its BCH bits after it."""
    rest = value << degree
    while rest.bit_length() > degree:
        rest ^= divisor << rest.bit_length() - divisor.bit_length()
    return value << degree | rest


def _format_cells(size: int, mask: int) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield the cells that name level M and the mask, twice, and the one that is always dark."""
    bits = _remainder(mask, 0x537, 10) ^ 0x5412  # level M is 0
    rows = [*range(6), 7, 8]
    first = [*((y, 8) for y in rows), (8, 7), *((8, x) for x in range(5, -1, -1))]
    second = [
        *((8, size - 1 - at) for at in range(8)),
        *((size - 15 + at, 8) for at in range(8, 15)),
    ]
    for at in range(15):
        for cell in (first[at], second[at]):
            yield cell, bool(bits >> at & 1)
    yield (size - 8, 8), True


def _version_cells(size: int, version: int) -> Iterator[tuple[tuple[int, int], bool]]:
    """Yield the cells that name the version, twice, where the code names it."""
    if version < _VERSION_FROM:
        return
    bits = _remainder(version, 0x1F25, 12)
    for at in range(18):
        y, x = at // 3, size - 11 + at % 3
        yield (y, x), bool(bits >> at & 1)
        yield (x, y), bool(bits >> at & 1)


def _way(grid: _Grid) -> Iterator[tuple[int, int]]:
    """Yield the free cells in the order of the data: up and down, in columns of two."""
    size = len(grid)
    upward = True
    for right in (*range(size - 1, 6, -2), 5, 3, 1):
        for step in range(size):
            y = size - 1 - step if upward else step
            for x in (right, right - 1):
                if grid[y][x] is None:
                    yield y, x
        upward = not upward


def _masked(grid: _Grid, data: dict[tuple[int, int], bool], number: int, version: int) -> Matrix:
    mask = _MASKS[number]
    matrix = [
        [data[y, x] ^ mask(y, x) if cell is None else cell for x, cell in enumerate(row)]
        for y, row in enumerate(grid)
    ]
    named = chain(_format_cells(len(grid), number), _version_cells(len(grid), version))
    for (y, x), is_dark in named:
        matrix[y][x] = is_dark
    return matrix


def _penalty(matrix: Matrix) -> int:
    """Return how hard a code is to read: the mask with the least is taken."""
    lines = [*matrix, *(list(column) for column in zip(*matrix, strict=True))]
    score = sum(map(_penalty_of_line, lines))
    size = len(matrix)
    for y in range(size - 1):
        for x in range(size - 1):
            four = {matrix[y][x], matrix[y][x + 1], matrix[y + 1][x], matrix[y + 1][x + 1]}
            score += 3 * (len(four) == 1)
    dark = sum(map(sum, matrix))
    return score + 10 * int(abs(dark * 20 - size * size * 10) // (size * size))


def _penalty_of_line(line: Sequence[bool]) -> int:
    score, run = 0, 1
    for before, now in zip(line, [*line[1:], None], strict=True):
        if before is now:
            run += 1
            continue
        score += run - 2 if run >= 5 else 0
        run = 1
    light = (False,) * 4
    for at in range(len(line) - 6):
        if tuple(line[at : at + 7]) != _FINDER_LIKE:
            continue
        before_it = tuple(line[max(0, at - 4) : at])
        after_it = tuple(line[at + 7 : at + 11])
        if before_it == light or after_it == light:
            score += 40
    return score
