"""A module of Higress's real SDK on a real stock Envoy: as it was built, and adapted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import aiohttp

from pluginrelease.core import adaptation
from tests.edges.real_envoy import ROUTE, Gateway, until
from tests.edges.test_compat_envoy import taken_by_envoy

RULES = [
    {"_match_route_": [ROUTE], "mockEnable": True},
    {"_match_domain_": ["mock.example.com"], "mockEnable": True},
]


def test_as_it_was_built_no_stock_envoy_loads_it(built: Callable[[str], Path], tmp_path: Path) -> None:
    """The announcement is what it does not know."""
    taken, log = taken_by_envoy(built("my-plugin").read_bytes(), tmp_path)
    assert not taken
    assert "Missing or unknown Proxy-Wasm ABI version" in log


async def test_adapted_it_serves_with_its_default_and_its_rules(built: Callable[[str], Path], tmp_path: Path) -> None:
    """The SDK finds the rules where Higress puts them: one domain is mocked, another goes to the upstream.

    A rule for the route of both matches neither: the SDK asks for a name that only Higress's Envoy has, and it is told.
    """
    adapted = adaptation.adapt(built("my-plugin").read_bytes())
    assert any("StopIteration" in one for one in adapted.differences)
    assert any("rules for an ingress or a service match no request" in one for one in adapted.differences)
    gateway = Gateway(tmp_path)
    gateway.deliver("my-plugin", adapted.content, {"mockEnable": False, "_rules_": RULES})
    gateway.listen("my-plugin")
    await gateway.start()
    try:

        async def answered() -> bool:
            return await said(gateway, "mock.example.com") == (200, "hello world")

        await until(answered)
        assert await said(gateway, "other.example.com") == (200, "upstream\n")
    finally:
        await gateway.stop()


async def said(gateway: Gateway, host: str) -> tuple[int, str]:
    """Status and body of one request; nothing while nobody listens yet."""
    url = f"http://127.0.0.1:{gateway.port}/"
    try:
        async with aiohttp.ClientSession() as session, session.get(url, headers={"Host": host}) as answer:
            return answer.status, await answer.text()
    except aiohttp.ClientError:
        return 0, ""
