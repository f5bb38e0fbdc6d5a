"""One collector of metrics per subsystem. `app.py` lists them; the one of HTTP requests is in `api/metrics.py`."""

from sfu.admin.collectors.certificate import CertificateCollector
from sfu.admin.collectors.cluster import ClusterCollector
from sfu.admin.collectors.egress import EgressCollector
from sfu.admin.collectors.event_loop import EventLoopCollector
from sfu.admin.collectors.events import EventsCollector
from sfu.admin.collectors.ingest import IngestCollector
from sfu.admin.collectors.media import MediaCollector
from sfu.admin.collectors.node import NodeCollector
from sfu.admin.collectors.rooms import RoomsCollector
from sfu.admin.collectors.signaling import SignalingCollector
from sfu.admin.collectors.turn import TurnCollector

__all__ = [
    "CertificateCollector",
    "ClusterCollector",
    "EgressCollector",
    "EventLoopCollector",
    "EventsCollector",
    "IngestCollector",
    "MediaCollector",
    "NodeCollector",
    "RoomsCollector",
    "SignalingCollector",
    "TurnCollector",
]
