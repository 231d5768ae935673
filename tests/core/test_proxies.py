"""Whether the API server is asked through a proxy. The rules are those of Go's httpproxy, which kubectl has too."""

from __future__ import annotations

import pytest

from pluginrelease.core.apiserver import proxies

PROXY = "http://proxy.example.com:3128"
IN_CLUSTER = "https://10.96.0.1"

# reason, URL, NO_PROXY, whether it is asked directly
CASES = [
    ("nothing is excluded", IN_CLUSTER, "", False),
    ("a range of addresses", IN_CLUSTER, "10.0.0.0/8,.svc,.cluster.local", True),
    ("another range", "https://11.96.0.1", "10.0.0.0/8", False),
    ("a range whose address is not its first", IN_CLUSTER, "10.96.3.4/16", True),
    ("a range of IPv6", "https://[fd00:10:96::1]", "fd00:10:96::/112", True),
    ("a range of IPv6 has no address of IPv4", IN_CLUSTER, "::/0", False),
    ("no range", IN_CLUSTER, "10.96.0.0/99", False),
    ("an address", IN_CLUSTER, "10.96.0.1", True),
    ("an address with this port", IN_CLUSTER, "10.96.0.1:443", True),
    ("an address with another port", IN_CLUSTER, "10.96.0.1:6443", False),
    ("an address of IPv6 with this port", "https://[fd00::1]:6443", "[fd00::1]:6443", True),
    ("an address of IPv6 in another spelling", "https://[fd00:0:0::1]", "fd00::1", True),
    ("an address is no suffix of another", "https://110.96.0.1", "10.96.0.1", False),
    ("a name", "https://api.example.com", "api.example.com", True),
    ("a name and what is below it", "https://one.api.example.com", "api.example.com", True),
    ("a name is no end of a word", "https://myapi.example.com", "api.example.com", False),
    ("a suffix", "https://api.example.com", ".example.com", True),
    ("a suffix is not the name itself", "https://example.com", ".example.com", False),
    ("a suffix with an asterisk", "https://api.example.com", "*.example.com", True),
    ("a name with another port", "https://api.example.com:6443", "example.com:443", False),
    ("everything", IN_CLUSTER, "*", True),
    ("whichever case and spaces", "https://API.example.com", " .svc , Example.COM ", True),
    ("empty entries", IN_CLUSTER, ",,.,", False),
    ("this machine", "https://127.0.0.1:6443", "", True),
    ("this machine by IPv6", "https://[::1]:6443", "", True),
    ("this machine by name", "https://localhost:6443", "", True),
]


@pytest.mark.parametrize(("reason", "url", "excluded", "direct"), CASES, ids=[row[0] for row in CASES])
def test_what_goes_through_a_proxy(reason: str, url: str, excluded: str, direct: bool) -> None:
    """NO_PROXY may name ranges of addresses, suffixes and ports; loopback never needs a proxy."""
    found = proxies.choose(url, {"HTTPS_PROXY": PROXY, "NO_PROXY": excluded})
    assert found == (None if direct else PROXY), reason


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        ("https://api.example.com", {}, None),
        ("https://api.example.com", {"HTTP_PROXY": PROXY}, None),
        ("http://api.example.com", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://api.example.com", {"https_proxy": PROXY}, PROXY),
        ("https://api.example.com", {"https_proxy": PROXY, "no_proxy": "example.com"}, None),
        ("https://api.example.com", {"HTTPS_PROXY": "proxy.example.com:3128"}, PROXY),
        ("https://api.example.com", {"HTTPS_PROXY": ""}, None),
    ],
)
def test_which_variable_counts(url: str, environ: dict[str, str], proxy: str | None) -> None:
    """A scheme has its own variable, in either case of letters; a proxy without a scheme is one of HTTP."""
    assert proxies.choose(url, environ) == proxy
