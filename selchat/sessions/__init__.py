"""Sessions: one class per protocol, between a codec and the hub."""
