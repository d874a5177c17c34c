"""A small RTSP server, for tests: H.264 over TCP, as cameras of the network speak it (RFC 2326, RFC 6184)."""

from __future__ import annotations

import base64
import contextlib
import socketserver
import struct
import threading
import time
from fractions import Fraction

import av
import numpy as np

MOST = 1400
"""Bytes of a packet."""


class RtspCamera:
    """Serves frames over and over to whoever knows the password."""

    def __init__(self, frames, rate=30.0, user="me", password="s3cret"):
        self.units, self.rate = encoded(frames, rate), rate
        self.expected = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        self.broken = threading.Event()
        camera = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                with contextlib.suppress(OSError):
                    camera.talk(self.rfile, self.wfile)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address, daemon_threads = True, True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def address(self, user="me", password="s3cret"):
        return f"rtsp://{user}:{password}@127.0.0.1:{self.port}/live"

    def close(self):
        self.broken.set()
        self.server.shutdown()
        self.server.server_close()

    def talk(self, requests, answers):
        while not self.broken.is_set():
            first = requests.readline().decode().split()
            if not first:
                return
            method, headers = first[0], {}
            while line := requests.readline().decode().strip():
                key, _, value = line.partition(":")
                headers[key.lower()] = value.strip()

            def answer(status="200 OK", more="", body=""):
                told = f"RTSP/1.0 {status}\r\nCSeq: {headers.get('cseq', 0)}\r\nSession: 12345678\r\n{more}"  # noqa: B023
                told += f"Content-Length: {len(body)}\r\n\r\n{body}" if body else "\r\n"
                answers.write(told.encode())

            if method == "OPTIONS":
                answer(more="Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n")
            elif headers.get("authorization") != self.expected:
                answer("401 Unauthorized", 'WWW-Authenticate: Basic realm="camera"\r\n')
            elif method == "DESCRIBE":
                lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=live", "t=0 0", "m=video 0 RTP/AVP 96"]
                lines += ["a=rtpmap:96 H264/90000", "a=fmtp:96 packetization-mode=1", "a=control:track1", ""]
                answer(more="Content-Type: application/sdp\r\n", body="\r\n".join(lines))
            elif method == "SETUP":
                answer(more="Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
            elif method == "PLAY":
                answer(more="Range: npt=0.000-\r\n")
                self.play(answers)
                return
            else:
                answer()

    def play(self, answers):
        number, start = 0, time.monotonic()
        for count in range(1_000_000):
            stamp = round(count * 90_000 / self.rate)
            time.sleep(max(0.0, start + count / self.rate - time.monotonic()))
            if self.broken.is_set():
                return
            parts = list(packets(self.units[count % len(self.units)]))
            for at, payload in enumerate(parts):
                last = at == len(parts) - 1
                head = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), number & 0xFFFF, stamp & 0xFFFFFFFF, 7)
                answers.write(b"$\0" + struct.pack(">H", len(head) + len(payload)) + head + payload)
                number += 1


def encoded(frames, rate):
    """Frames as H.264, each as the NAL units that it takes."""
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height = frames[0].shape[1], frames[0].shape[0]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, round(rate)), Fraction(round(rate))
    codec.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "crf": "10",
        "x264-params": "keyint=10:repeat-headers=1",
    }
    found = []
    for number, image in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="gray").reformat(format="yuv420p")
        frame.pts = number
        found += [units(bytes(packet)) for packet in codec.encode(frame)]
    return found


def units(data):
    """NAL units of a packet in Annex B."""
    parts = data.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return [part for part in parts if part]


def packets(nal_units):
    """Payloads: a unit as it is, or in fragments (FU-A)."""
    for unit in nal_units:
        if len(unit) <= MOST:
            yield unit
            continue
        kind, body = unit[0], unit[1:]
        pieces = [body[i : i + MOST] for i in range(0, len(body), MOST)]
        for at, piece in enumerate(pieces):
            flags = (0x80 if at == 0 else 0) | (0x40 if at == len(pieces) - 1 else 0)
            yield bytes([(kind & 0xE0) | 28, flags | (kind & 0x1F)]) + piece
