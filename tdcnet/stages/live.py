"""stage=live."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from tdcnet.deploy.optional import require
from tdcnet.deploy.weights import Weights
from tdcnet.files import FolderError
from tdcnet.finite import number
from tdcnet.inference.detector import Detector
from tdcnet.shown import printable, shown
from tdcnet.stages.parts import Results, build, plain
from tdcnet.stages.prediction import detector_of
from tdcnet.stages.tracking import tracks_of, use_threads
from tdcnet.streaming.alarms import Alarm, Alarms, Rule
from tdcnet.streaming.files import FileStream
from tdcnet.streaming.live import Live
from tdcnet.streaming.sinks import Sink
from tdcnet.streaming.sinks.files import Csv, JsonLines, Mot
from tdcnet.streaming.sinks.post import Post
from tdcnet.streaming.sinks.video import Segments, Snapshots
from tdcnet.streaming.sources import open_source
from tdcnet.tracking.stream import Tracked, TrackStream

log = logging.getLogger(__name__)


def live(cfg: DictConfig, overrides: Sequence[str], weights: Weights | None) -> Results:
    """Watches ``source`` until it ends, or SIGINT or SIGTERM comes.

    Raises:
        DataError: if the source cannot be opened, or the page cannot be served.
        MissingPackage: for a page without its packages.
    """
    stage = cfg.stage
    if stage.page is not None:
        number("stage.page", stage.page, 0, 65535)
        require(["starlette", "uvicorn", "prometheus_client"], "a page", "live")
    source = open_source(
        _one(cfg.source),
        policy=stage.policy,
        realtime=stage.realtime,
        rate=stage.rate,
        raw=stage.raw,
        wait=stage.wait,
        camera=hydra.utils.instantiate(stage.camera),
    )
    rules = [_rule(each) for each in plain(stage.rules) or []]
    number("stage.every", stage.every, 1)
    use_threads(stage.threads)
    parts = build(cfg, overrides, weights, ready=True)
    detector = detector_of(cfg, parts)
    for rule in rules:
        if wrong := [each for each in rule.classes or () if each not in detector.classes]:
            raise ValueError(
                f"stage.rules: {rule.name} is about {', '.join(map(str, wrong))}, which {detector.name} does not know; "
                f"it finds {', '.join(detector.classes)}"
            )
    with _watching(cfg, detector, source, Alarms(rules)) as watcher:
        try:
            watcher.run()
        finally:
            figures = watcher.figures()
            log.info("%s", figures.text())
    return {}, {**parts, "detector": detector, "live": watcher, "figures": figures}


def _rule(given: Any) -> Rule:
    """A rule of the config.

    Raises:
        ValueError: if it is none.
    """
    known = [each.name for each in fields(Rule)]
    if not isinstance(given, dict) or (wrong := [key for key in given if key not in known]):
        what = f"has {', '.join(map(str, wrong))}" if isinstance(given, dict) else "is no list of options"
        raise ValueError(f"stage.rules: {shown(given)} {what}; a rule may have {', '.join(known)}")
    return Rule(**given)


def _one(given: Any) -> Any:
    given = plain(given)
    given = given[0] if isinstance(given, list) and len(given) == 1 else given
    if given in (None, "", []):
        raise ValueError("stage=live needs a source: tdcnet live 0, rtsp://HOST/PATH, clip.mp4 or -")
    if isinstance(given, list):
        raise ValueError(f"stage=live watches one source, {len(given)} are given; start it once for each")
    return str(given)


@contextmanager
def _watching(cfg: DictConfig, detector: Detector, source: Any, alarms: Alarms) -> Iterator[Live]:
    stage, options = cfg.stage, hydra.utils.instantiate(cfg.stage.tracker)

    def tracks(given: Any) -> TrackStream:
        return tracks_of(cfg, detector, given, options)

    sinks, page, board = _sinks(cfg, source.rate), None, None
    if not stage.quiet:
        sinks["terminal"] = _Terminal()
    if stage.page is not None:
        from tdcnet.streaming.page.board import Board

        board = Board()
    watcher = Live(tracks(source), alarms, sinks, board)
    try:
        if board is not None:
            from tdcnet.streaming.page.app import Page
            from tdcnet.streaming.page.trial import Trial

            trial = Trial(lambda path: tracks(FileStream(path))) if stage.upload else None
            page = Page(watcher, board, str(stage.host), int(stage.page), stage.token, trial)
            page.start()
            Console(stderr=True).print(Text.assemble("page at ", (page.address, "bold")), highlight=False)
        with _signals(watcher), _told(watcher, None if stage.quiet else float(stage.every)):
            yield watcher
    finally:
        watcher.stop()
        watcher.close()
        if page is not None:
            page.close()


def _sinks(cfg: DictConfig, rate: float | None) -> dict[str, Sink]:
    stage = cfg.stage
    ways: dict[str, Callable[[str], Sink]] = {
        "json": lambda path: JsonLines(path, at=True),
        "csv": Csv,
        "mot": lambda path: Mot(path, keep=True),
        "record": lambda path: Segments(
            path, rate or 30.0, stage.segment, stage.around_alarms, stage.before, stage.after, stage.keep
        ),
        "snapshots": lambda path: Snapshots(path, stage.keep),
    }
    sinks: dict[str, Sink] = {}
    for name, make in ways.items():
        if stage[name] is not None:
            try:
                sinks[f"{name} in {stage[name]}"] = make(str(stage[name]))
            except OSError as error:
                raise FolderError(
                    f"{name}={printable(stage[name])}: cannot be written ({error.strerror}). Give another place"
                ) from error
    if stage.post is not None:
        sinks["post"] = Post(stage.post, headers={str(k): str(v) for k, v in (plain(stage.headers) or {}).items()})
    return sinks


class _Terminal:
    """A line for each alarm."""

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        for alarm in alarms:
            x1, y1, x2, y2 = (float(value) for value in alarm.track.box)
            when = f"frame {alarm.index}" if alarm.time is None else f"{alarm.time:8.2f} s"
            where = f"at {(x1 + x2) / 2:.0f}, {(y1 + y2) / 2:.0f}"
            text = f"{when}  {printable(alarm.rule)}: {printable(alarm.name)} {alarm.track.id} {where}"
            print(f"{text}, score {alarm.track.score:.2f}", flush=True)

    def close(self) -> None:
        pass


@contextmanager
def _signals(watcher: Live) -> Iterator[None]:
    """SIGINT and SIGTERM end it as the end of its source would; a second one ends the program where it is."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def stop(signum: int, frame: Any) -> None:
        if came:
            sys.exit(128 + signum)
        came.append(signum)
        watcher.stop()

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _told(watcher: Live, every: float | None) -> Iterator[None]:
    """A line of figures now and then."""
    done = threading.Event()

    def tell() -> None:
        while every is not None and not done.wait(every):
            log.info("%s", watcher.figures().text())

    thread = threading.Thread(target=tell, name="figures", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(1)
