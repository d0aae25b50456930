"""The chat itself: people, rooms and messages. Knows no socket and no wire format."""
