"""The look over all sessions that one timer makes: pings, silent sockets, absent clients, expired tokens."""

import logging

from sfu.signaling.context import Context
from sfu.signaling.messages import Ping, encode
from sfu.signaling.session import CLOSE_REFUSED, CLOSE_SILENT

logger = logging.getLogger(__name__)

PONG_GRACE = 5.0
"""Seconds that the answer to the second ping may take (at most a quarter of the heartbeat)."""


def check_sessions(context: Context, now: float, wall: float) -> None:
    """`now`: monotonic seconds; `wall`: seconds since 1970, as tokens expire."""
    settings = context.settings
    ping = encode(Ping(at=round(now, 3)))
    patience = 2 * settings.heartbeat + min(PONG_GRACE, settings.heartbeat / 4)
    for session in list(context.sessions.values()):
        if session.diagnostics is not None:
            session.diagnostics.handle_timer(now, wall)
        if session.exceeds_loop_budget(now):
            context.counters.overloads += 1
            used = {source: round(budget.used, 3) for source, budget in session.budgets.items()}
            logger.warning("participant takes too much loop time", extra={"session": session.id, **used})
            session.disconnect("protocol_error", "This connection takes too much of the server's time.", CLOSE_REFUSED)
        elif settings.end_with_token and session.claims.expires_at <= wall:
            session.disconnect("token_expired", "Your access has expired.")
        elif session.detached_at is not None:
            if now - session.detached_at >= settings.resume_window:
                context.counters.timeouts += 1
                session.leave("timeout")
        elif now - session.last_received_at > patience:
            session.close_socket("timeout", "Nothing was heard from you.", CLOSE_SILENT)
        elif now - session.pinged_at >= settings.heartbeat:
            session.pinged_at = now
            session.outbox.send(ping)
