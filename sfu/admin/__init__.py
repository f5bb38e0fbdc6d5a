"""Tools for operators: node status, `sfu doctor`, `sfu top`, the client of the admin API and the table of bounds."""
