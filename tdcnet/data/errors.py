"""What happens when an input is bad: one exception, one policy, one place that counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

from tdcnet.shown import printable

log = logging.getLogger(__name__)

Policy = Literal["error", "skip"]


class DataError(ValueError):
    """A file, a line or a frame that cannot be used.

    The message names where it is, what was expected, what came, and what to do about it.
    """


MOST_TOLD = 20
"""Bad entries of a split that are each told in a line."""
_LONGEST = 1000
"""Characters of one fault; what is quoted from a file may be of any length."""


@dataclass
class Problems:
    """Collects what is wrong with a data set, or stops at the first of it.

    Args:
        policy: ``"error"`` raises :class:`DataError` at the first problem, ``"skip"`` logs a warning, counts it
            and lets the caller leave the frame or box out.

    Attributes:
        found: the messages.
        repeated: boxes that repeat another of their frame and are not counted again; no problem, but to be told.
        repeated_at: the first of them.
    """

    policy: Policy = "error"
    found: list[str] = field(default_factory=list)
    repeated: int = 0
    repeated_at: str = ""

    def __post_init__(self) -> None:
        if self.policy not in ("error", "skip"):
            raise ValueError(f"on_bad_frame is {self.policy!r}; allowed are 'error' and 'skip'")

    def report(self, where: object, what: str, remedy: str) -> None:
        """Notes that ``where`` (a path, ``path:line`` or ``path, frame n``) is bad.

        Raises:
            DataError: if the policy is ``"error"``.
        """
        message = f"{_short(where)}: {_short(what.replace(f'({where}: ', '('))}. {remedy}"
        if self.policy == "error":
            raise DataError(f"{message} (dataset.on_bad_frame=skip leaves such frames out and counts them)")
        self.found.append(message)
        if len(self.found) <= MOST_TOLD:
            log.warning("skipped: %s", message)
        if len(self.found) == MOST_TOLD:
            log.warning("skipped: what else there is of this kind is only counted")

    def repeat(self, where: object) -> None:
        """Counts a box that repeats another."""
        self.repeated += 1
        self.repeated_at = self.repeated_at or _short(where)

    def tell_repeated(self, where: object) -> None:
        """Says in one line how many boxes repeat others, and starts to count anew."""
        if self.repeated:
            log.warning(
                "%s: %d boxes repeat another of the same class and frame, such as that of %s; each target counts once",
                where,
                self.repeated,
                self.repeated_at,
            )
        self.repeated, self.repeated_at = 0, ""


def _short(value: object) -> str:
    text = printable(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 300]} .. {text[-280:]}"
