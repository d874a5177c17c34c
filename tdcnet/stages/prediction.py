"""stage=predict."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from tdcnet.callbacks import PredictionWriter
from tdcnet.deploy.weights import Weights
from tdcnet.stages.parts import NOT_TRAINING, Results, build, build_trainer, say


def predict(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Runs ``ckpt_path`` on ``source``, a video or a folder of images, of one recording or of several."""
    if cfg.source is None:
        raise ValueError("stage=predict needs source=VIDEO or source=FOLDER")
    if not isinstance(cfg.source, str) or "://" in cfg.source:
        raise ValueError(
            f"source={cfg.source} is a camera or a stream, which are not read; give a video file or a folder of images "
            f"(source=./{cfg.source} where a folder is called so)"
        )
    parts = build(cfg, overrides, weights, ready=True)
    loaders = parts["datamodule"].loaders_of(cfg.source)
    folder = Path(cfg.paths.output_dir) / "predictions"
    files: list[Path] = []
    for loader in loaders:  # a recording each, with files of its own
        writer = PredictionWriter(str(folder), cfg.stage.fps, cfg.stage.draw_threshold, cfg.stage.sheet)
        trainer = build_trainer(cfg, without=NOT_TRAINING, extra=[writer])
        trainer.predict(parts["module"], loader, return_predictions=False)
        files += writer.files
        say("wrote " + ", ".join(f"[bold]{path}[/]" for path in writer.files))
    return {}, {**parts, "trainer": trainer, "files": files}
