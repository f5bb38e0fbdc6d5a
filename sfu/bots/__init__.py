"""Bots: WebRTC clients without a browser, for demonstration and for load.

    cli ─▶ crew ─▶ bot ─▶ client (signalling)
                    ├──▶ publisher  ─▶ link (ICE, DTLS, SRTP over one UDP socket)
                    └──▶ subscriber ─▶ link
            studio: camera and microphone, encoded once for all bots that share them

A bot makes its packets itself rather than with aiortc's RTCPeerConnection: that can neither send simulcast nor share one
encoder between many peers, skips loopback addresses, and costs several times as much.
"""
