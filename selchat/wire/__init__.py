"""Bytes to values and back, without I/O: nothing in here knows a socket, a room or a client."""
