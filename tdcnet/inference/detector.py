"""A detector that is ready for use: video, images or arrays in, boxes in the source's own pixels and time out."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tdcnet.boxes import stride_of
from tdcnet.data.alignment import Aligner
from tdcnet.data.clips import as_float
from tdcnet.data.transforms import Image, Matrix
from tdcnet.data.views import Range, pad_grey, register_clip, to_unit, view
from tdcnet.deploy import backends
from tdcnet.deploy.fold import is_deployed, reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import read_weights
from tdcnet.inference.clips import Clip, clips_of
from tdcnet.inference.found import Found
from tdcnet.inference.layouts import Layout, Tiling, layout_of
from tdcnet.inference.recordings import Recording, recordings_of, with_range
from tdcnet.inference.tiles import Detections
from tdcnet.models.postprocess import postprocess

AT_ONCE = 8
"""Views of files that go through the network together."""


class Detector:
    """A network together with what must be known to use it.

    Args:
        network: ``network(aligned, frames) -> raw`` in eval mode.
        record: what its file tells about it.
        name: for people.

    Attributes:
        classes: names by label.
        size: height and width of its input, px.
        num_frames: T, frames of a clip.
        stride: frames from one frame of a clip to the next, as in its training.
    """

    def __init__(self, network: nn.Module, record: Record, name: str = "") -> None:
        self.network, self.record, self.name = network, record, name or record.name or "detector"
        self.num_classes = int(network.num_classes)  # type: ignore[arg-type]
        self.classes = record.classes or tuple(f"class {i}" for i in range(self.num_classes))
        shape = getattr(network, "shape", None)  # of a graph, whose size is fixed
        size = shape[2:] if shape is not None else record.size
        if size is None:
            raise ValueError(f"{self.name} does not tell the size of its input; export it again (stage=deploy)")
        self.size = int(size[0]), int(size[1])
        self.num_frames = int(shape[1] if shape is not None else record.num_frames or 5)
        self.stride = record.stride or 1

    def __repr__(self) -> str:
        h, w = self.size
        classes = ", ".join(self.classes)
        return f"Detector({self.name}: {classes}; {self.num_frames} frames {self.stride} apart, {w}x{h} px)"

    def predict(
        self,
        source: Any,
        threshold: float = 0.3,
        *,
        tile: Tiling = "auto",
        scale: float | None = None,
        stride: int | None = None,
        align: bool = True,
        intensity_range: Range | None = None,
    ) -> Iterator[tuple[Image, Found]]:
        """Every frame of a source with what was found on it, in order, as they are asked for.

        Args:
            source: a video, a stack (TIFF, NPY), a folder of images or of recordings; or an iterable of arrays [H, W]
                or [H, W, 3] (RGB), 8 or 16 bits, each of which is done with before the next one is asked for (but
                64 are looked at first where a range of 16 bits must be found).
            threshold: least score.
            tile: ``"auto"`` shows frames at the scale of the training, and cuts those that do not fit into the input
                into overlapping tiles; True cuts all; False fits whole frames into the input, as evaluation does.
            scale: px of the input for a px of a frame, in tiles; None for that of the training, or 1.
            stride: frames from one frame of a clip to the next; None for as much time as in the training where source
                and training tell their frames a second, or else as many frames.
            align: registers frames onto the newest; False where the camera stands still, which saves most of the time
                of a light detector.
            intensity_range: 16-bit values that are 0 and 1; None for those of the training, or else what the frames
                hold, which is logged.

        Returns:
            an iterator of the frame as it came and :class:`~tdcnet.inference.found.Found`.

        Raises:
            DataError: if there is no such file, it is none that can be read, or a frame is bad.
            ValueError: if an option is out of range.
        """
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold is {threshold}; expected a score from 0 to 1")
        if scale is not None and not 0 < scale < 100:
            raise ValueError(f"scale is {scale}; expected a factor above 0")
        if stride is not None and stride < 1:
            raise ValueError(f"stride is {stride}; expected 1 or more frames")
        if tile not in (True, False, "auto"):
            raise ValueError(f"tile is {tile!r}; expected True, False or 'auto'")
        register = Aligner() if align and self.num_frames > 1 else None
        known = scale if scale is not None else self.record.scale or 1.0
        recordings = recordings_of(
            source, self.num_frames, lambda rate: self._stride(rate) if stride is None else stride
        )
        return itertools.chain.from_iterable(
            self._of(each, threshold, tile, known, register, intensity_range) for each in recordings
        )

    def _stride(self, rate: float | None) -> int:
        """Frames of so many a second that take as long as the training's from one to the next."""
        if rate is None or self.record.rate is None:
            return self.stride
        return max(1, round(self.stride * rate / self.record.rate))

    def _of(
        self,
        recording: Recording,
        threshold: float,
        tile: Tiling,
        scale: float,
        register: Aligner | None,
        intensity_range: Range | None,
    ) -> Iterator[tuple[Image, Found]]:
        images, found_range = with_range(recording, intensity_range or self.record.intensity_range)
        layout: Layout | None = None
        waiting: list[tuple[Clip, list[tuple[Tensor, Tensor]]]] = []

        def flush() -> Iterator[tuple[Image, Found]]:
            assert layout is not None
            detections = self._run([each for _, views in waiting for each in views], threshold)
            for at, (clip, views) in enumerate(waiting):
                found = layout.gather(detections[at * len(views) : (at + 1) * len(views)])
                yield recording.given.pop(clip.newest, clip.images[-1]), self._found(found, clip, recording)
            waiting.clear()

        for clip in clips_of(images, recording.reach):
            newest = clip.images[-1]
            if layout is None:
                layout = layout_of((newest.shape[0], newest.shape[1]), self.size, tile, scale)
            moved = None if register is None else register_clip(clip.images, register)
            waiting.append((clip, [self._view(clip.images, matrix, moved, found_range) for matrix in layout.matrices]))
            if recording.live or len(waiting) * len(layout.matrices) >= AT_ONCE:
                yield from flush()
        if waiting:
            yield from flush()

    def _view(
        self, images: list[Image], matrix: Matrix, moved: NDArray[np.float32] | None, found_range: Range | None
    ) -> tuple[Tensor, Tensor]:
        frames, aligned = view(images, matrix, self.size, moved)
        same = aligned is frames
        if frames.dtype != np.uint8:
            assert found_range is not None
            frames = to_unit(frames, found_range)
            aligned = frames if same else to_unit(aligned, found_range)
            for each in (frames,) if same else (frames, aligned):
                pad_grey(each, (images[-1].shape[0], images[-1].shape[1]), matrix, self.size)
        tensor = torch.from_numpy(frames)
        return tensor if same else torch.from_numpy(aligned), tensor

    def _run(self, views: Sequence[tuple[Tensor, Tensor]], threshold: float) -> list[Detections]:
        """Detections of each view, in px of the input."""
        detections: list[Detections] = []
        channels = int(getattr(self.network, "in_channels", 1))
        for start in range(0, len(views), AT_ONCE):
            part = views[start : start + AT_ONCE]
            with torch.inference_mode():
                frames = as_float(torch.stack([each[1] for each in part]))[:, None].expand(-1, channels, -1, -1, -1)
                aligned = frames
                if not all(each[0] is each[1] for each in part):
                    aligned = as_float(torch.stack([each[0] for each in part]))[:, None].expand_as(frames)
                raw = self.network(aligned, frames)
                detections += postprocess(raw, threshold, stride=stride_of(frames, raw))
        return detections

    def _found(self, found: Detections, clip: Clip, recording: Recording) -> Found:
        newest = clip.images[-1]
        return Found(
            boxes=found["boxes"].numpy(),
            scores=found["scores"].numpy(),
            labels=found["labels"].numpy(),
            classes=tuple(self.classes),
            index=clip.newest,
            time=recording.time(clip.newest),
            size=(int(newest.shape[0]), int(newest.shape[1])),
            recording=recording.name,
            whole=clip.whole,
        )


def load(path: str | os.PathLike[str], allow: Sequence[str] = ()) -> Detector:
    """The detector in a file.

    Args:
        path: a folder that ``stage=deploy`` wrote, a checkpoint (``.ckpt``, ``.safetensors``), or a graph for ONNX
            Runtime (``.onnx``) or OpenVINO (``.xml``).
        allow: packages of your own that its network may take parts from.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, asks for what is not allowed, or does not tell how its network is built.
        MissingPackage: without the runtime of a graph.
    """
    path = Path(path)
    runtime = {".onnx": backends.OnnxRuntime, ".xml": backends.OpenVINO}.get(path.suffix)
    if runtime is not None:
        return Detector(runtime(path), backends.read_info(path).record)
    weights = read_weights(path)
    network: nn.Module = weights.network(path, allow)
    return Detector((network if is_deployed(network) else reparameterize(network)).eval(), weights.record)
