"""Reports the states of ingests to an observer, such as the event stream: each state once."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from sfu.events.event import IngressChanged, IngressEvent, IngressStatus
from sfu.ingest.status import IngestStatus


class IngressObserver(Protocol):
    def __call__(self, event: IngressEvent, change: IngressChanged) -> None:
        """Queues and returns."""


class IngressReports:
    def __init__(self, observer: IngressObserver | None = None, clock: Callable[[], float] = time.time) -> None:
        self._observer = observer
        self._clock = clock
        self._last: dict[str, IngressChanged] = {}
        "By id. Ingests that have not changed since the start of the server have no entry."

    def created(self, status: IngestStatus) -> None:
        self._report("ingress_created", _change(status))

    def started(self, status: IngestStatus) -> None:
        """The stream has joined its room."""
        self._report("ingress_started", replace(_change(status), started_at=self._clock()))

    def updated(self, status: IngestStatus) -> None:
        """Call it at any time: it reports changes only."""
        last = self._last.get(status.key.id)
        change = replace(_change(status), started_at=last.started_at if last is not None else 0.0)
        if change != (replace(last, ended_at=0.0) if last is not None else None):
            self._report("ingress_updated", change)

    def ended(self, status: IngestStatus, room_id: str) -> None:
        """The stream has left its room."""
        last = self._last.get(status.key.id)
        started_at = last.started_at if last is not None else 0.0
        change = replace(_change(status), room_id=room_id, started_at=started_at, ended_at=self._clock())
        self._report("ingress_ended", change)
        self._last[status.key.id] = replace(change, room_id="")

    def deleted(self, status: IngestStatus) -> None:
        self._report("ingress_deleted", _change(status))
        self._last.pop(status.key.id, None)

    def _report(self, event: IngressEvent, change: IngressChanged) -> None:
        self._last[change.id] = change
        if self._observer is not None:
            self._observer(event, change)


def _change(status: IngestStatus) -> IngressChanged:
    key = status.key
    state: IngressStatus = "ENDPOINT_PUBLISHING"
    if status.state == "error":
        state = "ENDPOINT_ERROR"
    elif status.state == "waiting":
        state = "ENDPOINT_BUFFERING" if status.room_id else "ENDPOINT_INACTIVE"
    return IngressChanged(
        id=key.id,
        room=key.room,
        room_id=status.room_id,
        identity=key.identity,
        name=key.name,
        url=status.url,
        status=state,
        error=status.problem if state == "ENDPOINT_ERROR" else "",
        warning=status.problem if state != "ENDPOINT_ERROR" else "",
        codec=status.codec,
        width=status.width,
        height=status.height,
    )
