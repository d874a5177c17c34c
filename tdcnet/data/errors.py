"""What happens when an input is bad: one exception, one policy, one place that counts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Literal

log = logging.getLogger(__name__)

Policy = Literal["error", "skip"]


class DataError(ValueError):
    """A file, a line or a frame that cannot be used.

    The message names where it is, what was expected, what came, and what to do about it.
    """


@dataclass
class Problems:
    """Collects what is wrong with a data set, or stops at the first of it.

    Args:
        policy: ``"error"`` raises :class:`DataError` at the first problem, ``"skip"`` logs a warning, counts it
            and lets the caller leave the frame or box out.
    """

    policy: Policy = "error"
    found: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.policy not in ("error", "skip"):
            raise ValueError(f"on_bad_frame is {self.policy!r}; allowed are 'error' and 'skip'")

    def report(self, where: object, what: str, remedy: str) -> None:
        """Notes that ``where`` (a path, ``path:line`` or ``path, frame n``) is bad.

        Raises:
            DataError: if the policy is ``"error"``.
        """
        message = f"{where}: {what}. {remedy}"
        if self.policy == "error":
            raise DataError(f"{message} (dataset.on_bad_frame=skip leaves such frames out and counts them)")
        self.found.append(message)
        log.warning("skipped: %s", message)
