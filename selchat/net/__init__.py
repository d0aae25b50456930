"""The reactor and the sockets on it. Knows bytes, cursors and limits, and nothing of chat."""
