"""Folders that a run writes to, looked at before the work instead of after it."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tdcnet.files import FolderError, check_writable
from tdcnet.shown import lines


class CheckOutput(Callback):
    """Hydra makes the run's folder before anything of ours begins: what hinders it is told in one line."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a single run."""
        self._check(config.hydra.run.dir, "hydra.run.dir")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Before a sweep."""
        self._check(config.hydra.sweep.dir, "hydra.sweep.dir")

    def _check(self, folder: str, option: str) -> None:
        try:
            check_writable(folder, f"The run is written there; {option} or paths.log_dir names another folder")
        except FolderError as error:
            Console(stderr=True, soft_wrap=True).print(
                Text.assemble(("error: ", "bold red"), lines(error)), highlight=False
            )
            sys.exit(1)


def check_folders(cfg: DictConfig) -> None:
    """Sees to it that a stage can write where it is going to.

    Raises:
        FolderError: naming the folder, and the option that names another one.
    """
    dataset = cfg.get("dataset") or DictConfig({})
    ahead = cfg.stage.name not in ("predict", "track", "live") and dataset.get("align") == "ahead"
    if ahead and dataset.get("homography_dir"):
        check_writable(
            dataset.homography_dir, "Homographies are kept there; dataset.homography_dir names another folder"
        )
    if dataset.get("decode") == "ahead" and dataset.get("cache_dir"):
        check_writable(dataset.cache_dir, "Decoded frames are kept there; dataset.cache_dir names another folder")
    logger = cfg.get("logger") or DictConfig({})
    if logger.get("save_dir"):
        check_writable(logger.save_dir, "The logger writes there; logger.save_dir names another folder")
