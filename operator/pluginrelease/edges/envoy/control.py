"""Changes at a gateway: set the level of one logger, and end an Envoy that hangs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from urllib.parse import urlencode

from pluginrelease.api.reasons import Reason
from pluginrelease.core.errors import Transient
from pluginrelease.core.gateway import documents
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.edges.envoy import admin
from pluginrelease.edges.envoy.access import DEFAULT, Channels, GatewayAccess
from pluginrelease.edges.envoy.admin import BROKEN, Admin

LOGGER = "filter"


# port of Istio's agent (pkg/config/constants, cmd/pilot-agent/status)
AGENT_PORT = 15020


async def read_logging(
    channels: Channels, pod: PodRef, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> str:
    """Return the level of Envoy's ``filter`` logger. Raises `Transient`."""
    return await _call_logging(channels, pod, "/logging", deadline_seconds, settings)


async def read_level(gateway: Admin) -> str | None:
    """Return the same on an open connection; None if the answer does not list the logger."""
    answer = await gateway.request("POST", "/logging")
    return documents.read_logger_level(answer.text, LOGGER)


async def set_logging(
    channels: Channels, pod: PodRef, level: str, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> None:
    """Set the level of Envoy's ``filter`` logger. At debug it logs each plugin that it loads. Raises `Transient`."""
    query = urlencode({LOGGER: level})
    found = await _call_logging(channels, pod, f"/logging?{query}", deadline_seconds, settings)
    if found != level:
        raise _logger_not_set(pod, f"the {LOGGER} logger is at {found} after it was set to {level}")


async def end_gateway(
    channels: Channels, pod: PodRef, *, deadline_seconds: float = 10, settings: GatewayAccess = DEFAULT
) -> None:
    """Let Istio's agent end itself and Envoy, even one that hangs; the kubelet restarts the container.

    The agent accepts this only from the pod's loopback, which a port-forward uses. Raises `Transient`.
    """
    at_agent = replace(settings, admin_port=AGENT_PORT)
    try:
        async with asyncio.timeout(deadline_seconds):
            answer = await admin.ask(channels, pod, "POST", "/quitquitquit", at_agent)
    except (*BROKEN, TimeoutError) as error:
        raise Transient(
            Reason.GATEWAY_NOT_RESTARTED, f"{pod.namespace}/{pod.name}: {admin.describe_error(error)}"
        ) from error
    if answer.status != 200:
        raise Transient(Reason.GATEWAY_NOT_RESTARTED, f"{pod.namespace}/{pod.name}: the agent answered {answer.status}")


async def _call_logging(
    channels: Channels, pod: PodRef, target: str, deadline_seconds: float, settings: GatewayAccess
) -> str:
    try:
        async with asyncio.timeout(deadline_seconds):
            answer = await admin.retry_once(lambda: admin.ask(channels, pod, "POST", target, settings))
    except BROKEN as error:
        raise _logger_not_set(pod, admin.describe_error(error)) from error
    level = documents.read_logger_level(answer.text, LOGGER)
    if answer.status != 200 or level is None:
        raise _logger_not_set(pod, f"POST /logging answered {answer.status} without the {LOGGER} logger")
    return level


def _logger_not_set(pod: PodRef, message: str) -> Transient:
    return Transient(Reason.LOGGER_NOT_SET, f"{pod.namespace}/{pod.name}: {message}", "The next look tries again.")
