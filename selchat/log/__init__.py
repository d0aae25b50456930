"""What was said, in order: the log that a room is."""
