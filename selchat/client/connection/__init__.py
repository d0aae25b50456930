"""The client's connection: connecting, TLS trust and reconnecting."""
