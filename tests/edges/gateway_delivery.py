"""One gateway, a real Envoy, and a release that delivers to it as the operator would: look, write, look again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from pluginrelease.core.gateway import observations
from pluginrelease.core.gateway.identity import DesiredPlugin, Incarnation
from pluginrelease.core.gateway.observations import Baseline, PodObservation, PodRef
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State, Verdict
from pluginrelease.edges.envoy import dump_cache, observing
from tests import wasm_modules as made
from tests.edges.real_envoy import EnvoyChannels, RealGateway

POD = PodRef("apps", "gateway", "uid-1", ready=True)
TIMEOUT = timedelta(hours=1)


def variant(text: str) -> bytes:
    """A plugin that loads, whose bytes differ from others' by a custom section."""
    return made.plugin() + made.section(0, made.name("variant") + text.encode())


@dataclass
class GatewayDelivery:
    """One gateway, and a release that delivers to it as the operator would: look, write, look again."""

    gateway: RealGateway
    channels: EnvoyChannels
    wanted: DesiredPlugin = field(default_factory=lambda: DesiredPlugin("apps", "header", "", {}, "FAIL_CLOSE"))
    write_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    baselines: tuple[Baseline, ...] = ()
    verified: frozenset[Incarnation] = frozenset()

    async def see(self) -> PodObservation:
        (seen,) = await observing.observe(self.channels, [POD], self.wanted, since=self.write_at, deadline_seconds=30)
        return seen

    async def write(
        self,
        wasm: bytes,
        config: dict[str, Any] | None = None,
        *,
        delivered: bool = True,
        fail: str = "FAIL_CLOSED",
    ) -> None:
        before = observations.make_baseline(await self.see())
        self.baselines = (before,) if before else ()
        self.verified = frozenset()
        self.write_at = datetime.now(UTC)
        digest = self.gateway.deliver("header", wasm, config, fail) if delivered else "0" * 64
        self.wanted = replace(self.wanted, digest_hex=digest, config=config)

    async def judged(self, *, late: bool = False) -> Verdict:
        found = judging.judge(
            self.wanted,
            [await self.see()],
            write_at=self.write_at,
            baselines=self.baselines,
            verified=self.verified,
            load_timeout=timedelta() if late else TIMEOUT,
        )
        self.verified = found.verified
        return found

    async def settled(self, *states: State) -> Verdict:
        """The first verdict in one of these states."""
        found = await self.judged()
        for _ in range(600):
            if found.state in states:
                return found
            found = await self.judged()
        raise AssertionError(f"still {found}")


StartDelivery = Callable[..., Awaitable[GatewayDelivery]]
TRAP = {"x-trap": "now"}


async def look(delivery: GatewayDelivery, habit: dump_cache.ReadOptions) -> tuple[PodObservation, int]:
    """A look, and how many bytes the gateway sent for it."""
    before = delivery.channels.relayed
    (seen,) = await observing.observe(
        delivery.channels, [POD], delivery.wanted, since=delivery.write_at, deadline_seconds=30, options=habit
    )
    return seen, delivery.channels.relayed - before
