"""Signalling: one WebSocket per participant, sessions that outlive it, and the two connections that they negotiate.

    signaling = Signaling(settings, rooms, Access(authenticate, revoke, ice_servers), edge, origins)
    app.router.add_routes(signaling.routes())      # GET /ws
    await signaling.run()                          # the timers (levels, heartbeat, idle rooms, quality), until cancelled
    await signaling.close()                        # drain: `leave` draining/reconnect to all, sockets closed
    signaling.statistics()                         # for telemetry

`authenticate(token) -> Claims` raises NotAuthorized; `revoke(claims)` is called on a kick; `ice_servers(claims)` may be
left out; `edge` is a MediaEdge (ports.py); `origins` a `sfu.auth.origins.Origins`. PROTOCOL.md is what travels.
"""

from sfu.signaling.context import AccessControl
from sfu.signaling.server import Signaling, Statistics
from sfu.signaling.settings import Settings

__all__ = ["AccessControl", "Settings", "Signaling", "Statistics"]
