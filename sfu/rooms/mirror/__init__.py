"""One room on several nodes: the home decides, edges mirror its state for the participants that they serve.

Each node has a `Room` with all participants. Those that another node serves are shadow participants: members without a
connection, whose publications have a relayed track as their media.

    home.py      HomeMirror: at the home, one per edge. Shadows of the edge's participants
    edge.py      EdgeMirror: at an edge. Shadows of all other participants
    messages.py  the messages between both

A participant's own actions (publish, mute an own track, metadata, leave) are applied at once by the node that serves it, and
reported. Decisions about others (chat, data messages, moderation, joins) go to the home as commands; their effects come back
as events. All events pass the home, so every node sees them in the same order.
"""
