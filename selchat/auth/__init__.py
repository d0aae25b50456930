"""Authentication: the server's password, API tokens and login attempts."""
