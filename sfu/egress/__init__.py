"""Egress: jobs that take a room out as live streams, recordings and pushes, and the worker processes that mix and encode.

The server process never decodes. It sends media to a worker through `sfu.transport.plain_transport` and receives finished
parts. Only worker modules import `sfu.mixer` and `sfu.outputs`' encoders.
"""
