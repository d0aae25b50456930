"""The client: a core without I/O, its link to a server, and the interfaces that people use."""
