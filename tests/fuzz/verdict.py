"""Whether what came of an input is right."""

from __future__ import annotations

import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SECONDS = 5.0
MEMORY = 1 << 30
LONGEST = 3000
"""Characters of a message; nobody reads more."""

NO_MEMORY = ("nsufficient memory", "can't allocate", "Unable to allocate", "bad_alloc", "bad allocation")

FINE = ("named error", "counted skip", "made again", "equal", "other content")
FAILURES = ("raw exception", "unnamed error", "hang", "memory", "silently other", "crash")


@dataclass
class Verdict:
    """What came of one input.

    Attributes:
        kind: one of :data:`FINE` or :data:`FAILURES`.
        said: the message, or what is wrong.
        place: of a raw exception, file and line where it arose; failures of one kind and place are one finding.
    """

    kind: str
    said: str = ""
    place: str = ""

    @property
    def failed(self) -> bool:
        """Whether that must not be."""
        return self.kind in FAILURES

    def as_json(self) -> dict[str, str]:
        """For the pipe between the processes."""
        return asdict(self)


def of_error(error: BaseException, root: Path) -> Verdict:
    """The verdict of an exception: fine if it is one that is told in one message, and names a file of the input."""
    from tests.fuzz.contents import Wrong

    if isinstance(error, Wrong):
        return Verdict("silently other", str(error)[:LONGEST], traceback.extract_tb(error.__traceback__)[-1].line or "")
    text = f"{type(error).__name__}: {error}"
    chain, cause = [error], error.__cause__ or error.__context__
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = cause.__cause__ or cause.__context__
    # FFmpeg's own refuse a size that a file names before any memory is taken; what is taken is measured elsewhere.
    own = [each for each in chain if not type(each).__module__.startswith("av.")]
    if any(isinstance(each, MemoryError) or any(word in str(each) for word in NO_MEMORY) for each in own):
        return Verdict("memory", text[:LONGEST], place(error))
    named = _told(error)
    if not named:
        return Verdict("raw exception", text[:LONGEST], place(error))
    if str(root) not in text:
        return Verdict("unnamed error", text[:LONGEST], place(error))
    if len(text) > LONGEST:
        return Verdict("unnamed error", f"a message of {len(text)} characters: {text[:LONGEST]}", place(error))
    return Verdict("named error", text)


def of_content(found: str | None, pristine: str, skipped: int, exact: bool) -> Verdict:
    """The verdict of content that was read.

    Args:
        found: its digest; None if the reader said that there is nothing to use, and makes it again.
        pristine: of the valid input.
        skipped: problems that were counted.
        exact: whether the damaged files carry a checksum.
    """
    if found is None:
        return Verdict("made again")
    if found == pristine:
        return Verdict("equal")
    if skipped:
        return Verdict("counted skip")
    if exact:
        return Verdict("silently other", "other content was accepted, though the file has a checksum")
    return Verdict("other content")


def _told(error: BaseException) -> bool:
    # By name: the checkpoint's error needs torch.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"DataError", "CheckpointError", "OSError"})


def place(error: BaseException) -> str:
    """Where in this project an exception arose, and from what."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "/tdcnet/" in frame.filename and "/site-packages/" not in frame.filename]
    frame: Any = (own or frames)[-1] if frames else None
    where = f"{frame.filename.rpartition('/tdcnet/')[2]}:{frame.lineno} {frame.line}" if frame else ""
    return f"{type(error).__name__} at {where}"
