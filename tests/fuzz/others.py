"""Inputs beside data sets: pictures, videos, caches, results of evaluations."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tdcnet.data.errors import DataError, Problems
from tdcnet.data.frames import DecodedImages, ImageFiles, VideoFrames, list_images, open_source
from tdcnet.data.homographies import HomographyStore
from tdcnet.data.sequence import Sequence
from tests.fuzz import contents, layouts
from tests.fuzz.contents import Wrong, check_finite

# -- pictures and videos -------------------------------------------------------------------------------------------

KINDS = (".png", ".bmp", ".jpg", ".tif")


def make_images(root: Path) -> None:
    """A folder for each kind, 8 bit and where there is 16 bit."""
    for kind in KINDS:
        for i in range(2):
            layouts.image(root / f"{kind[1:]}8/{i}{kind}", i)
            if kind in (".png", ".tif"):
                layouts.image(root / f"{kind[1:]}16/{i}{kind}", i, np.uint16)
    colour = np.random.default_rng(0).integers(0, 256, (layouts.HEIGHT, layouts.WIDTH, 3), np.uint8)
    (root / "colour").mkdir()
    assert cv2.imwrite(str(root / "colour/0.png"), colour) and cv2.imwrite(str(root / "colour/1.jpg"), colour)


def read_images(root: Path, problems: Problems) -> Any:
    """Every folder as a recording."""
    found: list[Any] = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and path.name[-1] in "86r"):
        try:
            source = open_source(folder, root / "cache")
        except DataError as error:
            problems.report(folder, str(error), "")
            continue
        for i in range(len(source)):
            try:
                frame = source.read(i)
                if min(frame.shape) < 1 or frame.ndim != 2:
                    raise Wrong(f"frame of {frame.shape}")
                found.append(frame)
            except DataError as error:
                problems.report(source.where(i), str(error), "")
    return found


def make_videos(root: Path) -> None:
    """Three containers."""
    for name, codec in (("a.mp4", "mp4v"), ("b.avi", "MJPG"), ("c.mkv", "FFV1")):
        layouts.video(root / name, 4, codec)


def read_videos(root: Path, problems: Problems) -> Any:
    """Every video as a recording, through the cache."""
    found: list[Any] = []
    for path in sorted(root.glob("*.*")):
        try:
            source = open_source(path, root / "cache")
            if len(source) > contents.MOST_FRAMES:
                raise Wrong(f"{path}: {len(source)} frames")
        except DataError as error:
            problems.report(path, str(error), "")
            continue
        for i in range(len(source)):
            try:
                found.append(source.read(i))
            except DataError as error:
                problems.report(source.where(i), str(error), "")
    return found


# -- caches --------------------------------------------------------------------------------------------------------


def make_frame_cache(root: Path) -> None:
    """Decoded frames of images and of a video."""
    for i in range(3):
        layouts.image(root / f"images/{i}.png", i)
    layouts.video(root / "a.mkv")
    read_frame_cache(root, Problems())


def read_frame_cache(root: Path, _: Problems) -> Any:
    """Frames of both, through the cache."""
    sources = (DecodedImages(ImageFiles(list_images(root / "images")), root / "cache"), VideoFrames(root / "a.mkv"))
    return [source.read(i) for source in sources for i in range(len(source))]


def read_kept_masks(root: Path, problems: Problems) -> Any:
    """Boxes of masks that were parsed before."""
    from tdcnet.data.formats import single_frame

    sequences = single_frame.read(root, "train", problems=problems, cache_dir=root / "cache")
    return list(contents.of_sequences(sequences, single_frame.CLASSES, problems))


def _recording(name: str = "a", count: int = 4) -> Sequence:
    frames = ImageFiles([Path(f"/nowhere/{name}/{i}.png") for i in range(count)])
    boxes, labels = [np.zeros((0, 4), np.float32)] * count, [np.zeros(0, np.int64)] * count
    return Sequence(name, frames, boxes, labels, np.arange(count), np.zeros(count, np.int64))


def _homographies() -> Any:
    rng, sequence = np.random.default_rng(0), _recording()
    found = np.tile(np.eye(3, dtype=np.float32), (len(sequence), 2, 1, 1))
    found[..., :2, 2] += rng.uniform(-3, 3, (len(sequence), 2, 2)).astype(np.float32)
    return found


def make_homographies(root: Path) -> None:
    """Of four frames."""
    HomographyStore(root, 3, 1, "tag").save(_recording(), _homographies())


def read_homographies(root: Path, _: Problems) -> Any:
    """All of them; None if they are computed again."""
    sequence, store = _recording(), HomographyStore(root, 3, 1, "tag")
    if store.load(sequence) is None:
        return None
    return [check_finite("homography", store.get(sequence, t)) for t in range(len(sequence))]


def other_homographies(rng: random.Random, name: str, data: bytes) -> tuple[bytes, str] | None:
    """A file with a checksum that fits and content that does not."""
    from tdcnet.files import read_arrays, write_arrays

    found = _homographies()
    how = rng.randrange(8)
    place = (rng.randrange(4), rng.randrange(2), rng.randrange(3), rng.randrange(3))
    if how < 4:
        found[place] = (np.inf, -np.inf, 1e30, 1e9)[how]
    elif how == 4:
        found[place[:2]] = 0
    elif how == 5:
        found = found[: rng.randrange(4)]
    elif how == 6:
        found = found.astype(rng.choice((np.float16, np.int64, np.bool_, np.complex64, "U3")))
    target = Path(tempfile.gettempdir()) / f"fuzz-{rng.randrange(10**12)}.npz"
    target.write_bytes(data)
    content = read_arrays(target, ("homographies", "tag", "segments", "recording"))
    if how == 7:
        content[rng.choice(("tag", "segments", "recording"))] = rng.choice(
            (np.zeros(2), np.array("x"), np.zeros((0, 0)))
        )
    else:
        content["homographies"] = found
    write_arrays(target, content)
    data = target.read_bytes()
    target.unlink()
    return data, f"well-formed, kind {how}"


# -- small files of this project ------------------------------------------------------------------------------------


def make_split(root: Path) -> None:
    """A split.json."""
    layouts.text(root / "split.json", {"train": ["a", "b"], "val": ["c"]})


def read_split(root: Path, _: Problems) -> Any:
    """Both sides."""
    from tdcnet.data.formats.common import read_split_file

    return read_split_file(root / "split.json")


def make_synthetic(root: Path) -> None:
    """A generated data set of two clips."""
    _generate(root / "set", False)


def read_synthetic(root: Path, _: Problems) -> Any:
    """Generates it again, which leaves it as it is."""
    _generate(root / "set", False)
    return sorted(path.name for path in (root / "set").rglob("*.png"))


def _generate(root: Path, overwrite: bool) -> None:
    from tdcnet.data.synthetic import SyntheticConfig, write_dataset

    write_dataset(root, SyntheticConfig(height=32, width=32, frames=2), 1, 1, overwrite=overwrite)


def make_exchange(root: Path) -> None:
    """What stage=eval writes, and what another detector found."""
    images = [
        {"id": i + 1, "file_name": f"{i}.png", "height": 64, "width": 64, "video_id": i // 3 + 1, "frame_id": i % 3}
        for i in range(6)
    ]
    boxes = [
        {"id": i + 1, "image_id": i + 1, "category_id": 1, "bbox": [10.0, 20.0, 8.0, 8.5], "area": 68.0, "iscrowd": 0}
        for i in range(5)
    ]
    videos = [{"id": v, "name": f"video {v}"} for v in (1, 2)]
    categories = [{"id": 1, "name": "target"}]
    content = {"videos": videos, "images": images, "annotations": boxes, "categories": categories}
    found = [{"image_id": i + 1, "category_id": 1, "bbox": [10.5, 20, 8, 8], "score": 0.9 - 0.1 * i} for i in range(4)]
    layouts.text(root / "ground_truth.json", content)
    layouts.text(root / "rival.json", found)
    layouts.text(root / "predictions.json", found)


def read_exchange(root: Path, _: Problems) -> Any:
    """Truth and detections, and a figure of them."""
    from tdcnet.metrics.outcomes import Outcomes, average_precision
    from tdcnet.report.exchange import read_ground_truth, read_predictions

    frames, sequences = read_ground_truth(root / "ground_truth.json")
    found = read_predictions(root / "rival.json", frames, ["target"])
    _check_frames(found)
    outcomes = Outcomes.by_overlap(found, sequences)
    value = average_precision(outcomes, np.ones(len(outcomes.sequences)))
    if not (0 <= value <= 1 or (np.isnan(value) and not len(found.target_boxes))):
        raise Wrong(f"average precision {value}")
    return [sequences, *(getattr(found, name) for name in found.__dataclass_fields__)]


def _check_frames(found: Any) -> None:
    for name in ("sizes", "target_boxes", "pred_boxes", "pred_scores"):
        check_finite(name, getattr(found, name))
    for name in ("target_boxes", "pred_boxes"):
        boxes = getattr(found, name)
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise Wrong(f"{name} of negative sides or none: {boxes.tolist()}")
    if ((found.pred_scores < 0) | (found.pred_scores > 1)).any():
        raise Wrong(f"scores {found.pred_scores.tolist()}")
    if (found.sizes < 1).any() or len(set(found.image_ids.tolist())) < len(found.image_ids):
        raise Wrong(f"sizes {found.sizes.tolist()} of images {found.image_ids.tolist()}")


def make_run(root: Path) -> None:
    """A finished run."""
    make_exchange(root)
    (root / "rival.json").unlink()
    content = """
model: {_target_: tdcnet.models.presets.tdcnet_nano, num_classes: 1}
dataset: {classes: [target], size: [64, 64], num_frames: 5, stride: 1, root: data/x}
module: {metrics: {_target_: tdcnet.metrics.DetectionMetrics}}
ckpt_path: null
"""
    layouts.text(root / ".hydra/config.yaml", content)


def read_run(root: Path, _: Problems) -> Any:
    """The row that tdcnet compare makes of it, without costs."""
    from tdcnet.comparison import find_runs, read_entries, rows_of

    row = rows_of(read_entries(find_runs(root)), samples=20)[0]
    for key, value in row.items():
        if isinstance(value, float) and not (np.isfinite(value) or key.endswith(("low", "high"))):
            raise Wrong(f"{key} is {value}")
    return {key: value for key, value in row.items() if key != "name"}
