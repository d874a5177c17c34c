"""The app that train.py and the command ``tdcnet`` run: Hydra's config in, a stage's results out."""

from __future__ import annotations

import logging
import math
import os
import sys
import threading
import warnings
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console
from rich.text import Text

from tdcnet import stages
from tdcnet.allocator import keep_freed_memory
from tdcnet.callbacks import processes
from tdcnet.callbacks.checkpoint_io import NotSaved
from tdcnet.callbacks.reparam import ReparamError
from tdcnet.callbacks.signals import Stopped, stop_anywhere
from tdcnet.cli import split_flags
from tdcnet.config_folder import config_folder
from tdcnet.data.alignment import AlignmentWarning
from tdcnet.data.errors import DataError
from tdcnet.data.formats.foreign import of_name
from tdcnet.deploy.graph import ExportError
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.weights import CheckpointError
from tdcnet.finite import NonFinite
from tdcnet.run_folder import read_figure
from tdcnet.shown import lines
from tdcnet.stages.overrides import quote_paths
from tdcnet.stages.runs import RunsFailed, run_alone
from tdcnet.stages.secrets import hidden

# Lightning's own affairs, or about settings that are meant.
for message in (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "The '.*' does not have many workers",
    "The number of training batches .* is smaller than the logging interval",
    "Using `DistributedSampler` with the dataloaders",  # figures count each frame once all the same
):
    warnings.filterwarnings("ignore", message)

# What a user can mend: told in one message. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (
    *(DataError, CheckpointError, NotSaved, NonFinite, ReparamError, RunsFailed),
    *(ExportError, MissingPackage, OSError, ValueError, MisconfigurationException),
)

THREADS = threading.excepthook
ARGUMENTS: list[str] = []
"""Of this process."""
FAILED: list[str] = []
"""Folders of a sweep's runs that came to no end."""
PLAIN_WARNING = warnings.formatwarning


@hydra.main(version_base="1.3", config_path=str(config_folder()), config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Runs the stage, or one of a sweep; its AP50."""
    if not processes.is_first():
        logging.getLogger().setLevel(logging.WARNING)  # the first process speaks for all
    # A full disk is told once, not by every line of the log and every thread that writes.
    logging.raiseExceptions = False
    threading.excepthook = lambda found: None if isinstance(found.exc_value, OSError) else THREADS(found)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return _alone(list(HydraConfig.get().overrides.task), str(HydraConfig.get().runtime.output_dir))
    failed = True
    try:
        metrics, _ = stages.run(cfg, list(HydraConfig.get().overrides.task))
        failed = False
    except Stopped as error:
        if processes.is_first():
            tell(error)
        sys.exit(128 + error.signum)
    except Exception as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if not isinstance(cause, USER_ERRORS) or not processes.is_first():
            processes.wait_for_the_culprit()  # of several processes: what all have is told once
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not isinstance(cause, USER_ERRORS):
            raise
        tell(cause, "(HYDRA_FULL_ERROR=1 shows where it arose)")
        sys.exit(1)
    finally:
        processes.finish(failed)
    return metrics.get("AP50")


def _alone(options: list[str], output: str) -> float | None:
    """Runs one of a sweep in a process of its own, as those of a comparison: one that fails or is left in a state that
    the next would stumble over, as processes that train together are, takes nothing with it. Its AP50, if it ended."""
    flags = [flag for flag in split_flags(ARGUMENTS)[0] if flag not in ("-m", "--multirun")]
    if run_alone([*flags, *options], Path(output)):
        FAILED.append(output)
        return None
    return read_figure(Path(output), "AP50") if (Path(output) / "metrics.json").is_file() else math.nan


def tell(message: object, hint: str = "") -> None:
    """One line on what ended the run."""
    console = Console(stderr=True, soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), lines(message)), highlight=False)
    if hint:
        console.print(Text(hint, "dim"))


def as_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning about the data as one line; others tell where in the code they arose."""
    if issubclass(category, AlignmentWarning):
        return f"WARNING: {lines(message)}\n"
    return PLAIN_WARNING(message, category, filename, lineno, line)


def run() -> None:
    """Runs the stage that the command line asks for."""
    for word in sys.argv[1:]:  # Hydra would list its own, and not say how to convert
        if word.startswith("dataset=") and (said := of_name(word.partition("=")[2])):
            sys.exit(f"error: {word}: {said}")
    keep_freed_memory()
    warnings.formatwarning = as_line
    try:
        sys.argv[1:] = hidden(quote_paths(sys.argv[1:]))
    except ValueError as error:
        sys.exit(f"error: {error}")
    ARGUMENTS[:], FAILED[:] = sys.argv[1:], []
    processes.begin()
    stop_anywhere()
    main()
    if FAILED:
        sys.exit(f"error: {len(FAILED)} runs of the sweep failed: {', '.join(FAILED)}. What they said is above")


if __name__ == "__main__":
    run()
