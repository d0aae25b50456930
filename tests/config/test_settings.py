from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from selchat.config.settings import ClientSettings, Settings
from selchat.errors import SettingError
from selchat.wire.requests import HELLO_LIMIT


def test_the_defaults_are_those_of_the_paper() -> None:
    settings = Settings()
    assert (settings.host, settings.port, settings.header_length) == ("0.0.0.0", 33000, 10)
    assert settings.key is None
    assert settings.roster
    assert settings.frame_limit == 65536
    assert (settings.login_seconds, settings.frame_seconds, settings.flush_seconds) == (10, 30, 5)
    assert (settings.clients_per_address, settings.backlog, settings.accept_pause) == (64, 4096, 0.25)
    assert settings.feed_limit == 1 << 20


def test_settings_never_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]
    with pytest.raises(FrozenInstanceError):
        ClientSettings(host="x").port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": -1},
        {"port": 65536},
        {"header_length": 0},
        {"header_length": 33},
        {"log_format": "xml"},
        {"log_format": ""},
        {"tls": "on"},
        {"key_file": "key.pem"},
        {"message_rate": -1.0},
        {"byte_rate": -1},
        {"security_contact": "security@example.org"},
        {"security_contact": "http://example.org/"},
        {"security_contact": "https://example.org/\nContact: mailto:a@b"},
    ],
)
def test_a_value_out_of_its_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(**wrong)
    assert [(caught.value.name, caught.value.value)] == list(wrong.items())


@pytest.mark.parametrize(
    "host", ["https://chat.example.org", "chat.example.org:33000", "", "*", "chat\u0435.example", "a b"]
)
def test_a_host_that_no_browser_can_come_by_is_refused(host: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(allowed_host=("ship", host))
    assert (caught.value.name, caught.value.value) == ("allowed_host", host)


NUMBERS = [
    field.name
    for field in fields(Settings)
    if type(field.default) in {int, float}
    and field.name not in {"port", "header_length", "message_rate", "byte_rate"}
]


def test_some_limits_can_be_lifted() -> None:
    settings = Settings(message_rate=0, byte_rate=0)
    assert (settings.message_rate, settings.byte_rate) == (0, 0)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, -0.5])
def test_every_limit_is_more_than_zero(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name}: .* is not more than zero"):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_there_are_numbers_to_check() -> None:
    assert {"max_clients", "feed_limit", "login_seconds", "linger_seconds"} <= set(NUMBERS)


@pytest.mark.parametrize(
    "good",
    [
        *({"port": 0}, {"port": 65535}, {"header_length": 32}, {"log_format": "json"}),
        {"allowed_host": ("chat.example.org", "ship", "10.0.0.7", "fd00::1", "[fd00::1]", "a_b-c.lan")},
        *({"security_contact": "mailto:a@b.example"}, {"security_contact": "https://example.org/?a=b#c"}),
    ],
)
def test_the_ends_of_the_ranges_are_in_them(good: dict[str, Any]) -> None:
    [(name, value)] = good.items()
    assert getattr(Settings(**good), name) == value


def test_a_payload_is_no_longer_than_its_header_can_say() -> None:
    assert Settings().payload_limit == 65536
    assert Settings(header_length=4).payload_limit == 9999
    assert Settings(header_length=1).payload_limit == 9
    assert Settings(header_length=4, frame_limit=100).payload_limit == 100


@pytest.mark.parametrize("wrong", [{"port": 0}, {"port": 65536}, {"header_length": 0}, {"header_length": 33}])
def test_a_client_s_value_out_of_its_range_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        ClientSettings(host="192.168.43.158", **wrong)
    assert [(caught.value.name, caught.value.value)] == list(wrong.items())


def test_a_client_s_payload_is_no_longer_than_its_header_can_say() -> None:
    assert ClientSettings(host="x").payload_limit == 65536
    assert ClientSettings(host="x", header_length=2).payload_limit == 99


def test_a_hello_is_let_in() -> None:
    assert Settings().login_limit == HELLO_LIMIT
