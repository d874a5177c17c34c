"""From a source to boxes in its own pixels: what evaluation gives, whatever the source is."""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

import tdcnet
from tdcnet.data.alignment import Aligner
from tdcnet.data.clips import ClipDataset, as_float, collate
from tdcnet.data.errors import DataError
from tdcnet.data.folders import sources
from tdcnet.data.frames import ImageFiles
from tdcnet.data.homographies import HomographyStore, align_sequences
from tdcnet.data.transforms import undo_letterbox
from tdcnet.deploy.record import Record
from tdcnet.deploy.weights import export
from tdcnet.inference.detector import Detector, load
from tdcnet.inference.layouts import layout_of
from tdcnet.models import motion_2d_nano, postprocess
from tests.conftest import randomise_norms

CONFIG = {
    "_target_": "tdcnet.models.motion_2d_nano",
    "num_classes": 2,
    "num_frames": 3,
}
RECORD = Record(model=CONFIG, classes=("drone", "bird"), size=(64, 96), num_frames=3, stride=2, name="small")
BLACK = np.zeros((64, 96), np.uint8)
pytestmark = pytest.mark.filterwarnings("ignore::tdcnet.data.alignment.AlignmentWarning")


class Bright(torch.nn.Module):
    """Finds cells of 8 px that are bright, and calls those drones that have changed since the oldest aligned frame."""

    num_classes, in_channels = 2, 1

    def forward(self, aligned, frames):
        newest = F.avg_pool2d(frames[:, :, -1], 8)
        change = F.avg_pool2d((frames[:, :, -1] - aligned[:, :, 0]).abs(), 8)
        middle = torch.full_like(newest, 0.5)
        size = torch.zeros_like(newest)
        drone = 60 * (change - 0.03)
        return torch.cat([middle, middle, size, size, 30 * (newest - 0.35), drone, -drone], dim=1)


@pytest.fixture(scope="module")
def network():
    return Bright()


@pytest.fixture
def detector(network):
    return Detector(network, RECORD)


@pytest.fixture(scope="module")
def real():
    """A network that files can hold."""
    torch.manual_seed(0)
    return randomise_norms(motion_2d_nano(num_classes=2, num_frames=3)).eval()


def scene(size, frames=8, seed=0, dtype=np.uint8):
    """A textured ground that a camera pans over by a px a frame, and spots that move over it."""
    rng = np.random.default_rng(seed)
    ground = cv2.GaussianBlur(rng.random((size[0], size[1] + frames)).astype(np.float32), (0, 0), 2)
    ground = (ground - ground.min()) / np.ptp(ground) * 150
    out = []
    for t in range(frames):
        image = ground[:, t : t + size[1]].copy()
        for k in range(6):
            cv2.circle(image, (20 + 37 * k + 3 * t, 15 + (29 * k) % (size[0] - 30)), 2, 220, -1)
        out.append((image * (1 if dtype == np.uint8 else 40) + (0 if dtype == np.uint8 else 9000)).astype(dtype))
    return out


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "clip"
    place.mkdir()
    for t, image in enumerate(scene((64, 96))):
        cv2.imwrite(str(place / f"{t:03d}.png"), image)
    return place


def same(found, wanted):
    """The same detections; two of nearly one score may have changed places."""
    assert len(found) == len(wanted)
    for box, score, label in zip(wanted.boxes, wanted.scores, wanted.labels, strict=True):
        near = np.abs(found.boxes - box).max(axis=1)
        at = near.argmin()
        assert near[at] < 1e-3 and abs(found.scores[at] - score) < 1e-4 and found.labels[at] == label


@torch.inference_mode()
def evaluated(network, folder, size, align=True, threshold=0.3):
    (sequence,) = sources(folder)
    store = None
    if align:
        aligner = Aligner(by="keyframes")
        store = HomographyStore(folder.parent / "homographies", 3, 2, aligner.tag)
        align_sequences([sequence], store, aligner, processes=1, progress=False)
    dataset = ClipDataset([sequence], size, 3, 2, homographies=store)
    batch = collate([dataset[i] for i in range(len(dataset))])
    aligned, frames = (as_float(batch[key])[:, None] for key in ("aligned", "frames"))
    found = postprocess(network(aligned, frames), threshold)
    h, w = (int(side) for side in batch["original_size"][0])
    return [each | {"boxes": undo_letterbox(each["boxes"], (h, w), size)} for each in found]


@pytest.mark.parametrize("tile", ["auto", False])
@pytest.mark.parametrize("align", [True, False])
def test_files_give_what_evaluation_gives(network, detector, folder, tile, align):
    expected = evaluated(network, folder, (64, 96), align)
    assert sum(len(each["boxes"]) for each in expected) > 50
    found = list(detector.predict(folder, tile=tile, align=align))
    assert len(found) == 8
    for at, ((frame, each), wanted) in enumerate(zip(found, expected, strict=True)):
        assert np.array_equal(frame, cv2.imread(str(folder / f"{at:03d}.png"), cv2.IMREAD_GRAYSCALE))
        assert_close(torch.from_numpy(each.boxes), wanted["boxes"], atol=1e-3, rtol=0)
        assert_close(torch.from_numpy(each.scores), wanted["scores"], atol=1e-5, rtol=0)
        assert each.labels.tolist() == wanted["labels"].tolist()
        assert (each.index, each.size, each.recording, each.time) == (at, (64, 96), "clip", None)
        assert each.whole == (at >= 4) and each.classes == ("drone", "bird") and len(each) == len(each.names)


def test_other_thresholds_and_strides(network, detector, folder):
    few = [len(found) for _, found in detector.predict(folder, threshold=0.6)]
    many = [len(found) for _, found in detector.predict(folder)]
    assert sum(few) < sum(many) and all(a <= b for a, b in zip(few, many, strict=True))
    assert [found.whole for _, found in detector.predict(folder, stride=1)] == [False] * 2 + [True] * 6


def test_only_what_moves_against_the_ground_has_moved_where_frames_are_registered(detector):
    def drones(align):
        return [int((found.labels == 0).sum()) for _, found in detector.predict(scene((64, 96)), 0.0, align=align)][4:]

    assert max(drones(align=True)) < 12 and min(drones(align=False)) > 80  # of 96 cells, six spots


def test_arrays_are_taken_one_at_a_time_and_given_back(detector, folder):
    asked = []

    def camera():
        for t, image in enumerate(scene((64, 96))):
            asked.append(t)
            yield cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if t % 2 else image

    expected = list(detector.predict(folder))
    for at, (frame, found) in enumerate(detector.predict(camera())):
        assert asked[-1] == at, "a frame is done with before the next one comes"
        assert frame.shape == ((64, 96, 3) if at % 2 else (64, 96))
        same(found, expected[at][1])
    assert at == 7
    assert len(list(detector.predict(scene((64, 96))))) == 8, "lists, too"


def test_tiles_find_in_a_large_frame_what_its_parts_hold(detector):
    """A frame of two parts side by side, each as large as the input: far from the seam, what each alone gives."""
    left, right = scene((64, 96), seed=1), scene((64, 96), seed=2)
    large = [np.concatenate(both, axis=1) for both in zip(left, right, strict=True)]
    whole = [found for _, found in detector.predict(large, 0.5, align=False)]
    shrunk = [found for _, found in detector.predict(large, 0.5, align=False, tile=False)]
    assert max(found.boxes.max() for found in whole) > 110
    for at, parts in ((0, left), (96, right)):
        for found, (_, alone) in zip(whole, detector.predict(parts, 0.5, align=False), strict=True):
            shift = np.array([at, 0, at, 0], np.float32)
            centre = (alone.boxes[:, 0] + alone.boxes[:, 2]) / 2
            far = (centre < 60) if at == 0 else (centre > 36)
            for box, score in zip(alone.boxes[far] + shift, alone.scores[far], strict=True):
                near = np.abs(found.boxes - box).max(axis=1)
                # A tile's own edge is padded where the part's is, so what is near neither seam is the same.
                assert near.min() < 1e-3 and abs(found.scores[near.argmin()] - score) < 1e-5
    assert [len(found) for found in shrunk] != [len(found) for found in whole]


def test_frames_of_any_size_keep_their_own_pixels(detector):
    for size in ((40, 50), (64, 97), (200, 300)):
        for _, found in detector.predict(scene(size, frames=2), threshold=0.1, align=False):
            assert found.size == size
            assert (found.boxes >= 0).all() and (found.boxes <= np.array([size[1], size[0]] * 2)).all()


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.5])
def test_a_spot_is_found_where_it_is_at_any_scale(detector, scale):
    frame = np.zeros((128, 192), np.uint8)
    frame[32:48, 144:160] = 255  # whole cells at every one of these scales
    ((given, found),) = detector.predict([frame], tile=True, scale=scale)
    assert given is frame and len(found) == round(2 * scale) ** 2
    assert (found.boxes[:, :2].min(0) >= [140, 28]).all() and (found.boxes[:, 2:].max(0) <= [164, 52]).all()
    assert found.boxes.mean(0).tolist() == pytest.approx(
        [152 - 4 / scale, 40 - 4 / scale, 152 + 4 / scale, 40 + 4 / scale]
    )


def test_frames_are_shown_at_the_scale_of_the_training(network):
    spot = np.zeros((32, 48), np.uint8)
    spot[8:16, 16:24] = 255  # a cell
    large = cv2.resize(spot, (192, 128), interpolation=cv2.INTER_NEAREST)

    def cells(frame, trained=None, **options):
        ((_, found),) = Detector(network, replace(RECORD, scale=trained)).predict([frame], **options)
        return len(found), (found.boxes[:, 2] - found.boxes[:, 0]).tolist()[:1]

    assert cells(spot) == (1, [8.0]), "a small frame keeps its own pixels"
    assert cells(spot, tile=False) == (4, [4.0]), "as evaluation has it, twice as large"
    assert cells(spot, trained=2) == (4, [4.0]) and cells(spot, trained=1, scale=2) == (4, [4.0])
    assert cells(large) == (16, [8.0]) and cells(large, trained=0.25) == (1, [32.0])
    assert len(layout_of((128, 192), (64, 96), scale=0.5).matrices) == 1
    assert len(layout_of((128, 192), (64, 96), scale=1).matrices) == 9


def test_clips_reach_back_as_long_as_in_the_training(network, folder, monkeypatch):
    detector = Detector(network, replace(RECORD, rate=30.0))
    assert [detector.stride_at(rate) for rate in (None, 30, 15, 60, 1)] == [2, 2, 1, 4, 1]
    assert Detector(network, RECORD).stride_at(15) == 2
    assert [found.whole for _, found in detector.predict(folder)].index(True) == 4, "images tell no rate"
    monkeypatch.setattr(ImageFiles, "rate", 15.0, raising=False)
    assert [found.whole for _, found in detector.predict(folder)].index(True) == 2
    assert [found.whole for _, found in detector.predict(folder, stride=3)].index(True) == 6


def test_colour_is_weighed_as_rgb_and_padding_is_grey(detector):
    red, blue = (np.zeros((64, 96, 3), np.uint8) for _ in range(2))
    red[..., 0], blue[..., 2] = 255, 255
    ((_, of_red),), ((_, of_blue),) = (detector.predict([image], 0) for image in (red, blue))
    assert of_red.scores.mean() > 2 * of_blue.scores.mean()
    low = [image[:48] for image in scene((64, 96))]  # padded above and below
    wide = [(image.astype(np.uint16) * 10) for image in low]
    options = {"threshold": 0, "align": False, "tile": False}
    for (_, a), (_, b) in zip(
        detector.predict(low, **options), detector.predict(wide, intensity_range=(0, 2550), **options), strict=True
    ):
        assert np.allclose(np.sort(a.scores), np.sort(b.scores), atol=0.02)


def test_16_bit_frames_get_a_range_that_is_told(network, detector, caplog):
    caplog.set_level(logging.INFO)
    frames = scene((64, 96), dtype=np.uint16)
    found = [each for _, each in detector.predict(frames, 0.5)]
    assert sum(map(len, found)) > 10 and "frames: frames have 16 bits; 8" in caplog.text
    known = Detector(network, replace(RECORD, intensity_range=(9000, 17800)))

    def scores(detector, frames, **options):
        return [each.scores.mean() for _, each in detector.predict(frames, 0, align=False, **options)]

    # As 8 bits of the same values: a 16-bit clip is not rounded to them.
    eight = [((image.astype(np.float64) - 9000) / 8800 * 255).round().astype(np.uint8) for image in frames]
    assert np.allclose(scores(known, frames), scores(detector, eight), atol=0.01)
    assert not np.allclose(scores(known, frames, intensity_range=(0, 65535)), scores(known, frames), atol=0.01)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (
            [np.zeros((64, 96), np.uint8), np.zeros((2, 64, 96), np.uint8)],
            r"frame 1 is an array \(2, 64, 96\) of uint8",
        ),
        (
            [np.zeros((64, 96), np.uint8), np.zeros((64, 90), np.uint8)],
            "frame 1 is 90x64 uint8, those before it are 96x64",
        ),
        ([np.full((64, 96), 0.5, np.float32)], "frame 0: pixels are float32 from 0.5 to 0.5"),
        ([np.full((64, 96, 3), 0.5)], "frame 0: pixels are float64 from 0.5 to 0.5"),
        ([np.zeros((64, 96, 4), np.uint8)], r"frame 0 is an array \(64, 96, 4\) of uint8"),
        ([None], r"frame 0 is an array \(\) of object"),
    ],
)
def test_bad_arrays_are_told(detector, frames, said):
    with pytest.raises(DataError, match=said):
        list(detector.predict(frames))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 2}, "threshold is 2; expected a number from 0 and at most 1"),
        ({"scale": 0}, "scale is 0; expected a number above 0"),
        ({"stride": 0}, "stride is 0; expected a number from 1"),
        ({"threshold": "a"}, "threshold is a; expected a number"),
        ({"threshold": True}, "threshold is True; expected a number"),
        ({"intensity_range": (5,)}, r"intensity_range is \[5\]; expected two values"),
        ({"intensity_range": (5, 5)}, "intensity_range is 5, 5; the second value must be the larger one"),
        ({"align": "x"}, "align is 'x'; expected True, False or one of none, translation"),
        ({"tile": "no"}, "tile is 'no'; expected True, False or 'auto'"),
    ],
)
def test_bad_options_are_told(detector, options, said):
    with pytest.raises(ValueError, match=said):
        detector.predict(scene((64, 96), 2), **options)  # at once, not with the first frame


def test_the_best_of_a_frame_are_kept_whole_or_in_tiles(network):
    detector = Detector(network, RECORD)
    detector.max_detections = 3
    for size in ((64, 96), (64, 192)):
        assert [len(found) for _, found in detector.predict(scene(size, 3), 0.1, align=False)] == [3] * 3


def test_nothing_gives_nothing(detector, tmp_path):
    assert list(detector.predict([])) == []
    for source in (None, 7):
        with pytest.raises(DataError, match=rf"source is {source}; expected a path"):
            list(detector.predict(source))
    with pytest.raises(DataError, match=r"gone\.mp4: there is no such file or folder"):
        list(detector.predict(tmp_path / "gone.mp4"))


def test_results_as_others_want_them(detector, folder):
    *_, (frame, found) = detector.predict(folder)
    first = found.to_coco(7)[0]
    x1, y1, x2, y2 = found.boxes[0].tolist()
    assert first["image_id"] == 7 and found.to_coco()[0]["image_id"] == 7
    assert first["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1]) and first["category_id"] == found.labels[0] + 1
    picture = found.plot(frame, zoom=2)
    assert picture.shape == (128, 192, 3) and (picture[..., 0] != picture[..., 2]).any()


def test_a_deploy_folder_and_a_checkpoint_are_loaded(real, folder, tmp_path):
    export(tmp_path / "deploy", real, RECORD)
    torch.save(
        {"state_dict": {f"model.{n}": v for n, v in real.state_dict().items()}, "tdcnet": RECORD.plain()},
        tmp_path / "best.ckpt",
    )
    expected = [found for _, found in Detector(real, RECORD).predict(folder, 0.1)]
    for path in (tmp_path / "deploy", tmp_path / "deploy" / "model.safetensors", tmp_path / "best.ckpt"):
        detector = tdcnet.load(path)
        assert repr(detector) == "Detector(small: drone, bird; 3 frames 2 apart, 96x64 px)"
        for (_, found), wanted in zip(detector.predict(folder, 0.1), expected, strict=True):
            same(found, wanted)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        load(tmp_path / "gone")


def test_use_alone_loads_neither_lightning_nor_hydra_nor_matplotlib(real, folder, tmp_path):
    export(tmp_path / "deploy", real, RECORD)
    code = (
        "import sys, tdcnet; assert 'torch' not in sys.modules\n"
        f"found = list(tdcnet.load({str(tmp_path / 'deploy')!r}).predict({str(folder)!r}, 0.1))\n"
        "print(len(found), sorted({'pytorch_lightning', 'hydra', 'omegaconf', 'matplotlib'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "8 []\n"
