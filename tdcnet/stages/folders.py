"""Whether the run's folder can be written to, before anything is done."""

from __future__ import annotations

import sys
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from tdcnet.callbacks.checkpoint_io import NotSaved, check_folder


class CheckFolder(Callback):
    """Says in one line what Hydra would say by a traceback."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tries the folder of a run."""
        self._check(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Tries the folder of a sweep."""
        self._check(config.hydra.sweep.dir)

    def _check(self, folder: str) -> None:
        try:
            check_folder(folder)
        except NotSaved as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
