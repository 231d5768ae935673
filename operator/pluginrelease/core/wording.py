"""How messages write numbers."""

from __future__ import annotations


def count_noun(number: int, one: str, several: str = "") -> str:
    """Return a number with its noun: 1 layer, 2 layers. ``several`` is the plural if it is not ``one`` with an s."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"
