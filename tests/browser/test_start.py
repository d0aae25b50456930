"""A page that cannot start says so, and what to do."""

from __future__ import annotations

import re

import pytest

from tests.browser.support import Users, expect
from tests.e2e.support import Server


def test_page_without_its_script_says_what_to_do(users: Users, server: Server) -> None:
    users.expected.append(re.compile("Failed to load resource"))
    profile = users.profile()
    profile.route(re.compile(r"/app\.\w+\.js$"), lambda route: route.abort())
    page = users.opens_page(server.port, profile=profile)
    expect(page("#load-problem")).to_be_visible()
    expect(page("#load-problem")).to_contain_text("Reload the page.")
    expect(page("#sign-in")).to_be_hidden()


@pytest.mark.slow
def test_page_whose_script_fails_says_what_to_do(users: Users, server: Server) -> None:
    profile = users.profile()
    profile.route(
        re.compile(r"/app\.\w+\.js$"), lambda route: route.fulfill(body="throw new Error('too old')")
    )
    page = users.opens_page(server.port, profile=profile)
    expect(page("#load-problem")).to_be_visible()
    assert users.problems == ["uncaught: too old"]
    users.problems.clear()


def test_page_without_javascript_says_what_to_do(users: Users, server: Server) -> None:
    page = users.opens_page(server.port, java_script_enabled=False)
    expect(page("noscript p")).to_be_visible()
    expect(page("noscript p")).to_contain_text("This page needs JavaScript.")
    expect(page("#load-problem")).to_be_hidden()


def test_page_that_starts_shows_no_problem(users: Users, server: Server) -> None:
    page = users.opens_page(server.port)
    expect(page("#sign-in")).to_be_visible()
    expect(page("#load-problem")).to_have_count(0)
