"""The event stream: what happens in rooms, egress, ingress and moderation, in order per room, and its sinks.

    rooms, egress, ingest ─▶ EventStream ─▶ Webhooks   an outbox on disk, then signed HTTP requests
                                         ─▶ Kafka      (extra `kafka`)
                                         ─▶ RecentEvents ─▶ server-sent events of the API
                                         ─▶ Attendance

A room only appends a value to a list; sinks get the events in later turns of the event loop. Names and fields: EVENTS.md.
"""
