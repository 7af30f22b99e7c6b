"""Which requests the demo's server answers: those of its own page."""

import pytest

from dimp_jax.web import guard

NAMES = frozenset({"localhost", "lab-pc"})
HERE = "localhost:8400"
OWN = {"host": HERE, "origin": f"http://{HERE}", "sec-fetch-site": "same-origin"}


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/", {"host": HERE}),
        ("GET", "/", {"host": HERE, "sec-fetch-site": "cross-site"}),  # a link elsewhere
        ("GET", "/jobs/a", {"host": HERE, "sec-fetch-site": "same-origin"}),
        ("GET", "/jobs/a", {"host": HERE, "sec-fetch-site": "none"}),  # typed
        ("POST", "/jobs", OWN),
        ("POST", "/jobs", {"host": "127.0.0.1:9", "origin": "http://127.0.0.1:9"}),
        ("POST", "/jobs", {"host": "[::1]:8400", "origin": "http://[::1]:8400"}),
        ("POST", "/jobs", {"host": "Lab-PC:8400", "origin": "http://lab-pc:8400"}),
        ("POST", "/jobs", {"host": "192.168.1.4:8400", "origin": "http://192.168.1.4:8400"}),
    ],
)
def test_own_page(method, path, headers):
    assert guard.refusal(method, path, headers, NAMES) is None


@pytest.mark.parametrize(
    ("method", "path", "headers", "said"),
    [
        # A name that its owner has pointed at 127.0.0.1.
        ("GET", "/", {"host": "evil.example:8400"}, "'evil.example:8400'"),
        (
            "GET",
            "/",
            {"host": "localhost.evil.example"},
            "by IP address, or by the address that dimp-jax demo printed",
        ),
        ("GET", "/", {}, "asked for as ''"),
        ("GET", "/", {"host": "[::1"}, "asked for as"),
        ("GET", "/", {"host": "localhost@evil.example"}, "asked for as"),
        # Pages of elsewhere, of another port, and of files.
        (
            "POST",
            "/jobs",
            OWN | {"origin": "https://evil.example"},
            "a page of https://evil.example",
        ),
        (
            "POST",
            "/jobs",
            OWN | {"origin": "http://localhost:3000"},
            "a page of http://localhost:3000",
        ),
        ("POST", "/jobs", OWN | {"origin": "null"}, "a page of null"),
        (
            "GET",
            "/jobs/a",
            OWN | {"origin": "http://evil.example"},
            "a page of http://evil.example",
        ),
        ("POST", "/jobs", {"host": HERE}, "POST without the header Origin"),
        ("DELETE", "/jobs", {"host": HERE}, "DELETE without the header Origin"),
        ("GET", "/jobs/a", {"host": HERE, "sec-fetch-site": "cross-site"}, "by another page"),
        ("GET", "/jobs/a", {"host": HERE, "sec-fetch-site": "same-site"}, "by another page"),
    ],
)
def test_others(method, path, headers, said):
    assert said in guard.refusal(method, path, headers, NAMES)
