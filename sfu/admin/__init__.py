"""What operators use: status of this node, `sfu doctor`, `sfu top`, the admin API's client and the table of bounds."""
