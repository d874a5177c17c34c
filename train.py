"""Trains, evaluates, exports and runs detectors of moving infrared small targets.

python train.py +experiment=demo
python train.py +experiment=irstd_uav dataset.root=/data/IRSTD-UAV
python train.py stage=eval ckpt_path=logs/train/irstd_uav/RUN/checkpoints/best.ckpt
python train.py stage=deploy ckpt_path=...
python train.py stage=predict ckpt_path=... source=clip.mp4
"""

from __future__ import annotations

import logging
import os
import sys
import warnings

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tdcnet import stages
from tdcnet.allocator import keep_freed_memory
from tdcnet.callbacks.reparam import ReparamError
from tdcnet.data.errors import DataError
from tdcnet.data.formats.foreign import of_name
from tdcnet.deploy.graph import ExportError
from tdcnet.deploy.optional import MissingPackage
from tdcnet.deploy.weights import CheckpointError
from tdcnet.detection import NonFiniteLoss
from tdcnet.shown import lines
from tdcnet.stages.runs import RunsFailed

# Lightning's own affairs, or about settings that are meant.
for message in (
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    "The '.*' does not have many workers",
    "Using `DistributedSampler` with the dataloaders",  # figures count each frame once all the same
):
    warnings.filterwarnings("ignore", message)

# What a user can mend: told in one message. Anything else is a fault of ours and keeps its traceback.
USER_ERRORS = (
    *(DataError, CheckpointError, NonFiniteLoss, ReparamError, RunsFailed),
    *(ExportError, MissingPackage, OSError, ValueError),
)


@hydra.main(version_base="1.3", config_path="configs", config_name="config")
def main(cfg: DictConfig) -> float | None:
    """Runs the stage; the best AP50 is what a sweep maximises."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        logging.getLogger().setLevel(logging.WARNING)  # the first process speaks for all
    try:
        metrics, _ = stages.run(cfg, list(HydraConfig.get().overrides.task))
    except (*USER_ERRORS, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) and error.__cause__ else error
        if os.environ.get("HYDRA_FULL_ERROR") == "1" or not isinstance(cause, USER_ERRORS):
            raise
        console = Console(stderr=True, soft_wrap=True)
        console.print(Text.assemble(("error: ", "bold red"), lines(cause)), highlight=False)
        console.print(Text("(HYDRA_FULL_ERROR=1 shows where it arose)", "dim"))
        sys.exit(1)
    return metrics.get("AP50")


if __name__ == "__main__":
    for word in sys.argv[1:]:  # Hydra would list its own, and not say how to convert
        if word.startswith("dataset=") and (said := of_name(word.partition("=")[2])):
            sys.exit(f"error: {word}: {said}")
    keep_freed_memory()
    main()
