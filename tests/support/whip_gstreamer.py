"""GStreamer's webrtcbin as a WHIP client, for the distribution's Python with PyGObject: a test picture and a tone until it is
terminated. Debian has no `whipclientsink`, which wraps the same element.

Arguments: the endpoint and the token.
"""

import sys
import urllib.request
from typing import Any

import gi  # type: ignore[import-not-found]  # of the distribution

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # type: ignore[import-not-found]  # noqa: E402

PIPELINE = """
webrtcbin name=peer bundle-policy=max-bundle
videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=180,framerate=15/1
  ! vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay picture-id-mode=15-bit
  ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer.
audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay
  ! application/x-rtp,media=audio,encoding-name=OPUS,payload=100 ! peer.
"""


def main(url: str, token: str) -> None:
    Gst.init(None)
    pipeline = Gst.parse_launch(PIPELINE)
    peer = pipeline.get_by_name("peer")
    loop = GLib.MainLoop()

    def answered() -> bool:
        offer = peer.get_property("local-description").sdp.as_text()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/sdp"}
        request = urllib.request.Request(url, offer.encode(), headers, method="POST")
        with urllib.request.urlopen(request) as response:
            text = response.read().decode()
        message = GstSdp.SDPMessage.new()[1]
        GstSdp.sdp_message_parse_buffer(text.encode(), message)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        peer.emit("set-remote-description", answer, Gst.Promise.new())
        return False

    def offered(promise: Any, *_: object) -> None:
        reply = promise.get_reply()  # owns the offer
        offer = reply.get_value("offer")
        peer.emit("set-local-description", offer, Gst.Promise.new())

    def gathered(*_: object) -> None:
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(answered)

    for index in (0, 1):
        transceiver = peer.emit("get-transceiver", index)
        if transceiver is not None:
            transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
    peer.connect("notify::ice-gathering-state", gathered)
    peer.connect(
        "on-negotiation-needed",
        lambda _: peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered, None, None)),
    )
    pipeline.set_state(Gst.State.PLAYING)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
