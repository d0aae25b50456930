from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from selchat.sessions.http.security_txt import security_txt


def test_file_has_the_contact_and_the_expiry_date() -> None:
    text = security_txt("mailto:security@example.org", 1_764_000_000.0)
    assert (
        text
        == "Contact: mailto:security@example.org\nExpires: 2026-11-23T16:00:00Z\nPreferred-Languages: en\n"
    )


def test_file_expires_within_a_year() -> None:
    expires = re.search("Expires: (.*)", security_txt("https://example.org/", time.time()) or "")
    assert expires is not None
    left = datetime.fromisoformat(expires[1]) - datetime.now(UTC)
    assert 360 < left.days < 365


def test_no_file_without_a_contact() -> None:
    assert security_txt("", 1.7e9) is None
