"""One session class per way of talking: each turns a codec's output into calls of the hub."""
