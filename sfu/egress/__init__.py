"""Egress: jobs that publish a room as live stream, recording and RTMP push, and the worker processes that mix and encode it.

The server process never decodes. It sends media to a worker through `sfu.transport.plain_transport` and receives
finished parts. Only worker modules import `sfu.mixer` and the encoders of `sfu.outputs`.
"""
