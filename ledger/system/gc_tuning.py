"""Makes Python's garbage collector look for cycles seldom, and never among objects that stay."""

import gc

SELDOM, SERVING = 50_000, 3_000
"""So many new objects: where nothing waits meanwhile, and where requests do."""


def collect_seldom(new_objects: int = SELDOM) -> None:
    """Exempt all present objects from garbage collection, and collect new ones more seldom.

    To look at all that a node has loaded takes a tenth of a second, for which every request waits;
    and so does freeing 50,000 objects of pages.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(new_objects)
