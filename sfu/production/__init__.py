"""The programme of a room: what the server does for it (`Productions`), and the worker process that mixes and encodes it.

The server never decodes: it feeds the worker through `sfu.transport.feed` and takes finished parts from it. The worker
imports `sfu.mixer` and `sfu.egress`; nothing that the server loads here does.
"""
