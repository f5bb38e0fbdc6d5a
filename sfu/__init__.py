"""aiosfu: a selective forwarding unit for WebRTC meetings."""

__version__ = "0.1.0"
