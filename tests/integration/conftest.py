"""Whole stages on small generated clips."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from tdcnet import stages
from tdcnet.data.synthetic import SyntheticConfig, write_dataset

CONFIGS = Path(__file__).parents[2] / "configs"

# A network and clips so small that a step takes a fraction of a second.
SMALL = [
    "dataset=synthetic",
    "model=tdcnet_nano",
    "trainer=cpu",
    "trainer.devices=1",
    "trainer.strategy=auto",
    "dataset.size=[64,64]",
    "dataset.augment.size=[64,64]",
    "dataset.generate=null",
    "dataset.batch_size=4",
    "dataset.samples_per_epoch=8",
    "+trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=1",
    "callbacks.progress_bar=null",
    "model.head.prior=null",  # scores near 0.25 from the start, so that there is something to count
]


def chosen(own: str, overrides: tuple[str, ...]) -> bool:
    """Whether a group's choice is made anew."""
    return own.startswith("model=") and any(each.startswith("model=") for each in overrides)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A tiny synthetic data set in the layout of IRSTD-UAV."""
    root = tmp_path_factory.mktemp("data") / "clips"
    config = SyntheticConfig(height=64, width=64, frames=6, targets=(1, 2), hot_spots=(0, 0))
    return write_dataset(root, config, train_sequences=3, val_sequences=2)


@pytest.fixture
def configure(clips, tmp_path):
    """``configure(*overrides)``: the small config with these on top, written to ``tmp_path``."""

    def compose_config(*overrides: str, base: list[str] | None = None) -> tuple[DictConfig, list[str]]:
        given = [
            *([each for each in SMALL if not chosen(each, overrides)] if base is None else base),
            f"dataset.root={clips}",
            f"paths.output_dir={tmp_path / 'run'}",
            f"paths.cache_dir={clips.parent / 'cache'}",
            *overrides,
        ]
        GlobalHydra.instance().clear()
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            return compose("config", overrides=given), given

    return compose_config


@pytest.fixture
def run(configure):
    """``run(*overrides) -> (metrics, objects)``: a whole stage."""

    def run_stage(*overrides: str):
        return stages.run(*configure(*overrides))

    return run_stage


@pytest.fixture
def trained(run):
    """A network after one short epoch, with its checkpoint."""
    return run()
