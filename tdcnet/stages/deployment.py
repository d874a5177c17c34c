"""stage=deploy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from tdcnet.callbacks import Reparam, Visualize
from tdcnet.data.clips import collate
from tdcnet.data.datamodule import ClipDataModule
from tdcnet.deploy import formats, graph, quantize
from tdcnet.deploy.backends import OpenVINO
from tdcnet.deploy.weights import Weights, add_files
from tdcnet.detection import DetectionModule
from tdcnet.files import write_atomically
from tdcnet.stages.parts import NOT_TRAINING, Results, build, build_trainer, measure, plain, say, validate


def deploy(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Re-parameterises ``ckpt_path``, evaluates it, and exports it to the run's ``deploy`` folder.

    Raises:
        ReparamError: if the deploy form computes something else; nothing is exported then.
        ExportError: if a graph for another runtime does, after all else is exported.
    """
    wanted = formats.chosen(plain(cfg.stage.formats))
    parts = build(cfg, overrides, weights, ready=True)
    folder = Path(cfg.paths.output_dir) / "deploy"
    reparam = Reparam(str(folder), cfg.stage.tolerance, cfg.stage.clips, keep_inputs=bool(wanted))
    parts["trainer"] = build_trainer(cfg, without=NOT_TRAINING, extra=[reparam])
    metrics = validate(cfg, parts["trainer"], parts)
    say(
        f"exported to [bold]{folder}[/]: {', '.join(sorted(p.name for p in folder.iterdir()))}; raw outputs differ by "
        f"at most {reparam.difference:.2g} from the training form's on {reparam.compared} clips"
    )
    if not wanted and cfg.stage.formats == "auto":
        say("no graphs for other runtimes: pip install -c constraints.txt -e '.[export]' brings what they need")
    graphs = _graphs(cfg, parts, reparam, wanted, metrics) if wanted else {}
    return metrics, {**parts, "folder": folder, "difference": reparam.difference, **graphs}


def _graphs(
    cfg: DictConfig, parts: dict[str, Any], reparam: Reparam, wanted: Sequence[str], metrics: dict[str, float]
) -> dict[str, Any]:
    """Writes the wanted graphs beside the exported weights, and into the model card how well they agree."""
    assert reparam.deployed is not None
    folder, shape = reparam.dirpath, tuple(reparam.inputs[0][1].shape[1:])
    say(f"writing {', '.join(formats.FILES[name] for name in wanted)}, which takes minutes for a large network")
    written = formats.write_graphs(
        folder, reparam.deployed, wanted, reparam.inputs, cfg.stage.graph_tolerance, cfg.stage.opset
    )
    for name, difference in written.differences.items():
        say(f"[bold]{folder / name}[/]: differs by at most {difference:.2g} from PyTorch on {written.compared} clips")
    int8: dict[str, dict[str, float]] = {}
    if "int8" in wanted and formats.FILES["openvino"] in written.differences:
        int8 = {"fp32": metrics, "int8": _quantized(cfg, parts, folder)}
        for name in ("AP50", "Pd", "Fa"):
            say(f"{name} {int8['int8'][name]:.4g} in int8, {metrics[name]:.4g} in fp32")
    kept = [*written.differences, *([formats.FILES["int8"]] if int8 else [])]
    add_files(folder, [file.name for name in kept for file in graph.files_of(folder / name)])
    card = folder / "README.md"
    text = card.read_text(encoding="utf-8") + formats.describe(written, shape, cfg.stage.opset, int8)
    write_atomically(card, text.encode())
    if written.refused:
        raise graph.ExportError(f"{'; '.join(written.refused)}. What else is in {folder} is whole")
    return {"differences": written.differences, "int8": int8.get("int8")}


def _quantized(cfg: DictConfig, parts: dict[str, Any], folder: Path) -> dict[str, float]:
    """Makes the int8 graph, calibrated on training clips; its figures on the validation split."""
    module: DetectionModule = parts["module"]
    path = quantize.quantize(
        folder / formats.FILES["openvino"],
        folder / formats.FILES["int8"],
        (module.inputs(batch) for batch in _training_clips(cfg, cfg.stage.calibration)),
        plain(cfg.stage.int8_keep),
    )
    network, results, curve = module.model, module.results, module.curve
    try:
        module.model = OpenVINO(path)  # type: ignore[assignment]
        trainer = build_trainer(cfg, without=(*NOT_TRAINING, Visualize))
        return measure(trainer, parts, collect=False)
    finally:
        module.model, module.results, module.curve = network, results, curve


def _training_clips(cfg: DictConfig, count: int) -> Iterator[dict[str, Any]]:
    """Training clips spread over the split, one at a time, at the size of evaluation and without augmentation."""
    datamodule: ClipDataModule = instantiate(cfg.dataset, _convert_="all")
    datamodule.val_split, datamodule.val_step, datamodule.val_offset = datamodule.train_split, datamodule.train_step, 0
    if datamodule.align == "ahead":
        datamodule.align = "on_the_fly"  # a few clips, not all of the split
    datamodule.prepare_data()
    datamodule.setup("validate")
    clips = datamodule.val_dataset
    assert clips is not None
    spread = sorted({round(i * (len(clips) - 1) / max(1, count - 1)) for i in range(count)})
    for index in spread:
        batch = collate([clips[index]])
        if len(batch["frames"]):
            yield batch
