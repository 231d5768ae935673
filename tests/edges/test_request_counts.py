"""What the operator counts of its requests to the API server: each try once, by what came of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from pluginrelease.core.apiserver.requests import RequestClass
from pluginrelease.edges.kubernetes.contact import UNANSWERED, Contact
from tests.edges.real_envoy import free_port

PODS = "/api/v1/namespaces/edge/pods"


async def busy(request: web.Request) -> web.Response:
    """Answers as the query says."""
    return web.Response(status=int(request.query.get("code", "200")))


@asynccontextmanager
async def session(contact: Contact) -> AsyncIterator[aiohttp.ClientSession]:
    """The operator's kind of session to a server that answers what it is told to."""
    application, port = web.Application(), free_port("127.0.0.1")
    application.router.add_route("*", "/{path:.*}", busy)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", middlewares=[contact.note_own]) as asking:
            yield asking
    finally:
        await runner.cleanup()


async def test_each_answer_counts_by_its_class_and_code() -> None:
    """A 429 counts as what it is, a watch as a watch, a pod's log as its own resource, and nobody's name is kept."""
    contact = Contact()
    async with session(contact) as asking:
        for path, query in (
            (PODS, {}),
            (PODS, {"code": "429"}),
            (PODS, {"code": "429"}),
            (PODS, {"watch": "true"}),
            (f"{PODS}/gateway-1/log", {"code": "404"}),
        ):
            async with asking.get(path, params=query):
                pass
    assert contact.requests() == {
        (RequestClass("list", "pods"), "200"): 1,
        (RequestClass("list", "pods"), "429"): 2,
        (RequestClass("watch", "pods"), "200"): 1,
        (RequestClass("get", "pods/log"), "404"): 1,
    }


async def test_a_request_without_an_answer_counts_as_failed() -> None:
    """A server that is not there has no code."""
    contact = Contact()
    async with aiohttp.ClientSession(middlewares=[contact.note_own]) as asking:
        with pytest.raises(aiohttp.ClientError):
            await asking.delete(f"http://127.0.0.1:{free_port('127.0.0.1')}{PODS}/gateway-1")
    assert contact.requests() == {(RequestClass("delete", "pods"), UNANSWERED): 1}
