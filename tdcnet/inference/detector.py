"""A detector that is ready for use: video, images or arrays in, boxes in the source's own pixels and time out."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tdcnet.boxes import stride_of
from tdcnet.data.alignment import Model
from tdcnet.data.clips import as_float
from tdcnet.data.errors import Policy
from tdcnet.data.views import Range
from tdcnet.deploy import backends
from tdcnet.deploy.fold import reparameterize
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import read_weights
from tdcnet.inference.layouts import Tiling
from tdcnet.inference.predictions import Prediction, Predictions
from tdcnet.inference.recordings import recordings_of
from tdcnet.inference.tiles import Detections
from tdcnet.inference.viewer import Options
from tdcnet.models.postprocess import postprocess
from tdcnet.weights import find, read_card

if TYPE_CHECKING:
    from tdcnet.streaming.stream import Stream
    from tdcnet.tracking.stream import TrackStream
    from tdcnet.tracking.tracker import TrackerOptions

USUAL_THRESHOLD = 0.3
"""Least score of a detection where a file tells none."""


class Detector:
    """A network together with what must be known to use it.

    Args:
        network: ``network(aligned, frames) -> raw`` in eval mode.
        record: what its file tells about it.
        name: for people.
        card: what else is known of it, as in ``card.json`` of the detectors that come with the package.

    Attributes:
        classes: names by label.
        size: height and width of its input, px.
        num_frames: T, frames of a clip.
        stride: frames from one frame of a clip to the next, as in its training.
        threshold: least score of a detection, if no other is given.
        device: where the network works.
        nms_iou: of two boxes of one class that overlap more than this the weaker is dropped.
        max_detections: the best of a frame that are kept.
    """

    def __init__(
        self, network: nn.Module, record: Record, name: str = "", card: Mapping[str, Any] | None = None
    ) -> None:
        self.network, self.record, self.name = network, record, name or record.name or "detector"
        self.card = dict(card or {})
        self.num_classes = int(network.num_classes)  # type: ignore[arg-type]
        self.classes = record.classes or tuple(f"class {i}" for i in range(self.num_classes))
        shape = getattr(network, "shape", None)  # of a graph, whose size is fixed
        size = shape[2:] if shape is not None else record.size
        if size is None:
            raise ValueError(f"{self.name} does not tell the size of its input; export it again (stage=deploy)")
        self.size = int(size[0]), int(size[1])
        self.num_frames = int(shape[1] if shape is not None else record.num_frames or 5)
        self.stride = record.stride or 1
        self.threshold = USUAL_THRESHOLD if record.threshold is None else record.threshold
        self.device = torch.device("cpu")
        self.nms_iou, self.max_detections = 0.5, 100

    def __repr__(self) -> str:
        h, w = self.size
        classes = ", ".join(self.classes)
        return f"Detector({self.name}: {classes}; {self.num_frames} frames {self.stride} apart, {w}x{h} px)"

    @property
    def info(self) -> dict[str, Any]:
        """What there is to know: classes, clips, threshold, SHA-256 of the weights, and all that the card tells."""
        return {
            **self.card,
            "name": self.name,
            "classes": list(self.classes),
            "size": list(self.size),
            "num_frames": self.num_frames,
            "stride": self.stride,
            "scale": self.record.scale,
            "rate": self.record.rate,
            "threshold": self.threshold,
            "sha256": dict(self.record.files),
            "command": self.record.command,
        }

    def to(self, device: str | torch.device) -> Detector:
        """The same detector, working on a device (``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``)."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def predict(
        self,
        source: Any,
        threshold: float | None = None,
        *,
        tile: Tiling = "auto",
        scale: float | None = None,
        stride: int | None = None,
        align: bool | Model = True,
        intensity_range: Range | None = None,
        on_bad_frame: Policy = "error",
        cache_dir: str | os.PathLike[str] | None = None,
    ) -> Predictions:
        """Every frame of a source with what was found on it, in order, as they are asked for.

        Args:
            source: a video, a stack (TIFF, NPY), a folder of images or of recordings, or a list of these; or an
                iterable of arrays [H, W] or [H, W, 3] (RGB), 8 or 16 bits, each of which is done with before the next
                one is asked for (but 64 are looked at first where a range of 16 bits must be found).
            threshold: least score; None for that of the detector's file, or 0.3.
            tile: ``"auto"`` shows frames at the scale of the training, and cuts those that do not fit into the input
                into overlapping tiles; True cuts all; False fits whole frames into the input, as evaluation does.
            scale: px of the input for a px of a frame, in tiles; None for that of the training, or 1.
            stride: frames from one frame of a clip to the next; None for as much time as in the training where source
                and training tell their frames a second, or else as many frames.
            align: registers frames onto the newest, by the richest of its models or the one named
                (:class:`~tdcnet.data.alignment.Aligner`); False where the camera stands still, which saves most of the
                time of a light detector.
            intensity_range: 16-bit values that are 0 and 1; None for those of the training, or else what the frames
                hold, which is logged.
            on_bad_frame: ``"skip"`` leaves out a frame of a file that cannot be read, and those whose clips need it.
            cache_dir: where decoded videos are kept; None for the usual place.

        Returns:
            an iterator of the frame as it came and :class:`~tdcnet.inference.found.Found`.

        Raises:
            DataError: if there is no such file, it is none that can be read, or a frame is bad.
            ValueError: if an option is out of range.
        """
        least = self.threshold if threshold is None else threshold
        options = Options(least, tile, scale, stride, align, intensity_range, on_bad_frame)

        def step(rate: float | None) -> int:
            return self.stride_at(rate) if stride is None else stride

        cache = None if cache_dir is None else Path(cache_dir)
        recordings = recordings_of(source, self.num_frames, step, on_bad_frame, cache)
        return Predictions(Prediction(self, each, options) for each in recordings)

    def stream(
        self,
        source: Any,
        threshold: float | None = None,
        *,
        tile: Tiling = "auto",
        scale: float | None = None,
        stride: int | None = None,
        align: bool | Model = True,
        intensity_range: Range | None = None,
        threads: bool = True,
        **opened: Any,
    ) -> Stream:
        """What is found on the frames of a camera, a stream or a file while they come.

        A clip is made by time, so frames that were dropped do not change what the network sees; after a pause longer
        than a clip, a cut or another size of frames it begins anew, which is logged. The first frame has detections,
        of a clip of nothing but itself.

        Args:
            source: a camera's number, an address, a file, ``-`` or arrays, as
                :func:`~tdcnet.streaming.sources.open_source` takes it; or what that gave.
            threshold, tile, scale, stride, align, intensity_range: as :meth:`predict` takes them.
            threads: whether reading, registration and network overlap; without, each frame is done with before the
                next one is asked for.
            **opened: of :func:`~tdcnet.streaming.sources.open_source`: ``policy``, ``realtime``, ``rate``, ``raw``.

        Returns:
            an iterator of :class:`~tdcnet.streaming.stream.Seen`, and a context that ends it.

        Raises:
            DataError: if the source cannot be opened.
            ValueError: if an option is out of range.
        """
        from tdcnet.streaming.sources import open_source  # which nothing else needs
        from tdcnet.streaming.stream import Stream

        least = self.threshold if threshold is None else threshold
        options = Options(least, tile, scale, stride, align, intensity_range)
        given = source if hasattr(source, "frames") and hasattr(source, "state") else open_source(source, **opened)
        return Stream(self, given, options, threads)

    def track(self, source: Any, tracker: TrackerOptions | None = None, **options: Any) -> TrackStream:
        """Tracks of the targets of a camera, a stream or a file while its frames come.

        Args:
            source: as :meth:`stream` takes it.
            tracker: how tracks are made; None for what is usual.
            **options: of :meth:`stream`, but for ``threshold``: tracks are made of weak detections, too.

        Returns:
            an iterator of :class:`~tdcnet.tracking.stream.Tracked`, and a context that ends it.

        Raises:
            DataError: if the source cannot be opened.
            ValueError: if an option is out of range.
        """
        from tdcnet.tracking.evidence import Evidence
        from tdcnet.tracking.stream import TrackStream
        from tdcnet.tracking.tracker import Tracker, TrackerOptions

        how = tracker or TrackerOptions()
        made = Tracker(how, Evidence.of_threshold(self.threshold))
        return TrackStream(self.stream(source, how.weak, **options), made)

    def stride_at(self, rate: float | None) -> int:
        """Frames of so many a second that take as long as the training's from one to the next."""
        if rate is None or self.record.rate is None:
            return self.stride
        return max(1, round(self.stride * rate / self.record.rate))

    @torch.inference_mode()
    def detect(self, aligned: Tensor, frames: Tensor, threshold: float) -> list[Detections]:
        """Detections of clips that are ready for the network, on the CPU, in px of its input.

        Args:
            aligned: [B, T, H, W], uint8, or float in [0, 1]; the very ``frames`` where nothing moved.
            frames: the same before registration.
            threshold: least score.
        """
        channels = int(getattr(self.network, "in_channels", 1))
        same = aligned is frames
        frames = as_float(frames.to(self.device))[:, None].expand(-1, channels, -1, -1, -1)
        aligned = frames if same else as_float(aligned.to(self.device))[:, None].expand_as(frames)
        raw = self.network(aligned, frames)
        found = postprocess(raw, threshold, self.nms_iou, self.max_detections, stride=stride_of(frames, raw))
        return [{key: value.cpu() for key, value in each.items()} for each in found]


def load(path: str | os.PathLike[str], allow: Sequence[str] = ()) -> Detector:
    """The detector of a name or in a file.

    Args:
        path: one of :func:`tdcnet.list_models`; a folder that ``stage=deploy`` wrote, a checkpoint (``.ckpt``,
            ``.safetensors``), or a graph for ONNX Runtime (``.onnx``) or OpenVINO (``.xml``); or
            ``hf:OWNER/NAME[@REVISION]`` on the Hugging Face hub, whose SHA-256 is logged.
        allow: packages of your own that its network may take parts from.

    Raises:
        FileNotFoundError: if there is no such file.
        CheckpointError: if it cannot be read, asks for what is not allowed, or does not tell how its network is built.
        MissingPackage: without the runtime of a graph, or huggingface_hub.
    """
    path = find(path)
    runtime = {".onnx": backends.OnnxRuntime, ".xml": backends.OpenVINO}.get(path.suffix)
    if runtime is not None:
        return Detector(runtime(path), backends.read_info(path).record, card=read_card(path))
    weights = read_weights(path)
    network: nn.Module = reparameterize(weights.network(path, allow))
    return Detector(network, weights.record, card=read_card(path))
