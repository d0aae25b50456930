"""Message stores: the log interface, in memory and in SQLite."""
