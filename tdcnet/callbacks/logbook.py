"""TensorBoard's record of a training, which is not worth ending one for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

log = logging.getLogger(__name__)


class Logbook(TensorBoardLogger):
    """Lightning's, but a full disk ends the record and not the training, and the last evaluation stands in its file."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._broken = False

    def log_metrics(self, *args: Any, **options: Any) -> None:
        """Writes figures."""
        self._if_possible(super().log_metrics, *args, **options)

    def log_hyperparams(self, *args: Any, **options: Any) -> None:
        """Writes options."""
        self._if_possible(super().log_hyperparams, *args, **options)

    def save(self) -> None:
        """Writes what is to be written."""
        self._if_possible(super().save)

    def finalize(self, status: str) -> None:
        """Writes what is to be written at the end of a stage; another one may follow, in the same file."""
        if self._experiment is not None:
            self._if_possible(self._experiment.flush)
        if status == "success":
            self.save()

    def _if_possible(self, write: Callable[..., Any], *args: Any, **options: Any) -> None:
        if self._broken:
            return
        try:
            write(*args, **options)
        except OSError as error:
            self._broken = True
            log.warning("no more is written to %s: %s", self.log_dir, error.strerror or error)
