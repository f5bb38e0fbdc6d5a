"""Offers of all kinds against a real port: what they change, what they leave alone, and what they are sent as."""

import asyncio
import struct
from collections.abc import Callable
from functools import partial

import pytest

from sfu.errors import AtCapacity, BadRequest
from sfu.forwarding.stream_table import LIFETIME_LIMIT, REPORTER_LIMIT
from sfu.ids import TrackId
from sfu.rooms.ports import MediaSource, SubscriptionSettings
from sfu.rooms.track_description import TrackSource
from sfu.rtp import rtcp
from sfu.sdp.capabilities import URI_MID, URI_REPAIRED_RID, URI_RID
from sfu.signaling.messages import LayerSpec, TrackSpec
from sfu.transport.endpoint import WebRtcEndpoint
from sfu.transport.publisher import PublisherConnection
from sfu.transport.subscriber import OfferingSubscriber
from sfu.transport.webrtc_server import WebRtcServer
from tests.support.peer import RawPeer, negotiate
from tests.support.wire import Rtp, rtp, vp8
from tests.transport.test_connection import DECLARED, Ear, endpoint, published, until, webrtc_server

__all__ = ["endpoint", "webrtc_server"]

HEAD = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SCREEN = [
    TrackSpec(
        mid="s",
        source="screen_share",
        layers=[LayerSpec(rid="h", width=640, height=360), LayerSpec(rid="f", width=1280, height=720)],
    )
]


def offer(peer: RawPeer, *sections: str, group: str) -> str:
    text = HEAD + f"a=group:BUNDLE {group}\r\n"
    return text + "".join(section + peer.transport_lines("actpass") for section in sections)


def video(mid: str, lines: str = "", formats: str = "96 97", port: int = 9) -> str:
    return (
        f"m=video {port} UDP/TLS/RTP/SAVPF {formats}\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\na=sendonly\r\na=rtcp-mux\r\n"
        f"a=extmap:4 {URI_MID}\r\na=extmap:5 {URI_RID}\r\na=extmap:6 {URI_REPAIRED_RID}\r\n{lines}"
    )


VP8 = "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n"
RIDS = "a=rid:h send\r\na=rid:f send\r\na=simulcast:send h;f\r\n"


def more_offers(ear: Ear, count: int) -> bool:
    return len(ear.offers) > count


async def joined(endpoint: WebRtcEndpoint, source: MediaSource) -> tuple[OfferingSubscriber, RawPeer, Ear]:
    ear, receiver = Ear(), RawPeer()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), source, SubscriptionSettings())
    await until(lambda: ear.offers)
    offer_id, text, _ = ear.offers[-1]
    # It sends no feedback, so nothing is estimated and the largest layer is sent.
    plain = "\r\n".join(line for line in text.split("\r\n") if "transport-" not in line and "remb" not in line)
    subscriber.accept_answer(offer_id, receiver.answer(plain))
    receiver.use(text, role="client")
    receiver.check()
    await until(lambda: receiver.tx, receiver)
    return subscriber, receiver, ear


REFUSED: dict[str, Callable[[RawPeer], str]] = {
    "no SDP": lambda peer: "nonsense",
    "no credentials": lambda peer: HEAD + "a=group:BUNDLE 0 1\r\n" + video("1", VP8),
    "undeclared rid": lambda peer: offer(peer, video("1", VP8 + "a=simulcast:send q\r\n"), group="1"),
    "too many lines": lambda peer: peer.offer() + "a=x\r\n" * 9000,
}


@pytest.mark.parametrize("other", [False, True], ids=["same connection", "another connection"])
@pytest.mark.parametrize("name", REFUSED)
async def test_a_refused_offer_changes_nothing(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, name: str, other: bool
) -> None:
    publisher, peer, ear = await published(endpoint)
    before = negotiate(publisher, peer.offer(), DECLARED).sources
    stranger = RawPeer()
    stranger.ufrag = "another"
    with pytest.raises(BadRequest):
        negotiate(publisher, REFUSED[name](stranger if other else peer), DECLARED)
    peer.send(rtp(vp8(key=True), ssrc=2, sequence=1, timestamp=3000, extensions={4: b"1"}))
    await until(lambda: before["1"].track.encodings[""].packets == 1)
    again = negotiate(publisher, peer.offer(), DECLARED).sources
    assert {mid: id(source) for mid, source in again.items()} == {mid: id(source) for mid, source in before.items()}
    assert not ear.lost
    for thing in (publisher, peer, stranger):
        thing.close()


async def test_more_streams_than_the_engine_takes_are_refused(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    before = negotiate(publisher, peer.offer(), DECLARED).sources
    rids = [f"r{number}" for number in range(8)]
    lines = VP8 + "".join(f"a=rid:{rid} send\r\n" for rid in rids) + f"a=simulcast:send {';'.join(rids)}\r\n"
    mids = [f"v{number}" for number in range(9)]
    large = offer(peer, *(video(mid, lines) for mid in mids), group=" ".join(mids))
    with pytest.raises(AtCapacity, match="128 RTP streams"):
        negotiate(publisher, large, [TrackSpec(mid=mid) for mid in mids])
    assert negotiate(publisher, peer.offer(), DECLARED).sources == before
    peer_state = publisher._connection.peer
    peer_state.stream_table.opened |= set(range(1000, 1004 + LIFETIME_LIMIT))
    with pytest.raises(AtCapacity) as refused:
        negotiate(publisher, offer(peer, video("v", VP8), group="v"), [TrackSpec(mid="v")])
    assert refused.value.code == "connection_exhausted"
    assert negotiate(publisher, peer.offer(), DECLARED).sources == before
    publisher.close()
    peer.close()


async def share(publisher: PublisherConnection, peer: RawPeer, number: int) -> MediaSource:
    """Takes back the last share and starts another in its m-line, as browsers do, with SSRCs of its own."""
    stopped = offer(peer, video("x", VP8, port=0), group="")
    negotiate(publisher, stopped.replace("a=group:BUNDLE \r\n", ""), [])
    mid = f"s{number}"
    text = offer(peer, video(mid, VP8 + RIDS), group=mid)
    (source,) = negotiate(
        publisher, text, [TrackSpec(mid=mid, source="screen_share", layers=SCREEN[0].layers)]
    ).sources.values()
    return source


def send_share(peer: RawPeer, number: int, sequence: int) -> None:
    assert peer.tx is not None
    mid, first = f"s{number}".encode(), 10_000 + number * 8
    for layer, rid in enumerate((b"h", b"f")):
        extensions = {4: mid, 5: rid}
        peer.send(
            rtp(vp8(key=True), ssrc=first + layer, sequence=sequence, timestamp=3000 * sequence, extensions=extensions)
        )
        repair = {4: mid, 6: rid}
        peer.send(
            rtp(b"\0\1x", ssrc=first + 4 + layer, sequence=sequence, timestamp=0, payload_type=97, extensions=repair)
        )
        if sequence % 8 != 1:
            continue
        report = rtcp.encode_sender_report(rtcp.SenderReport(first + layer, sequence << 32, sequence, 1, 1))
        peer.sock.sendto(peer.tx.session.protect_rtcp(report), peer.server)


async def test_a_connection_carries_any_number_of_shares(webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint) -> None:
    """250 shares in two layers with repairs are 1,000 SSRCs: the last one is received, reported on and forwarded."""
    peer = RawPeer()
    publisher = endpoint.open_publisher("PA_a", Ear())
    answer = negotiate(publisher, offer(peer, video("s0", VP8 + RIDS), group="s0"), [TrackSpec(mid="s0")])
    peer.use(answer.sdp, role="client")
    peer.check()
    await until(lambda: peer.tx, peer)
    state = publisher._connection.peer
    for number in range(1, 251):
        source = await share(publisher, peer, number)
        encodings = source.track.encodings
        sequence = 0
        while not all(one.last_report and one.packets and one.rtx_ssrc for one in encodings.values()):
            sequence += 1
            assert sequence < 200, f"share {number} does not come through"
            send_share(peer, number, sequence)
            await asyncio.sleep(0.005)
            peer.pump()
        assert len(state.stream_table.opened) <= LIFETIME_LIMIT
        assert len(state.stream_table.reporters) <= REPORTER_LIMIT
    assert not webrtc_server.port.dropped["ssrc_limit"]
    subscriber, receiver, _ = await joined(endpoint, source)
    got: list[Rtp] = []
    while not got:
        sequence += 1
        assert sequence < 1000
        send_share(peer, 250, sequence)
        await asyncio.sleep(0.01)
        got += [Rtp.parse(data) for data in receiver.media()]
    for thing in (subscriber, publisher, peer, receiver):
        thing.close()


async def test_a_client_that_never_uses_an_m_line_again_learns_why_it_is_refused(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint
) -> None:
    publisher, peer, _ = await published(endpoint)
    stopped = [video(f"v{number}", VP8, port=0) for number in range(64)]
    with pytest.raises(BadRequest) as refused:
        negotiate(publisher, offer(peer, *stopped, video("v", VP8), group="v"), [TrackSpec(mid="v")])
    assert refused.value.code == "connection_exhausted"
    publisher.close()
    peer.close()


SIM = (
    VP8 + "a=ssrc-group:SIM 11 12 13\r\na=ssrc-group:FID 11 21\r\na=ssrc-group:FID 12 22\r\na=ssrc-group:FID 13 23\r\n"
    + "".join(f"a=ssrc:{ssrc} cname:x\r\n" for ssrc in (11, 12, 13, 21, 22, 23))
)  # fmt: skip


@pytest.mark.parametrize("with_mid", [True, False])
async def test_layers_by_ssrc_are_kept_apart(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, with_mid: bool
) -> None:
    """Clients of before rids: one m-line, three SSRCs."""
    peer = RawPeer()
    publisher = endpoint.open_publisher("PA_a", Ear())
    text = offer(peer, video("v", SIM).replace(f"a=extmap:5 {URI_RID}\r\n", ""), group="v")
    spec = [TrackSpec(mid="v", source="camera", width=1280, height=720)]
    answer = negotiate(publisher, text, spec)
    assert "a=simulcast" not in answer.sdp
    assert "a=rid" not in answer.sdp
    peer.use(answer.sdp, role="client")
    peer.check()
    await until(lambda: peer.tx, peer)
    source = answer.sources["v"]
    subscriber, receiver, _ = await joined(endpoint, source)
    got: list[Rtp] = []
    extensions = {4: b"v"} if with_mid else {}
    sequence = 0
    while {packet.payload[-1] for packet in got[-20:]} != {13} or len(got) < 20:
        sequence += 1
        assert sequence < 5000, "the largest layer alone"
        for ssrc in (11, 12, 13, 14):
            size = struct.pack("<HH", 320 << (ssrc - 11), 180 << (ssrc - 11))
            payload = vp8(key=True).replace(struct.pack("<HH", 640, 360), size) + bytes([ssrc]) * 40
            peer.send(
                rtp(
                    payload, ssrc=ssrc, sequence=sequence + 100 * ssrc, timestamp=3000 * sequence, extensions=extensions
                )
            )
        await asyncio.sleep(0.005)
        got += [Rtp.parse(data) for data in receiver.media()]
    encodings = source.track.encodings
    assert [(one.ssrc, one.rtx_ssrc) for one in encodings.values()] == [(11, 21), (12, 22), (13, 23)]
    assert [one.width for one in encodings.values()] == [320, 640, 1280]
    assert [(size.width, size.height) for size in source.declared.values()] == [
        (320, 180), (640, 360), (1280, 720),
    ]  # fmt: skip
    assert 14 not in {packet.payload[-1] for packet in got}, "an SSRC that no group names"
    same = negotiate(publisher, text, spec).sources["v"]
    assert same is source
    moved = negotiate(publisher, text.replace(SIM, SIM.replace("11", "31")), spec).sources["v"]
    assert moved is not source
    for thing in (subscriber, publisher, peer, receiver):
        thing.close()


async def test_of_undeclared_layers_one_is_taken(webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint) -> None:
    """Two SSRCs at once without a rid or a declaration are never mixed; one that follows the other is taken."""
    publisher, peer, _ = await published(endpoint)
    track = negotiate(publisher, peer.offer(), DECLARED).sources["1"].track
    for sequence in range(1, 500):
        for ssrc in (5, 6):
            peer.send(rtp(vp8(key=True), ssrc=ssrc, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"}))
        await asyncio.sleep(0.003)
    assert track.encodings[""].ssrc == 5
    assert track.encodings[""].packets > 400

    async def alone() -> None:
        for sequence in range(500, 1500):
            peer.send(rtp(vp8(key=True), ssrc=6, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"}))
            await asyncio.sleep(0.003)
            if track.encodings[""].ssrc == 6:
                return

    await alone()
    assert track.encodings[""].ssrc == 6
    publisher.close()
    peer.close()


PHONE = (
    "a=rtpmap:96 H264/90000\r\na=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f\r\n"
    "a=rtpmap:97 H264/90000\r\na=fmtp:97 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
)


@pytest.mark.parametrize(("formats", "profile"), [("96 97", "42e01f"), ("97 96", "42e01f"), ("96", "640c1f")])
async def test_profiles_of_phones(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, formats: str, profile: str
) -> None:
    peer = RawPeer()
    publisher = endpoint.open_publisher("PA_a", Ear())
    answer = negotiate(
        publisher, offer(peer, video("v", PHONE, formats), group="v"), [TrackSpec(mid="v", source="camera")]
    )
    assert f"profile-level-id={profile};x-google" in answer.sdp
    assert answer.sdp.count("profile-level-id") == 1
    ear = Ear()
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), answer.sources["v"], SubscriptionSettings())
    await until(lambda: ear.offers)
    assert f"profile-level-id={profile}\r\n" in ear.offers[0][1]
    # A viewer that does not decode this profile rejects the m-line.
    receiver = RawPeer()
    rejected = receiver.answer(ear.offers[0][1]).replace("m=video 9", "m=video 0")
    subscriber.accept_answer(1, rejected)
    assert ear.states[-1] == ("TR_x", True, "codec", "")
    for thing in (subscriber, publisher, peer, receiver):
        thing.close()


@pytest.mark.parametrize(
    ("source", "parameters", "stereo"),
    [
        ("screen_share_audio", "minptime=10;useinbandfec=1", True),
        ("microphone", "minptime=10;useinbandfec=1", False),
        ("microphone", "minptime=10;sprop-stereo=1", True),
        ("unknown", "maxplaybackrate=48000;stereo=1;useinbandfec=1", True),
    ],
)
async def test_stereo_is_offered_to_subscribers(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, source: TrackSource, parameters: str, stereo: bool
) -> None:
    peer, ear = RawPeer(), Ear()
    publisher = endpoint.open_publisher("PA_a", Ear())
    text = peer.offer().replace(
        "a=rtpmap:111 opus/48000/2\r\n", f"a=rtpmap:111 opus/48000/2\r\na=fmtp:111 {parameters}\r\n"
    )
    spec = TrackSpec(mid="0", source=source)
    answer = negotiate(publisher, text, [spec])
    assert (";stereo=1\r\n" in answer.sdp) is stereo
    assert "sprop" not in answer.sdp
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), answer.sources["0"], SubscriptionSettings())
    await until(lambda: ear.offers)
    payload_type, red = (110, 62) if stereo else (111, 63)
    assert f"m=audio 9 UDP/TLS/RTP/SAVPF {payload_type} {red}\r\n" in ear.offers[0][1]
    assert ("sprop-stereo=1" in ear.offers[0][1]) is stereo
    assert f"a=fmtp:{red} {payload_type}/{payload_type}\r\n" in ear.offers[0][1]
    for thing in (subscriber, publisher, peer):
        thing.close()


@pytest.mark.parametrize(
    ("source", "parameters"),
    [("microphone", "minptime=10;stereo=1;sprop-stereo=1"), ("screen_share_audio", "minptime=10")],
)
async def test_sound_that_becomes_stereo_later_is_another_track(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, source: TrackSource, parameters: str
) -> None:
    """Viewers were offered one channel for the old one. One that becomes mono again goes on: its payload type fits."""
    peer, ear = RawPeer(), Ear()
    publisher = endpoint.open_publisher("PA_a", Ear())

    def sound(parameters: str) -> str:
        return peer.offer().replace("opus/48000/2\r\n", f"opus/48000/2\r\na=fmtp:111 {parameters}\r\n")

    mono = negotiate(publisher, sound("minptime=10"), [TrackSpec(mid="0", source="microphone")])
    assert "stereo=1" not in mono.sdp
    spec = TrackSpec(mid="0", source=source)
    both = negotiate(publisher, sound(parameters), [spec])
    assert ";stereo=1\r\n" in both.sdp
    assert both.sources["0"] is not mono.sources["0"]
    subscriber = endpoint.open_subscriber("PA_b", ear)
    subscriber.subscribe(TrackId("TR_x"), both.sources["0"], SubscriptionSettings())
    await until(lambda: ear.offers)
    assert "sprop-stereo=1" in ear.offers[0][1]
    again = negotiate(publisher, sound("minptime=10"), [TrackSpec(mid="0", source="microphone")])
    assert again.sources["0"] is both.sources["0"]
    for thing in (subscriber, publisher, peer):
        thing.close()


async def test_streams_sent_to_a_viewer_are_freed_and_never_used_again(
    webrtc_server: WebRtcServer, endpoint: WebRtcEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sfu.transport.outbound_ssrcs.ENDED_KEPT", 4)
    monkeypatch.setattr("sfu.transport.outbound_ssrcs.ENDED_FOR", 0.05)
    publisher, sender, _ = await published(endpoint)
    sources = negotiate(publisher, sender.offer(), DECLARED).sources
    subscriber, receiver, ear = await joined(endpoint, sources["0"])
    forgotten: list[int] = []
    connection = subscriber._connection
    assert connection is not None
    forget = connection.forget_sent

    def forget_sent(_: object, ssrc: int) -> None:
        forgotten.append(ssrc)
        forget(ssrc)

    monkeypatch.setattr(type(connection), "forget_sent", forget_sent)
    sequence, seen = 0, list[int]()
    for number in range(12):
        track = TrackId(f"TR_{number}")
        offers = len(ear.offers)
        subscriber.subscribe(track, sources["1"], SubscriptionSettings())
        await until(partial(more_offers, ear, offers), receiver)
        offer_id, text, _ = ear.offers[-1]
        subscriber.accept_answer(offer_id, receiver.answer(text))
        got: list[Rtp] = []
        while not got:
            sequence += 1
            sender.send(rtp(vp8(key=True), ssrc=2, sequence=sequence, timestamp=3000 * sequence, extensions={4: b"1"}))
            await asyncio.sleep(0.005)
            got += [packet for packet in map(Rtp.parse, receiver.media()) if packet.payload_type == 96]
        seen.append(got[-1].ssrc)
        offers = len(ear.offers)
        subscriber.unsubscribe(track)
        await until(partial(more_offers, ear, offers), receiver)
        offer_id, text, _ = ear.offers[-1]
        subscriber.accept_answer(offer_id, receiver.answer(text))
        await asyncio.sleep(0.06)
    assert len(set(seen)) == 12
    assert set(seen[:8]) <= set(forgotten)
    assert len(forgotten) == len(set(forgotten)) == 20
    for thing in (subscriber, publisher, sender, receiver):
        thing.close()
