"""Signalling: sessions of participants, which outlive their WebSocket and negotiate two media connections each.

    signaling = Signaling(settings, rooms, AccessControl(authenticate, revoke), endpoint, origins)
    app.router.add_routes(signaling.routes())      # GET /ws
    await signaling.run()                          # timers (levels, heartbeat, idle rooms, quality), until cancelled
    await signaling.close()                        # drain: sends `leave` to all clients and closes the sockets
    signaling.statistics()                         # for telemetry

`authenticate(token) -> Claims` raises NotAuthorized; `revoke(claims)` is called on a kick; `endpoint` is a MediaEdge
(ports.py); `origins` is a `sfu.auth.origins.Origins`. A session speaks a Dialect (dialect.py). PROTOCOL.md describes the
JSON dialect.
"""

from sfu.signaling.context import AccessControl
from sfu.signaling.server import Signaling, Statistics
from sfu.signaling.settings import Settings

__all__ = ["AccessControl", "Settings", "Signaling", "Statistics"]
