"""What arguments of layers must be; each message says what came and what to choose."""

from __future__ import annotations

from collections.abc import Iterable


def check_divides(total: int, parts: int, names: str) -> None:
    """Raises ValueError unless ``parts`` divides ``total``; ``names`` says what the two are, "channels into heads"."""
    if parts < 1 or total % parts:
        raise ValueError(f"cannot split {names}: {total} is no multiple of {parts}; choose a divisor of {total}")


def check_odd(**kernels: int) -> None:
    """Raises ValueError unless all kernel sizes are odd: only those keep the size of the map."""
    for name, size in kernels.items():
        if size < 1 or size % 2 == 0:
            raise ValueError(f"{name} must be odd and positive, got {size}; choose {max(size, 0) + 1}, for example")


def check_positive(**numbers: int) -> None:
    """Raises ValueError unless all are at least 1."""
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} must be at least 1, got {number}; choose a larger one")


def check_option(name: str, value: object, allowed: Iterable[object]) -> None:
    """Raises ValueError unless ``value`` is among ``allowed``."""
    if value not in (allowed := list(allowed)):
        raise ValueError(f"unknown {name} {value!r}; choose one of {', '.join(map(repr, allowed))}")
