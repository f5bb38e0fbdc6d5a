"""A signalling session of one participant.

It outlives its socket for the resume window. It implements `ParticipantSink` for the room and `Client` for the two media
connections, and encodes with its dialect. requests.py executes the client's requests. Close order: the room, so that the
others get the event, then the media connections, then the socket.
"""

import asyncio
import logging
import math
from collections.abc import Sequence
from typing import Protocol

from sfu.auth.tokens import Claims
from sfu.errors import RateLimited, RemoteError
from sfu.forwarding.decision_log import DecisionLog
from sfu.ids import SessionId
from sfu.rooms.events import DataPacket, Delivery, LeaveReason, PermissionsChanged
from sfu.rooms.lobby import WaitingParticipant
from sfu.rooms.media_stats import MediaStats
from sfu.rooms.participant import Participant
from sfu.rooms.quality import Link
from sfu.rooms.room import Room
from sfu.signaling import messages
from sfu.signaling.client_limits import ClientLimits
from sfu.signaling.context import Context
from sfu.signaling.diagnostics import Diagnostics
from sfu.signaling.dialect import Dialect
from sfu.signaling.messages import Error, Joined, Leave, ServerMessage
from sfu.signaling.outbox import Outbox, Socket
from sfu.signaling.ports import EgressPort
from sfu.signaling.publishing import Publishing
from sfu.signaling.session_state import (
    ACTIONS,
    CLOSE_NORMAL,
    CLOSE_SLOW,
    CLOSE_TAKEN_OVER,
    NEXT_STATES,
    Action,
    State,
)
from sfu.signaling.snapshot import snapshot
from sfu.signaling.subscribing import Subscribing

logger = logging.getLogger(__name__)


class SessionTable(Protocol):
    """The open sessions of a server; a session adds and removes itself."""

    def add(self, session: "Session") -> None: ...

    def remove(self, session: "Session") -> None: ...


class Session:
    __slots__ = (
        "_context",
        "_state",
        "_table",
        "claims",
        "client",
        "detached_at",
        "diagnostics",
        "dialect",
        "id",
        "join_id",
        "join_trace",
        "last_received_at",
        "limits",
        "outbox",
        "participant",
        "pinged_at",
        "publishing",
        "resume_key",
        "room",
        "subscribing",
        "waiting",
    )

    def __init__(
        self, context: Context, table: SessionTable, dialect: Dialect, claims: Claims, join_id: int, client: str = ""
    ) -> None:
        now = context.now()
        settings = context.settings
        self._context = context
        self._table = table
        self.dialect = dialect
        self._state = State.JOINING
        self.id = SessionId(context.ids("SE"))
        self.resume_key = context.secret()
        self.claims = claims
        self.client = client
        "Name and version of the client, for the log."
        self.join_id = join_id
        "Id of the join request."
        self.room: Room | None = None
        self.participant: Participant | None = None
        self.waiting: WaitingParticipant | None = None
        self.publishing: Publishing | None = None
        self.subscribing: Subscribing | None = None
        self.diagnostics: Diagnostics | None = None
        self.limits = ClientLimits(settings, now)
        self.outbox = Outbox(
            context.flusher,
            dialect.frame,
            settings.replay_events,
            settings.replay_bytes,
            settings.queue_bytes,
            self.overflowed,
        )
        self.last_received_at = now
        self.pinged_at = now
        self.join_trace = context.join_traces.begin()
        self.detached_at: float | None = None
        "Time since which no socket is attached; None: one is."

    @property
    def state(self) -> State:
        return self._state

    def set_state(self, state: State) -> None:
        if state not in NEXT_STATES[self._state]:
            raise RuntimeError(f"a session that is {self._state.value} cannot become {state.value}")
        self._state = state

    # -- socket ---------------------------------------------------------------------------------------------------

    def attach(self, socket: Socket) -> None:
        """Attaches a socket. Closes an earlier one."""
        older = self.outbox.socket
        self.outbox.attach(socket)
        self.detached_at = None
        self.last_received_at = self.pinged_at = self._context.now()
        if older is not None:
            older.close(CLOSE_TAKEN_OVER)

    def socket_lost(self, socket: Socket) -> None:
        """Detaches a closed socket. A waiting participant leaves the lobby."""
        if self.outbox.socket is not socket:
            return
        self.outbox.detach()
        self.detached_at = self._context.now()
        if self._state is State.WAITING:
            self.leave("left")

    def resume(self, join_id: int, last: int) -> None:
        """Resumes on the socket that was just attached. `last`: the highest event number that the client has seen."""
        room, participant, subscribing = self._joined()
        missed = self.outbox.missed(last)
        number = room.members.number if missed is None else last
        self.send(self._snapshot(room, participant, join_id, number, resumed=True))
        for payload in missed or ():
            self.outbox.send(payload)
        subscribing.resume(states=missed is None)
        if self.publishing is not None:
            self.publishing.resume()
        if self.diagnostics is not None:
            self.diagnostics.resume()
        room.active_speakers.sync(participant)
        room.quality.sync(participant)
        self._send_draining()
        self._context.counters.resumes += 1
        self._log("session resumed", replayed=len(missed) if missed is not None else -1)

    # -- join and leave --------------------------------------------------------------------------------------------

    def wait(self, waiting: WaitingParticipant) -> None:
        self.set_state(State.WAITING)
        self.waiting = waiting
        self.room = self._context.rooms.find(waiting.room)
        self._table.add(self)
        self.send(messages.InLobby(id=self.join_id, room=waiting.room))
        self._log("session waits in the lobby", client=self.client)

    def admitted(self, participant: Participant, *, rebuild: bool = False) -> None:
        """`rebuild`: the participant was away after another node took the room over."""
        self.set_state(State.JOINED)
        context = self._context
        self.waiting = None
        self.participant = participant
        if context.resume_keys is not None:
            self._table.remove(self)  # a waiting session has another key
            self.resume_key = context.resume_keys.make(participant.id, self.claims)
        self.room = room = context.rooms.find(participant.room)
        decision_log = DecisionLog(context.counters.decisions)
        self.publishing = Publishing(context, self, room, participant, decision_log, self.limits.media)
        self.subscribing = Subscribing(context, self, participant, self.join_trace, decision_log, self.limits.media)
        self.diagnostics = Diagnostics(context, self, decision_log, self.publishing, self.subscribing)
        self._table.add(self)
        context.counters.joins += 1
        number = room.members.number
        self.outbox.reset(number)
        self.send(self._snapshot(room, participant, self.join_id, number, resumed=False, rebuild=rebuild))
        self.subscribing.open()
        room.active_speakers.sync(participant)
        self._send_draining()
        self._log("session joined", client=self.client)

    def leave(self, reason: str) -> None:
        """The client left, or did not resume in time. Idempotent."""
        if self._state is State.ENDED:
            return
        self._leave_room(reason)
        self._end(reason)
        if self.outbox.socket is not None:
            self.outbox.socket.close(CLOSE_NORMAL)

    def removed(self, reason: LeaveReason, message: str) -> None:
        """The room has already removed the participant."""
        if self._state is State.ENDED:
            return
        if reason == "kicked":
            self._context.access.revoke(self.claims)
        self._end(reason)
        self._send_leave(reason, message, ACTIONS.get(reason, "disconnect"), CLOSE_NORMAL)

    def disconnect(self, reason: LeaveReason, message: str, code: int = CLOSE_NORMAL) -> None:
        """The server ends the session and removes the participant from the room. Idempotent."""
        if self._state is State.ENDED:
            return
        self._leave_room(reason)
        self._end(reason)
        self._send_leave(reason, message, ACTIONS.get(reason, "disconnect"), code)

    def close_socket(self, reason: LeaveReason, message: str, code: int) -> None:
        """Closes only the socket; the client may resume on another."""
        self._log("socket cut", reason=reason)
        socket = self.outbox.socket
        self._send_leave(reason, message, "resume", code)
        if socket is not None:
            self.socket_lost(socket)

    def overflowed(self) -> None:
        self._context.counters.slow_consumers += 1
        self.close_socket("slow_consumer", "This connection is too slow for what it is sent.", CLOSE_SLOW)

    # -- messages --------------------------------------------------------------------------------------------------

    def send(self, message: ServerMessage) -> None:
        """Sends an unnumbered message once, e.g. a reply."""
        self.outbox.send(self.dialect.encode(message))

    def send_event(self, number: int, message: ServerMessage) -> None:
        """Sends a numbered event, and again after a resume if the client missed it."""
        self.outbox.send_event(number, self.dialect.encode(message))

    def next_event_number(self) -> int:
        if self.room is None:
            raise RuntimeError("the session has not joined")
        return self.room.members.next_number()

    def publisher_lost(self) -> None:
        """The client publishes again on a new connection."""

    @property
    def attached(self) -> bool:
        """Whether a socket is attached."""
        return self.outbox.socket is not None

    @property
    def remote_hosts(self) -> frozenset[str]:
        """IP addresses that the server sends its media to."""
        connections = (self.publishing, self.subscribing)
        return frozenset(each.remote_host for each in connections if each is not None and each.remote_host)

    def refuse(self, request: int, error: RemoteError) -> None:
        self._context.counters.refused += 1
        retry_after = math.ceil(error.retry_after * 1000) / 1000 if isinstance(error, RateLimited) else 0.0
        self.send(Error(id=request, code=error.code, message=error.message, retry_after=retry_after))

    def admit_message(self, cost: float) -> bool:
        """Whether the rate limit admits a message; counts the refused ones."""
        admitted = self.limits.admits(cost, self.last_received_at)
        self._context.counters.rate_limited += not admitted
        return admitted

    def awaits_answer(self, offer: int) -> bool:
        """Whether an offer with this id is open."""
        return self.subscribing is not None and self.subscribing.pending_offer_id == offer

    @property
    def egress_jobs(self) -> EgressPort[Room] | None:
        return self._context.egress_jobs

    # -- ParticipantSink -------------------------------------------------------------------------------------------

    def deliver(self, delivery: Delivery) -> None:
        payload = self.dialect.encode_event(delivery)
        if delivery.number:
            self.outbox.send_event(delivery.number, payload)
        else:
            self.outbox.send(payload)
        if isinstance(delivery.event, PermissionsChanged):
            # A sink must not call back into the room.
            asyncio.get_running_loop().call_soon(self._apply_permissions)

    def relay_data(self, packet: DataPacket, *, reliable: bool) -> None:
        if self.publishing is not None:
            self.publishing.send_data(packet, reliable=reliable)

    def links(self) -> Sequence[Link]:
        if self.publishing is None or self.subscribing is None:
            return ()
        reports = (self.publishing.report(), self.subscribing.report())
        return [report for report in reports if report is not None]

    def media_stats(self) -> MediaStats | None:
        return self.diagnostics.media_stats(self._context.now()) if self.diagnostics is not None else None

    # --------------------------------------------------------------------------------------------------------------

    def _joined(self) -> tuple[Room, Participant, Subscribing]:
        if self.room is None or self.participant is None or self.subscribing is None:
            raise RuntimeError("the session has not joined")
        return self.room, self.participant, self.subscribing

    def _snapshot(
        self,
        room: Room,
        participant: Participant,
        join_id: int,
        number: int,
        *,
        resumed: bool,
        rebuild: bool = False,
    ) -> Joined:
        context = self._context
        ice_servers = context.access.ice_servers(self.claims)
        return snapshot(
            self,
            room,
            participant,
            context.settings,
            ice_servers,
            join_id=join_id,
            number=number,
            resumed=resumed,
            rebuild=rebuild,
        )

    def _leave_room(self, reason: str) -> None:
        if self.room is None:
            return
        if self.waiting is not None:
            self.room.leave_lobby(self.waiting)
        if self.participant is not None:
            self.room.leave(self.participant, reason)

    def _send_draining(self) -> None:
        if self._context.drain_ends_at is not None:
            left = max(0.0, self._context.drain_ends_at - self._context.now())
            self.send(messages.Draining(message="The server is going down for maintenance.", seconds=round(left, 1)))

    def _apply_permissions(self) -> None:
        if self._state is not State.JOINED:
            return
        _, participant, subscribing = self._joined()
        if participant.permissions.subscribe:
            subscribing.open()
        else:
            subscribing.close()

    def _end(self, reason: str) -> None:
        self.set_state(State.ENDED)
        self._table.remove(self)
        for source, budget in self.limits.budgets.items():
            self._context.counters.loop_seconds[source] += budget.used
            self._context.counters.throttled[source] += budget.throttled
        self.join_trace.close()
        self._log("session ended", reason=reason)
        if self.publishing is not None:
            self.publishing.close()
        if self.subscribing is not None:
            self.subscribing.close()
        # Break reference cycles, so that memory is freed without the garbage collector.
        self.outbox.close()
        self.room = self.participant = self.publishing = self.subscribing = self.diagnostics = None

    def _send_leave(self, reason: LeaveReason, message: str, action: Action, code: int) -> None:
        socket = self.outbox.socket
        if socket is not None:
            retry_after = 1.0 if action == "reconnect" else 0.0
            self.send(Leave(reason=reason, message=message, action=action, retry_after=retry_after))
            self.outbox.flush()
            socket.close(code)

    def _log(self, text: str, **fields: object) -> None:
        room = self.room
        logger.info(text, extra={"session": self.id, "room_id": room.id if room else "", **fields})
