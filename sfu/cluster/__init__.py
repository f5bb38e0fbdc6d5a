"""Many nodes as one server: who serves which room, and what all nodes must know."""
