"""Wire formats of the load generators.

``framing`` delimits messages in a stream, ``messages`` generates and parses them, ``wire`` combines both.
"""
