"""The bar of a running transfer, as text.

tqdm computes the line (share, rate, time left) and the terminal screen places it: one owner of the
cursor, so that bars and the live line can never garble each other.
"""

from __future__ import annotations

from tqdm.std import tqdm

from tmplbuild.ui.words import printable


def bar(
    label: str, done: int, total: int, *, first: int, elapsed_s: float, width: int, unicode: bool = True
) -> str:
    """One line of at most `width` columns.

    Parameters:
        label: what is transferred.
        done: bytes there now, of `total` (0: unknown).
        first: bytes that were there at the start (a resumed file): they do not count for the rate.
        elapsed_s: seconds since the start.
        unicode: use block characters, else "#".
    """
    return tqdm.format_meter(
        n=done,
        total=total or None,  # type: ignore[arg-type]  # tqdm takes None for "unknown"
        elapsed=max(elapsed_s, 0.0),
        ncols=max(width, 10),
        prefix=printable(label),
        ascii=not unicode,
        unit="B",
        unit_scale=True,
        initial=first,
    )
