"""The domain: who is here and what is said. Knows no socket and no wire format."""
