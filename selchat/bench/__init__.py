"""``selchat-bench``: load generators, scenarios and the report.

- ``cli``: options to a plan, exit codes; ``scenarios``: what each scenario does
- ``worker``: a process of load generators; ``crew``: the processes of one run, seen from the parent
- ``floor``: the least that any server must pay; ``proc``: the server's process, and what Linux says of it
- ``wires``: what members say and hear, in the classic and in the selchat protocol; ``framing``: in which frames
- ``check``: is every message everywhere, once and in order; ``stats``: latencies in bounded memory
- ``report``: text, JSON, CSV and ``--fail-if``; ``page``: HTML

It knows the wire and nothing of the server's inside: what is measured is what a client sees, and what the
system says of the server's process.
"""
