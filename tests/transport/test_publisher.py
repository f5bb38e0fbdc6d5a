"""Quality limitations that a publisher's browser reports reach its subscribers. The rest: test_connection.py."""

import pytest

from sfu.forwarding.decision_log import Cause, DecisionKind, DecisionLog
from sfu.ids import TrackId
from sfu.rooms.ports import SubscriptionSettings
from sfu.signaling.messages import TrackSpec
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.settings import Settings
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, negotiate

DECLARED = [TrackSpec(mid="0", source="microphone"), TrackSpec(mid="1", source="camera")]


class Ear:
    """Listens to either kind of connection, and hears nothing."""

    def data_received(self, payload: bytes | str, *, reliable: bool) -> None: ...

    def data_refused(self, size: int) -> None: ...

    def layers_wanted(self, mid: str, rids: tuple[str, ...]) -> None: ...

    def publisher_lost(self) -> None: ...

    def offer_made(self, offer_id: int, sdp: str, tracks: dict[str, TrackId]) -> None: ...

    def subscription_changed(
        self, track: TrackId, *, paused: bool, reason: str, layer: str, width: int, height: int
    ) -> None: ...

    def subscriber_lost(self) -> None: ...


@pytest.mark.parametrize(
    ("limitation", "cause"),
    [("cpu", Cause.CPU), ("bandwidth", Cause.UPLINK), ("other", Cause.PUBLISHER)],
)
async def test_limits_are_written_to_viewers(limitation: str, cause: Cause) -> None:
    endpoint = WebRtcEndpoint(WebRtcServer(Settings()))
    peer, own, viewers = RawPeer(), DecisionLog(), DecisionLog()
    publisher = endpoint.open_publisher("PA_a", Ear(), own)
    sources = negotiate(publisher, peer.offer(), DECLARED).sources
    subscriber = endpoint.open_subscriber("PA_b", Ear(), viewers)
    subscriber.subscribe(TrackId("TR_cam"), sources["1"], SubscriptionSettings())
    for said in (limitation, limitation, "none"):
        publisher.quality_limitation_changed("1", said)  # type: ignore[arg-type]  # the row says which
    publisher.quality_limitation_changed("7", "cpu")  # no such m-line
    for decision_log in (own, viewers):
        assert [(entry.kind, entry.cause, entry.track) for entry in decision_log] == [
            (DecisionKind.LIMITED, cause, "TR_cam"),
            (DecisionKind.LIMITED, Cause.NONE, "TR_cam"),
        ]
    assert own._totals.total() == 2
    assert viewers._totals.total() == 0
    subscriber.close()
    publisher.quality_limitation_changed("1", "cpu")
    assert len(list(viewers)) == 2
    publisher.close()
    peer.close()
