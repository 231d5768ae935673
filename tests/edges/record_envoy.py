"""Records what a real Envoy answers, for the tests of the pure core: ``python -m tests.edges.record_envoy``.

Run from the project's root, for all cases or for those that are named. Each becomes one folder below
tests/fixtures/envoy; see the README there.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy import admin, control, observing
from tests import wasm_modules as made
from tests.edges.real_envoy import EnvoyChannels, RealGateway, api_server, until

FOLDER = Path(__file__).parents[1] / "fixtures" / "envoy"
POD = PodRef("apps", "gateway", "uid-1", ready=True)
WANTED = DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE")
GOOD = made.plugin() + made.section(0, made.name("variant") + b"good")
CONFIG = {"allow": True, "size": 1}
WANTED_DIGEST: dict[str, str] = {}


async def loaded(gateway: RealGateway) -> None:
    WANTED_DIGEST["loaded"] = gateway.deliver("header", GOOD, CONFIG)
    await in_log(gateway, "apps.header~istio-translated-wasmplugin created")


async def refused(gateway: RealGateway) -> None:
    WANTED_DIGEST["refused"] = gateway.deliver("header", made.unknown_abi(), CONFIG)
    await in_log(gateway, "Unable to create Wasm plugin apps.header")


async def refused_then_loaded(gateway: RealGateway) -> None:
    await refused(gateway)
    await loaded(gateway)
    WANTED_DIGEST["refused_then_loaded"] = WANTED_DIGEST["loaded"]


async def neighbour_refused(gateway: RealGateway) -> None:
    await loaded(gateway)
    gateway.deliver("neighbour", made.missing_import())
    await in_log(gateway, "Unable to create Wasm plugin apps.neighbour")
    WANTED_DIGEST["neighbour_refused"] = WANTED_DIGEST["loaded"]


async def listener_refused(gateway: RealGateway) -> None:
    await refused(gateway)
    gateway.listen("header", "neighbour", prefix="changed")
    await in_log(gateway, "adding/updating listener")
    WANTED_DIGEST["listener_refused"] = WANTED_DIGEST["refused"]


async def denied(gateway: RealGateway) -> None:
    gateway.stand_in("header", deny=True)
    await in_log(gateway, "apps.header~istio-translated-wasmplugin created")


async def allowed(gateway: RealGateway) -> None:
    gateway.stand_in("header", deny=False)
    await in_log(gateway, "apps.header~istio-translated-wasmplugin created")


async def crashed(gateway: RealGateway) -> None:
    """With FAIL_CLOSE, on one of the two workers."""
    WANTED_DIGEST["crashed"] = gateway.deliver("header", made.traps_on_request(), CONFIG)
    await in_log(gateway, "apps.header~istio-translated-wasmplugin created")
    await gateway.answer({"x-trap": "now"})
    await in_log(gateway, "Function: proxy_on_request_headers failed")


async def in_log(gateway: RealGateway, text: str) -> None:
    async def there() -> bool:
        return text in gateway.log.read_text()

    await until(there)


CASES: tuple[Callable[[RealGateway], Awaitable[None]], ...] = (
    loaded,
    refused,
    refused_then_loaded,
    neighbour_refused,
    listener_refused,
    denied,
    allowed,
    crashed,
)


async def record(case: Callable[[RealGateway], Awaitable[None]], scratch: Path) -> None:
    gateway = RealGateway(scratch, show_subscriptions=True)
    gateway.deliver("header", made.plugin())
    gateway.deliver("neighbour", made.plugin() + made.section(0, made.name("variant") + b"neighbour"))
    gateway.listen("header", "neighbour")
    try:
        await gateway.start()
        async with api_server(gateway=gateway) as channels:
            await control.set_logging(channels, POD, "debug")
            await case(gateway)
            await keep(case.__name__, gateway, channels)
    finally:
        await gateway.stop()


async def keep(case: str, gateway: RealGateway, channels: EnvoyChannels) -> None:
    """What `gateways.look` asks for, without this machine's folders and the list of Envoy's extensions."""
    since = datetime.fromtimestamp(0, UTC)
    async with asyncio.timeout(30):
        found = await observing.read_documents(channels, POD, WANTED, since)
        listeners = await gateway.ask(admin.LISTENERS)
    info = json.loads(found.server_info)
    info["node"]["extensions"] = []
    info["command_line_options"] = {"concurrency": info["command_line_options"]["concurrency"]}
    folder = FOLDER / case
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "server_info.json": json.dumps(info, indent=1),
        "start.json": found.start,
        "ecds.json": found.ecds,
        "listeners.json": listeners,
        "stats.json": json.dumps(json.loads(found.stats), indent=1),
        "log.txt": found.log,
        "digest.txt": WANTED_DIGEST.get(case, "0" * 64),
    }
    for file, text in texts.items():
        (folder / file).write_text(text.replace(str(gateway.folder), "/var/lib/istio/data").rstrip() + "\n")


async def main(*names: str) -> None:
    for case in CASES:
        if names and case.__name__ not in names:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            await record(case, Path(scratch))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
