"""The page: Starlette's routes, and uvicorn in a thread."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from tdcnet.data.errors import DataError
from tdcnet.streaming.page.board import Board
from tdcnet.streaming.page.trial import MOST_BYTES, Trial

if TYPE_CHECKING:
    from tdcnet.streaming.live import Live

log = logging.getLogger(__name__)

HERE = Path(__file__).parent
FILES = {
    "/": ("index.html", "text/html"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.css": ("page.css", "text/css"),
}
LOOPBACK = ("127.0.0.1", "::1", "localhost")
VIEWERS = 16
PATIENCE = 30.0
"""Seconds that a viewer may take for one picture."""
STALE = 30.0
"""Seconds without a frame after which a source that is live is not healthy."""
HEADER = "x-tdcnet"
"""Of whatever changes something: no other site's form can send it."""
SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
COOKIE = "tdcnet_token"
Handler = Callable[[Request], Awaitable[Response]]


class Page:
    """Serves a page about what is watched.

    Args:
        live: what is watched.
        board: its pictures.
        host: address to bind to; one that is not of this machine alone needs a token.
        port: to bind to; 0 for any that is free.
        token: who knows it may look; None makes one where one is needed.
        trial: looks at a video that is handed in; None allows none.

    Attributes:
        token: that is needed; None where none is.

    Raises:
        ValueError: if a token is too short.
    """

    def __init__(
        self, live: Live, board: Board, host: str, port: int, token: str | None = None, trial: Trial | None = None
    ) -> None:
        self.live, self.board, self.trial = live, board, trial
        self.host, self.port = host, port
        token = None if token is None else str(token)
        if token is not None and len(token) < 8:
            raise ValueError(
                "the page's token has fewer than 8 characters; give a longer one, or none to have one made"
            )
        self.token = token or (None if host in LOOPBACK else secrets.token_urlsafe(18))
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._metrics = CollectorRegistry()
        self._metrics.register(_Metrics(live))
        self.app = Starlette(routes=self._routes())

    @property
    def address(self) -> str:
        """What a browser is given."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/" + (f"?token={quote(self.token, safe='')}" if self.token else "")

    def start(self) -> None:
        """Begins to serve.

        Raises:
            DataError: if the port is taken.
        """
        config = uvicorn.Config(
            self.app,
            host=self.host,
            port=self.port,
            log_level="critical",
            access_log=False,
            lifespan="off",
            limit_concurrency=256,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=1,
            server_header=False,
        )
        self._server = uvicorn.Server(config)
        listening = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self.host, self.port))
        except (OSError, OverflowError) as error:
            listening.close()
            raise DataError(
                f"the page cannot be served at {self.host}:{self.port}: the port is taken, or the address is none of "
                "this machine. Give another one"
            ) from error
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, name="page", daemon=True
        )
        self._thread.start()
        for _ in range(500):
            if self._server.started:
                return
            time.sleep(0.01)
        raise DataError(f"the page could not be served at {self.host}:{self.port}")

    def close(self) -> None:
        """Ends it."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(5)
        self.board.close()
        if self.trial is not None:
            self.trial.close()

    # -- who may look --------------------------------------------------------------------------------------------------

    def _allowed(self, request: Request) -> bool:
        if self.token is None:
            # A name that leads to this machine by another site's doing is none of ours.
            return (request.url.hostname or "") in LOOPBACK
        given = request.headers.get("authorization", "").removeprefix("Bearer "), request.cookies.get(COOKIE, "")
        return any(hmac.compare_digest(each.encode(), _cookie(self.token).encode()) for each in given) or (
            hmac.compare_digest(given[0].encode(), self.token.encode())
        )

    def _guarded(self, handler: Handler, changes: bool = False) -> Handler:
        async def answer(request: Request) -> Response:
            if not self._allowed(request):
                given = request.query_params.get("token", "")
                if self.token is not None and hmac.compare_digest(given.encode(), self.token.encode()):
                    response: Response = RedirectResponse(request.url.path, 303)  # the token leaves the address
                    response.set_cookie(COOKIE, _cookie(self.token), httponly=True, samesite="strict")
                    response.headers.update(SAFE)
                    return response
                return PlainTextResponse("not allowed; open the address with its token", 403, SAFE)
            if changes and request.headers.get(HEADER) != "1":
                return PlainTextResponse(f"needs the header {HEADER}: 1", 403, SAFE)
            response = await handler(request)
            response.headers.update(SAFE)
            return response

        return answer

    def _routes(self) -> list[Route]:
        routes = [
            Route(path, self._guarded(_file(name, kind)), methods=["GET"]) for path, (name, kind) in FILES.items()
        ]
        for path, handler in (
            ("/video", self._video),
            ("/events", self._events),
            ("/alarms", self._alarms),
            ("/metrics", self._prometheus),
            ("/trial", self._trial_state),
            ("/trial/video", self._trial_video),
        ):
            routes.append(Route(path, self._guarded(handler), methods=["GET"]))
        routes.append(Route("/health", self._health, methods=["GET"]))
        routes.append(Route("/least", self._guarded(self._least, changes=True), methods=["POST"]))
        routes.append(Route("/trial", self._guarded(self._trial_begin, changes=True), methods=["POST"]))
        return routes

    # -- what is shown -------------------------------------------------------------------------------------------------

    async def _video(self, request: Request) -> Response:
        if self.board.looking >= VIEWERS:
            return PlainTextResponse(f"{VIEWERS} look already", 503)
        return _Mjpeg(self.board)

    async def _events(self, request: Request) -> Response:
        return _Events(self._told)

    def _told(self) -> dict[str, Any]:
        figures = self.live.figures()
        late = [None if value != value else round(value * 1000, 1) for value in figures.latency]
        return {
            "source": self.live.stream.stream.source.name,
            "state": figures.state,
            "frames": figures.frames,
            "rate": round(figures.rate, 1),
            "latency": late,
            "dropped": figures.dropped,
            "restored": figures.restored,
            "tracks": figures.tracks,
            "alarms": figures.alarms,
            "least": self.board.least,
            "upload": self.trial is not None,
            "seconds": round(figures.seconds),
        }

    async def _alarms(self, request: Request) -> Response:
        try:
            known = int(request.query_params.get("known", "0"))
        except ValueError:
            known = 0
        told = []
        for each in list(self.board.alarms):
            if each.told["alarm"] > known:
                told.append({**each.told, "at": each.at, "picture": base64.b64encode(each.picture).decode()})
        return JSONResponse(told)

    async def _least(self, request: Request) -> Response:
        try:
            value = json.loads(await _body(request, 1000))["least"]
            if isinstance(value, bool) or not 0 <= value <= 1:
                raise ValueError
        except (ValueError, KeyError, TypeError, RecursionError):
            return PlainTextResponse('expected {"least": a number from 0 to 1}', 400)
        self.board.least = float(value)
        return JSONResponse({"least": value})

    async def _health(self, request: Request) -> Response:
        figures = self.live.figures()
        good = figures.state == "running" and figures.silent < STALE
        return JSONResponse({"state": figures.state, "rate": round(figures.rate, 2)}, 200 if good else 503, SAFE)

    async def _prometheus(self, request: Request) -> Response:
        return Response(generate_latest(self._metrics), media_type=CONTENT_TYPE_LATEST)

    # -- a video that is handed in -------------------------------------------------------------------------------------

    async def _trial_begin(self, request: Request) -> Response:
        if self.trial is None:
            return PlainTextResponse("no videos are taken here", 404)
        taken = self.trial.take()
        if taken is None:
            return PlainTextResponse("another video is looked at; wait until it is done", 409)
        try:
            size = 0
            with taken.open("wb") as file:
                parts = request.stream().__aiter__()
                while (part := await asyncio.wait_for(_next(parts), PATIENCE)) is not None:
                    size += len(part)
                    if size > MOST_BYTES:
                        raise DataError(f"larger than {MOST_BYTES >> 20} MiB")
                    file.write(part)
        except TimeoutError:
            self.trial.refuse("nothing came for long")
            return PlainTextResponse("nothing came for long", 408)
        except (DataError, OSError) as error:
            self.trial.refuse(str(error))
            return PlainTextResponse(str(error), 413 if isinstance(error, DataError) else 507)
        except BaseException:  # who handed it in went away
            self.trial.refuse("it did not arrive whole")
            raise
        self.trial.begin()
        return JSONResponse(self.trial.told())

    async def _trial_state(self, request: Request) -> Response:
        return JSONResponse({"state": "off"} if self.trial is None else self.trial.told())

    async def _trial_video(self, request: Request) -> Response:
        if self.trial is None or self.trial.result is None:
            return PlainTextResponse("there is none", 404)
        return FileResponse(self.trial.result, media_type="video/mp4")


def _file(name: str, kind: str) -> Handler:
    async def answer(request: Request) -> Response:
        return FileResponse(HERE / name, media_type=f"{kind}; charset=utf-8")

    return answer


def _cookie(token: str) -> str:
    """A token as a cookie can hold it."""
    return hashlib.sha256(token.encode()).hexdigest()


async def _next(parts: Any) -> bytes | None:
    """The next part of a body; None at its end."""
    try:
        return bytes(await parts.__anext__())
    except StopAsyncIteration:
        return None


async def _body(request: Request, most: int) -> bytes:
    parts = b""
    async for part in request.stream():
        parts += part
        if len(parts) > most:
            raise ValueError("too long")
    return parts


class _Mjpeg(Response):
    """Pictures one after the other; who is slow gets fewer, who takes none for long is let go."""

    def __init__(self, board: Board) -> None:
        super().__init__(media_type="multipart/x-mixed-replace; boundary=frame")
        self.headers.__delitem__("content-length")
        self.board = board

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.board.look(1)
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            version = -1
            while not gone.done():
                if version == self.board.version or not self.board.picture:
                    await asyncio.sleep(0.015)
                    continue
                version, picture = self.board.version, self.board.picture
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
                body = {"type": "http.response.body", "body": head + picture + b"\r\n", "more_body": True}
                await asyncio.wait_for(send(body), PATIENCE)
        except (TimeoutError, OSError):
            pass
        finally:
            gone.cancel()
            self.board.look(-1)


class _Events(Response):
    """Figures twice a second, as server-sent events."""

    def __init__(self, told: Callable[[], dict[str, Any]]) -> None:
        super().__init__(media_type="text/event-stream")
        self.headers.__delitem__("content-length")
        self.told = told

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        gone = asyncio.ensure_future(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not gone.done():
                text = f"data: {json.dumps(self.told())}\n\n".encode()
                await asyncio.wait_for(send({"type": "http.response.body", "body": text, "more_body": True}), PATIENCE)
                await asyncio.sleep(0.5)
        except (TimeoutError, OSError):
            pass
        finally:
            gone.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Metrics:
    """Figures of what is watched, for Prometheus."""

    def __init__(self, live: Live) -> None:
        self.live = live

    def collect(self) -> Iterator[Metric]:
        """All of now. What only grows is a counter, whose name ends in ``_total``."""
        told = self.live.figures()
        p50, p95, p99 = told.latency
        latency = "from arrival to tracks, over the last frames"
        counted = (
            ("frames", "frames that were looked at", told.frames),
            ("frames_dropped", "frames that came and were not looked at", told.dropped),
            ("alarms", "alarms so far", told.alarms),
            ("source_restored", "times that the source was lost and came back", told.restored),
        )
        measured = (
            ("frames_per_second", "over the last seconds", told.rate),
            ("latency_p50_seconds", latency, p50),
            ("latency_p95_seconds", latency, p95),
            ("latency_p99_seconds", latency, p99),
            ("tracks", "confirmed tracks now", told.tracks),
            ("source_running", "1 while frames come", told.state == "running"),
        )
        for name, what, count in counted:
            yield CounterMetricFamily(f"tdcnet_{name}", what, value=count)
        for name, what, value in measured:
            yield GaugeMetricFamily(f"tdcnet_{name}", what, value=float(value))
