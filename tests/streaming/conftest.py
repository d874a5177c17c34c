"""A spot that moves over a textured ground, a detector that finds it, and streams of it."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tdcnet.deploy.record import Record
from tdcnet.inference.detector import Detector

CONFIG = {"_target_": "tdcnet.models.motion_2d_nano", "num_classes": 1, "num_frames": 3}
RECORD = Record(
    model=CONFIG, classes=("drone",), size=(64, 96), num_frames=3, stride=2, name="spot", rate=30.0, threshold=0.5
)


class Spot(torch.nn.Module):
    """Finds the middle of what is brightest, if it is bright."""

    num_classes, in_channels = 1, 1

    def forward(self, aligned, frames):
        newest = F.avg_pool2d(frames[:, :, -1], 3, 1, 1)
        _, _, height, width = newest.shape
        raw = torch.zeros(len(newest), 6, height // 8, width // 8)
        raw[:, 4], raw[:, 5] = -9.0, 6.0
        for one, image in zip(raw, newest[:, 0], strict=True):
            at = int(image.argmax())
            y, x = divmod(at, width)
            if float(image[y, x]) > 0.8:
                one[0, y // 8, x // 8], one[1, y // 8, x // 8] = (x % 8 + 0.5) / 8, (y % 8 + 0.5) / 8
                one[4, y // 8, x // 8] = 3.0
        return raw


@pytest.fixture
def detector():
    return Detector(Spot().eval(), RECORD)


def moving(frames=40, size=(64, 96), step=1.5):
    """Grey frames with one spot that moves to the right."""
    rng = np.random.default_rng(0)
    ground = cv2.GaussianBlur(rng.random(size).astype(np.float32), (0, 0), 2)
    ground = (ground - ground.min()) / np.ptp(ground) * 120
    made = []
    for t in range(frames):
        image = ground.copy()
        cv2.circle(image, (round(8 + step * t), 30), 2, 255, -1)
        made.append(image.astype(np.uint8))
    return made


class Camera:
    """A camera of the network: MJPEG over HTTP, which can be told to fail."""

    def __init__(self, frames, rate=60.0):
        self.frames, self.rate = frames, rate
        self.broken = threading.Event()  # the connection is cut, and none is taken
        self.silent = threading.Event()  # the connection stays, and nothing comes
        self.torn = False
        self.taken = 0
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *given):
                pass

            def do_GET(self):
                camera.taken += 1
                if camera.broken.is_set():
                    self.send_error(503)
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=x")
                self.end_headers()
                with contextlib.suppress(OSError):
                    camera.send(self.wfile)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://user:s3cret@127.0.0.1:{self.server.server_port}/video"

    def send(self, file):
        number = 0
        while not self.broken.is_set():
            time.sleep(1 / self.rate)
            if self.silent.is_set():
                continue
            _, data = cv2.imencode(".jpg", self.frames[number % len(self.frames)], [cv2.IMWRITE_JPEG_QUALITY, 95])
            told = data.tobytes()
            if self.torn and number % 5 == 2:
                told = told[: len(told) // 2]
            file.write(b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(told) + told + b"\r\n")
            number += 1

    def close(self):
        self.broken.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def camera():
    made = Camera(moving(40))
    yield made
    made.close()
