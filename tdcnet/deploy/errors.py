"""What can be wrong with a file that holds a network."""

from __future__ import annotations


class CheckpointError(RuntimeError):
    """A checkpoint that cannot be read, is refused, or is of another network; the message says what to do."""
