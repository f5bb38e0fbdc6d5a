"""Frames of the pipes between the server and its ingest processes."""

from sfu.ingest.transcoding import LENGTH


def body(frame: bytes) -> bytes:
    """The message in a frame with a correct length."""
    (size,) = LENGTH.unpack(frame[: LENGTH.size])
    assert size == len(frame) - LENGTH.size
    return frame[LENGTH.size :]
