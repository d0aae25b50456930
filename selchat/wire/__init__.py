"""Wire formats: bytes to values and back, without I/O. No module here knows a socket, a room or a client."""
