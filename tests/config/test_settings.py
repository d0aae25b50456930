"""The ranges of the settings, and limits that follow from several of them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from selchat.config.settings import ClientSettings, Settings
from selchat.errors import SettingError
from selchat.limits import HELLO_LIMIT


def test_settings_are_immutable() -> None:
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
        {"header_length": 4097},
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
def test_a_value_out_of_range_raises_with_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(**wrong)
    assert [(caught.value.name, caught.value.value)] == list(wrong.items())


@pytest.mark.parametrize(
    "host", ["https://chat.example.org", "chat.example.org:33000", "", "*", "chat\u0435.example", "a b"]
)
def test_an_invalid_allowed_host_raises(host: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(allowed_host=("ship", host))
    assert (caught.value.name, caught.value.value) == ("allowed_host", host)


RATES = ("message_rate", "byte_rate", "connection_work", "person_work", "address_work")
NUMBERS = [
    field.name
    for field in fields(Settings)
    if type(field.default) in {int, float} and field.name not in {"port", "header_length", *RATES}
]


def test_a_rate_of_zero_means_no_limit() -> None:
    settings = Settings(**dict.fromkeys(RATES, 0))
    assert all(getattr(settings, rate) == 0 for rate in RATES)


def test_operator_name_may_be_decomposed() -> None:
    assert Settings(operators=("Jose\u0301",)).operators == ("Jose\u0301",)


@pytest.mark.parametrize("name", ["Server", "server", "a:b", "@Boss", "x" * 33, "a\u200bb", " ", ""])
def test_operator_name_that_no_user_can_have_raises(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        Settings(operators=("Boss", name))
    assert (caught.value.name, caught.value.value) == ("operators", name)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [0, -1, -0.5])
def test_every_other_limit_must_be_positive(name: str, value: float) -> None:
    with pytest.raises(SettingError, match=f"{name}: .* is not more than zero"):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_the_list_of_limits_is_not_empty() -> None:
    assert {"max_clients", "feed_limit", "login_seconds", "linger_seconds"} <= set(NUMBERS)


@pytest.mark.parametrize(
    "good",
    [
        *(
            {"port": 0},
            {"port": 65535},
            {"header_length": 1},
            {"header_length": 4096},
            {"log_format": "json"},
        ),
        {"allowed_host": ("chat.example.org", "ship", "10.0.0.7", "fd00::1", "[fd00::1]", "a_b-c.lan")},
        *({"security_contact": "mailto:a@b.example"}, {"security_contact": "https://example.org/?a=b#c"}),
    ],
)
def test_the_ends_of_a_range_are_valid(good: dict[str, Any]) -> None:
    [(name, value)] = good.items()
    assert getattr(Settings(**good), name) == value


def test_the_header_bounds_the_payload() -> None:
    assert Settings().payload_limit == 65536
    assert Settings(header_length=4).payload_limit == 9999
    assert Settings(header_length=1).payload_limit == 9
    assert Settings(header_length=4, frame_limit=100).payload_limit == 100


@pytest.mark.parametrize(
    "wrong", [{"port": 0}, {"port": 65536}, {"header_length": 0}, {"header_length": 4097}]
)
def test_a_client_value_out_of_range_raises_with_its_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as caught:
        ClientSettings(host="192.168.43.158", **wrong)
    assert [(caught.value.name, caught.value.value)] == list(wrong.items())


def test_the_header_bounds_a_clients_payload() -> None:
    assert ClientSettings(host="x").payload_limit == 65536
    assert ClientSettings(host="x", header_length=2).payload_limit == 99


def test_the_login_limit_fits_the_largest_hello() -> None:
    assert Settings().login_limit == HELLO_LIMIT
