"""The API of the event stream: server-sent events, attendance, and the state of webhooks."""

import asyncio
import csv
import io
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web

from sfu.api.admin import PREFIX, Call, Operation
from sfu.api.schemas import Schema
from sfu.errors import AtCapacity, BadRequest, NotFound
from sfu.events.attendance import Meeting, rows
from sfu.events.event import Event
from sfu.events.events import Events

HEARTBEAT_INTERVAL = 15.0
"""Seconds without events after which a comment is sent, so that proxies keep the connection."""
WRITE_TIMEOUT = 10.0
"""Seconds that a reader may block; then it is dropped."""
BATCH = 64
"""Events per write."""


class StayInfo(Schema, frozen=True, kw_only=True):
    participant: str
    identity: str
    name: str
    joined_at: float
    left_at: float
    "0: still in the room."
    reason: str
    "Why the stay ended: `left`, `kicked`, …"
    spoke: float
    "Seconds of speech."


class MeetingInfo(Schema, frozen=True, kw_only=True):
    """One life of a room."""

    room_id: str
    started_at: float
    ended_at: float
    "0: not ended."
    stays: list[StayInfo]
    dropped: int
    "Older stays that were dropped."


class AttendanceInfo(Schema, frozen=True, kw_only=True):
    room: str
    meetings: list[MeetingInfo]
    "The newest first."


class WebhookInfo(Schema, frozen=True, kw_only=True):
    """A receiver of webhooks. Times are seconds since 1970; 0: never."""

    url: str
    "Without its query, which may contain a secret."
    queued: int
    "Undelivered events, in memory and in the outbox."
    stored: int
    "Those in the outbox, which survive the end of the process."
    stored_bytes: int
    failing: bool
    "The last attempts failed."
    delivered: int
    failed: int
    "Failed attempts."
    dropped: int
    "Events dropped because the queue was full."
    expired: int
    "Events dropped after `events.webhooks.retry`."
    refused: int
    "Events that the receiver refused."
    last_success_at: float
    last_error_at: float
    last_error: str


class WebhookList(Schema, frozen=True, kw_only=True):
    webhooks: list[WebhookInfo]
    problem: str
    "Why the outbox cannot be written; empty: none."


def _events(call: Call) -> Events:
    if call.services.events is None:
        raise NotFound("This server has no event stream.")
    return call.services.events


def _webhooks(call: Call) -> WebhookList:
    events = _events(call)
    found = [
        WebhookInfo(
            url=one.address,
            queued=one.queued,
            stored=one.stored,
            stored_bytes=one.stored_bytes,
            failing=one.delivery.failing,
            delivered=one.delivery.delivered,
            failed=one.delivery.failed,
            dropped=one.delivery.dropped,
            expired=one.delivery.expired,
            refused=one.delivery.refused,
            last_success_at=round(one.delivery.last_success_at, 3),
            last_error_at=round(one.delivery.last_error_at, 3),
            last_error=one.delivery.last_error,
        )
        for one in events.webhook_states()
    ]
    return WebhookList(webhooks=found, problem=events.webhooks.disk_problem if events.webhooks is not None else "")


def _attendance(call: Call) -> "AttendanceInfo | Table":
    form = call.query.get("format", "json")
    if form not in ("json", "csv"):
        raise BadRequest("The format is json or csv.")
    meetings = _events(call).attendance.meetings(call.room)
    if not meetings:
        raise NotFound("There is no attendance of this room.")
    if form == "csv":
        return Table(meetings)
    return AttendanceInfo(room=call.room, meetings=[_meeting(one) for one in meetings])


def _meeting(meeting: Meeting) -> MeetingInfo:
    return MeetingInfo(
        room_id=meeting.room_id,
        started_at=round(meeting.started_at, 3),
        ended_at=round(meeting.ended_at, 3),
        stays=[
            StayInfo(
                participant=stay.participant,
                identity=stay.identity,
                name=stay.name,
                joined_at=round(stay.joined_at, 3),
                left_at=round(stay.left_at, 3),
                reason=stay.reason,
                spoke=stay.spoke,
            )
            for stay in meeting.stays
        ],
        dropped=meeting.dropped,
    )


@dataclass(frozen=True, slots=True)
class Table:
    """A response in CSV (RFC 4180)."""

    meetings: Sequence[Meeting]

    async def respond(self, request: web.Request) -> web.StreamResponse:
        text = io.StringIO()
        csv.writer(text).writerows(rows(self.meetings))
        headers = {
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": 'attachment; filename="attendance.csv"',
            "Cache-Control": "no-store",
        }
        return web.Response(body=text.getvalue().encode(), headers=headers)


@dataclass(frozen=True, slots=True)
class Follow:
    """A response that follows the stream as server-sent events (HTML Living Standard, 9.2)."""

    events: Events
    room: str
    "Empty: all rooms."

    async def respond(self, request: web.Request) -> web.StreamResponse:
        events, recent = self.events, self.events.recent
        if events.readers >= events.max_readers:
            raise AtCapacity("Too many readers follow the events of this server.")
        last = request.headers.get("Last-Event-ID", "")
        position = events.stream.number_of(last)
        lost = bool(last) and (position is None or position + 1 < recent.oldest)
        if position is None or position > recent.newest:
            # Of another process: all events that are kept. Without an id: those from now on.
            position = recent.oldest - 1 if last else recent.newest
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        response.headers["X-Accel-Buffering"] = "no"
        if origin := request.headers.get("Origin"):
            # The CORS middleware has accepted it, but adds headers only when the response is over.
            response.headers.update({"Access-Control-Allow-Origin": origin, "Vary": "Origin"})
        events.readers += 1
        try:
            await response.prepare(request)
            await _write(response, b": events may be missing\n\n" if lost else b": connected\n\n")
            await self._follow(response, position)
        except (TimeoutError, ConnectionError):
            events.readers_dropped += 1
            if request.transport is not None:
                request.transport.abort()
        finally:
            events.readers -= 1
        return response

    async def _follow(self, response: web.StreamResponse, position: int) -> None:
        """Raises TimeoutError for a reader that is too slow."""
        recent = self.events.recent
        while not recent.closed:
            if position + 1 < recent.oldest:
                raise TimeoutError
            found = recent.after(position, BATCH)
            if not found:
                try:
                    async with asyncio.timeout(HEARTBEAT_INTERVAL):
                        await recent.wait()
                except TimeoutError:
                    await _write(response, b":\n\n")
                continue
            position = found[-1].number
            wanted = [event for event in found if not self.room or event.room == self.room]
            if wanted:
                await _write(response, b"".join(map(_frame, wanted)))
        with suppress(ConnectionError):
            await response.write_eof()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT):
        await response.write(data)


def _frame(event: Event) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (event.id.encode(), event.name.encode(), event.body)


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        name="followEvents",
        method="GET",
        path=f"{PREFIX}/events",
        summary="Follows the events of all rooms or of one; `Last-Event-ID` resumes.",
        grant="view",
        run=lambda call: Follow(_events(call), call.query.get("room", "")),
        query=("room",),
        media=("text/event-stream",),
    ),
    Operation(
        name="getAttendance",
        method="GET",
        path=f"{PREFIX}/rooms/{{room}}/attendance",
        summary="Returns who was in the room, from when to when, and how long each participant spoke.",
        grant="admin",
        run=_attendance,
        answer=AttendanceInfo,
        query=("format",),
        media=("text/csv",),
    ),
    Operation(
        name="listWebhooks",
        method="GET",
        path=f"{PREFIX}/webhooks",
        summary="Lists the receivers of webhooks with their queues and last errors.",
        grant="list",
        run=_webhooks,
        answer=WebhookList,
    ),
)
