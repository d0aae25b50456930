"""Verification: does every message reach every reader, once and in order?

``sequences`` checks numbers, ``stream`` parses one reader's stream, ``acks`` checks acknowledgements, and
``transcript`` compares the streams of all readers of a room at the cost of one ``memcmp`` a read.
"""
