"""Bots: WebRTC clients without a browser, for demos and load tests.

    cli ─▶ load_test ─▶ bot ─▶ client (signalling)
                         ├──▶ publisher  ─▶ connection (ICE, DTLS, SRTP over one UDP socket)
                         └──▶ subscriber ─▶ connection
            media_sources: camera and microphone, encoded once for all bots that share them

Bots build their packets themselves instead of using aiortc's RTCPeerConnection, which cannot send simulcast or share one
encoder between many peers, skips loopback addresses, and costs several times as much CPU.
"""
