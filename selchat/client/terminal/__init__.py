"""The terminal interface: prompt, transcript and completion."""
