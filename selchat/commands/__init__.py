"""Subcommands that are neither the server nor a chat client, one file each."""
