"""The server process: composition, console, metrics and startup banner."""
