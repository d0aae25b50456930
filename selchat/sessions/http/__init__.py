"""HTTP sessions: static files, the message API and the WebSocket handshake."""
