"""What an operator can type: commands that begin with a slash, and everything else, which is said to all."""

from __future__ import annotations

from collections.abc import Callable

from selchat.chat.hub import Hub


class Commands:
    """Runs an operator's lines; each gives lines of reply. ``quit`` is what ``/quit`` calls."""

    def __init__(self, hub: Hub, quit: Callable[[], object]) -> None:
        self._hub = hub
        self._quit = quit
        self._commands: dict[str, tuple[str, str, Callable[[str], list[str]]]] = {
            "/users": ("/users", "who is online, and from where", self._users),
            "/kick": ("/kick NAME", "remove someone", self._kick),
            "/help": ("/help", "this list", self._help),
            "/quit": ("/quit", "tell everyone and stop the server", self._stop),
        }

    def run(self, line: str) -> list[str]:
        """Do what the line says and return what to show the operator."""
        line = line.strip()
        if not line.startswith("/") or line.startswith("//"):
            text = line.removeprefix("/")
            if text:
                self._hub.announce(text)
            return []
        word, _, argument = line.partition(" ")
        command = self._commands.get(word.lower())
        if command is None:
            return [f"Unknown command {word}; /help lists the commands, //text says /text to everyone."]
        return command[2](argument.strip())

    def _users(self, _argument: str) -> list[str]:
        members = sorted(self._hub.members(), key=lambda member: member.name.casefold())
        if not members:
            return ["Nobody is online."]
        return [
            f"Users online ({len(members)}):",
            *(f"  {member.name}  {member.address}" for member in members),
        ]

    def _kick(self, argument: str) -> list[str]:
        if not argument:
            return ["Usage: /kick NAME"]
        if self._hub.kick(argument) is None:
            return [f"Nobody is called {argument}; /users lists who is online."]
        return []

    def _help(self, _argument: str) -> list[str]:
        width = max(len(usage) for usage, _, _ in self._commands.values())
        return [
            *(f"{usage:{width}}  {what}" for usage, what, _ in self._commands.values()),
            "Everything else is said to everyone, from Server.",
        ]

    def _stop(self, _argument: str) -> list[str]:
        self._quit()
        return []
