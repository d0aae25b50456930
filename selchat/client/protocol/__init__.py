"""Client protocols, sans-IO: calls to bytes, and bytes to events."""
