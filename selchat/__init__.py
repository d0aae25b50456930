"""selchat: the chat for the people on one network.

A room is a log; a connection is a cursor on it. Where each part lives:

- ``feed``, ``events``, ``errors``, ``settings``, ``text``: the base, without I/O
- ``config``: settings from the options, the environment and a file
- ``wire``: bytes to values and back; ``chat``: the domain; ``sessions``: one per way of talking
- ``net``: the reactor and the sockets; ``log``: what was said
- ``server``: puts these together; ``console``: what the operator sees
- ``client``, ``bench``: the other end
"""

__version__ = "0.1.0"
