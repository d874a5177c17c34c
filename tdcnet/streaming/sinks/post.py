"""Alarms to an address, by HTTP POST; what cannot be sent waits, but not for ever and not without bound."""

from __future__ import annotations

import base64
import http.client
import json
import logging
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

from tdcnet.data.errors import DataError
from tdcnet.streaming import rows
from tdcnet.streaming.addresses import check_address, without_password

if TYPE_CHECKING:
    from tdcnet.streaming.alarms import Alarm
    from tdcnet.tracking.stream import Tracked

log = logging.getLogger(__name__)

PAUSES = (1.0, 2.0, 5.0, 15.0, 60.0)
"""Seconds after each failure; the last for all that follow."""


class Post:
    """An alarm's JSON to an address, in order, in a thread of its own.

    Args:
        address: ``http://`` or ``https://``.
        most: alarms that wait; beyond that the oldest are dropped, which is told.
        patience: seconds until an address that does not answer counts as failed.
        headers: sent along, such as ``{"Authorization": "Bearer ..."}``.
        pauses: seconds, see :data:`PAUSES`.

    Raises:
        DataError: if the address is of another kind.
    """

    def __init__(
        self,
        address: str,
        most: int = 1000,
        patience: float = 10.0,
        headers: dict[str, str] | None = None,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        self.name = without_password(address)
        if not address.lower().startswith(("http://", "https://")):
            raise DataError(f"{self.name}: alarms are sent to an address that begins with http:// or https://")
        check_address(address)
        address, login = _without_login(address)
        self._address, self._patience, self._pauses = address, patience, pauses
        self._headers = {**login, **(headers or {}), "Content-Type": "application/json"}
        self._waiting: deque[dict[str, Any]] = deque()
        self._most, self.dropped, self.sent = most, 0, 0
        self._news = threading.Condition()
        self._closed = False
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._thread = threading.Thread(target=self._run, name="alarms", daemon=True)
        self._thread.start()

    def add(self, tracked: Tracked, alarms: Sequence[Alarm]) -> None:
        """The next frame."""
        if not alarms:
            return
        with self._news:
            for alarm in alarms:
                if len(self._waiting) >= self._most:
                    self._waiting.popleft()
                    self.dropped += 1
                    if self.dropped in (1, 10, 100) or self.dropped % 1000 == 0:
                        log.warning("%s: %d alarms could not be sent and were dropped", self.name, self.dropped)
                self._waiting.append(rows.alarm_line(alarm))
            self._news.notify_all()

    def close(self, patience: float = 5.0) -> None:
        """Gives what waits some seconds more."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        self._thread.join(patience)
        if self._waiting:
            log.warning("%s: %d alarms were not sent", self.name, len(self._waiting))

    def _run(self) -> None:
        failed = 0
        while True:
            with self._news:
                self._news.wait_for(lambda: bool(self._waiting) or self._closed)
                if not self._waiting:
                    return
                told = self._waiting[0]
            if self._send(told, failed):
                failed = 0
                with self._news:
                    if self._waiting and self._waiting[0] is told:
                        self._waiting.popleft()
                continue
            failed += 1
            with self._news:
                if self._closed:
                    return
                self._news.wait_for(lambda: self._closed, self._pauses[min(failed, len(self._pauses)) - 1])

    def _send(self, told: dict[str, Any], failed: int) -> bool:
        try:
            body = json.dumps(told).encode()
            request = urllib.request.Request(self._address, body, self._headers, method="POST")
            with self._opener.open(request, timeout=self._patience) as answer:
                answer.read(65536)
        except urllib.error.HTTPError as error:
            if 400 <= error.code < 500 and error.code not in (408, 425, 429):
                log.error("%s: does not take an alarm (%d), which is dropped", self.name, error.code)
                return True
            why = f"answers {error.code}"
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = type(getattr(error, "reason", error)).__name__
        else:
            self.sent += 1
            if failed:
                log.info("%s: takes alarms again", self.name)
            return True
        if not failed:
            log.warning("%s: takes no alarm (%s); it is tried again", self.name, why)
        return False


def _without_login(address: str) -> tuple[str, dict[str, str]]:
    """An address without its name and password, and the header that tells them."""
    parts = urlsplit(address)
    if parts.username is None:
        return address, {}
    given = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return bare, {"Authorization": f"Basic {base64.b64encode(given.encode()).decode()}"}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that sends us elsewhere is not followed: what is sent goes where it was told to go."""

    def redirect_request(self, *given: Any) -> None:
        return None
