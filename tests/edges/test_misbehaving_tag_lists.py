"""A registry that misbehaves when asked for tags: each row ends in time and has a reason; a cut list is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from pluginrelease.controller import pulling
from pluginrelease.controller.artifacts import ArtifactCache
from pluginrelease.core.artifact import image_manifests
from pluginrelease.core.errors import Refused, Transient
from pluginrelease.core.registry import tags
from pluginrelease.edges.oci import registry
from pluginrelease.edges.oci.access import Access
from tests.edges.puller import PullOrder
from tests.edges.puller_process import MIB, MORE_BYTES, MOST_SECONDS, PullerProcess, secret
from tests.edges.registry_behaviours import REALM, UNAVAILABLE, BehaviourRow, endless, ever
from tests.edges.scripted import (
    Request,
    Script,
    Scripted,
    ScriptedAnswer,
    good,
)
from tests.harness.releases import ARTIFACT, release


def pages(tags: Callable[[int], str], link: str = "/v2/team/plugin/tags/list?last={}", count: int = 10**9) -> Script:
    """A list of tags of so many pages; by default it always goes on."""

    def script(asked: Request) -> ScriptedAnswer:
        last = asked.path.rpartition("last=")[2] if "last=" in asked.path else "0"
        if not last.isdigit():
            return ScriptedAnswer(200, list_of().encode())
        number = int(last)
        further = {"Link": f'<{link.format(number + 1)}>; rel="next"'} if number + 1 < count else {}
        return ScriptedAnswer(200, tags(number).encode(), further)

    return script


def list_of(*tags: str) -> str:
    return json.dumps({"name": "team/plugin", "tags": tags})


def tag_rows() -> Iterator[BehaviourRow]:
    yield BehaviourRow("the same page for ever", pages(lambda _: list_of("1.0.0"), "/v2/team/plugin/tags/list?n=1"), "")
    yield BehaviourRow("pages without end", pages(lambda page: list_of(f"1.{page}.0")), "TooManyTags")
    for count, reason in ((20, ""), (21, "TooManyTags")):
        thousands = pages(lambda page: list_of(*(f"1.{page}.{n}" for n in range(1000))), count=count)
        yield BehaviourRow(f"{count} thousand tags", thousands, reason)
    yield BehaviourRow("full pages", pages(lambda page: list_of(f"1.{page}.0") + " " * (MIB - 100)), "TooManyTags")
    elsewhere = "http://localhost:1/v2/team/plugin/tags/list?last={}"
    for address in (elsewhere, "https://registry.example.com/v2/", "file:///etc/passwd", "//10.0.0.1/v2/"):
        yield BehaviourRow(
            f"goes on at {address}", pages(lambda _: list_of("1.0.0"), address), "RegistryRedirectRefused"
        )
    yield BehaviourRow("list without end", lambda _: endless(ScriptedAnswer(200, b'{"tags":["1.0.0"')), "TooManyTags")
    yield BehaviourRow(
        "list of 100 MB",
        lambda _: ScriptedAnswer(200, b"", length=100 * MIB, more=ever(b" " * MIB, 100)),
        "TooManyTags",
    )
    yield BehaviourRow(
        "list byte by byte", lambda _: ScriptedAnswer(200, list_of("1.0.0").encode(), pace=0.2), *UNAVAILABLE, 1.5
    )
    yield BehaviourRow("list of things", lambda _: ScriptedAnswer(200, b'{"tags":[' + b"{}," * 300_000 + b"{}]}"), "")
    yield BehaviourRow("list of brackets", lambda _: ScriptedAnswer(200, b"[" * 500_000), "RegistryRefused")
    yield BehaviourRow("no list", lambda _: ScriptedAnswer(200, b'{"tags":{"1.0.0":1}}'), "RegistryRefused")
    yield BehaviourRow("a page of text", lambda _: ScriptedAnswer(200, b"<html>"), "RegistryRefused")
    yield BehaviourRow("no such question", lambda _: ScriptedAnswer(405), "RegistryRefused")
    yield BehaviourRow("nothing there", lambda _: ScriptedAnswer(404), "ManifestNotFound", "Waiting")
    yield BehaviourRow("503 for ever", lambda _: ScriptedAnswer(503), *UNAVAILABLE)


@pytest.mark.parametrize("row", list(tag_rows()), ids=lambda row: row.name)
def test_a_behaviour_when_asked_for_tags(
    row: BehaviourRow, puller: PullerProcess, scripted: Callable[..., Scripted]
) -> None:
    """Whatever a registry lists: a reason of its own, within a minute, with at most 64 MiB more memory."""
    server = scripted(row.script)
    order = PullOrder(f"{server.host}/team/plugin", secret(server.host), deadline=row.deadline, tags=True)
    outcome = puller(order)
    assert (outcome.reason, outcome.kind) == (row.reason, row.kind if row.reason else ""), outcome.text
    assert outcome.seconds < MOST_SECONDS / 2
    assert outcome.more <= MORE_BYTES
    assert "planted" not in outcome.text


THOUSANDS = sorted([*(f"1.{number}.0" for number in range(1200)), "9.0.0"])


def listing(*, link: str | None = None, heeds_last: bool = True, fails: int = 0) -> Script:
    """The first thousand of what is there after ``last``; ``link`` with what names the rest, None for no such header.

    ``fails``: what it answers to a question with ``last``.
    """

    def script(asked: Request) -> ScriptedAnswer:
        if "Authorization" not in asked.headers:
            return ScriptedAnswer(401, b"", {"WWW-Authenticate": f'Basic realm="{REALM}"'})
        last = asked.path.rpartition("last=")[2] if "last=" in asked.path else ""
        if last and fails:
            return ScriptedAnswer(fails)
        rest = [tag for tag in THOUSANDS if tag > last or not heeds_last]
        further = {} if link is None or len(rest) <= 1000 else {"Link": f'<{link.format(rest[999])}>; rel="next"'}
        return ScriptedAnswer(200, list_of(*rest[:1000]).encode(), further)

    return script


def listed(server: Scripted) -> tags.Listed:
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=secret(server.host).encode())
    return registry.list_tags(image_manifests.parse_repository(f"{server.host}/team/plugin"), access)


QUERY = "?n=1000&last={}"


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("no Link at all", None),
        ("the right one", f"/v2/team/plugin/tags/list{QUERY}"),
        ("a query alone", QUERY),
        ("https, where http is spoken", f"https://HOST/v2/team/plugin/tags/list{QUERY}"),
        ("another port", f"http://127.0.0.1:8081/v2/team/plugin/tags/list{QUERY}"),
        ("the path behind the proxy", f"/repository/docker-hosted/v2/plugin/tags/list{QUERY}"),
        ("a path without its beginning", f"/team/plugin/tags/list{QUERY}"),
        ("the list of another repository", f"/v2/other/tags/list{QUERY}"),
        ("no query", "/v2/team/plugin/tags/list"),
    ],
)
def test_a_list_goes_on(name: str, link: str | None, scripted: Callable[..., Scripted]) -> None:
    """Registries behind a proxy name the next page wrongly, or not at all: it is asked for here all the same."""
    server = scripted(good)
    server.script = listing(link=link.replace("HOST", server.host) if link else None)
    found = listed(server)
    assert (sorted(found.tags), found.whole) == (THOUSANDS, True)
    assert {request.path.partition("?")[0] for request in server.seen} == {"/v2/team/plugin/tags/list"}
    assert len(server.seen) == 3


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("it gives the first page again", listing(heeds_last=False)),
        ("it refuses to go on", listing(fails=400)),
        ("it has nothing there", listing(fails=404)),
    ],
)
def test_a_list_that_is_cut(name: str, script: Script, scripted: Callable[..., Scripted]) -> None:
    """What nobody gives out cannot be taken; that it may be missing is known, and a release does not go down for it."""
    server = scripted(script)
    found = listed(server)
    assert (len(found.tags), found.whole) == (1000, False)
    assert len(server.seen) == 3
    with pytest.raises(Refused) as raised:
        tags.pick("r/plugin", ">=1.0.0", found.tags, whole=found.whole, seen="9.0.0")
    assert raised.value.reason == "TagListIncomplete"


@pytest.mark.parametrize(
    ("ran", "heeds_last", "picked", "events", "why"),
    [
        ("1.500.0", True, "9.0.0", [], "a list that was read to its end"),
        (None, False, "1.1199.0", ["TagListIncomplete"], "a first one: taken, and said"),
        ("1.500.0", False, "1.1199.0", ["TagListIncomplete"], "it goes up, and may miss the highest: said"),
        ("1.1199.0", False, "1.1199.0", [], "nothing changes"),
        ("9.0.0", False, "", [], "it would go down"),
    ],
)
async def test_a_release_and_a_list_that_may_be_cut(
    ran: str | None, heeds_last: bool, picked: str, events: list[str], why: str, scripted: Callable[..., Scripted]
) -> None:
    """When a repository crosses the length of a page, no release goes down to an older version without a word."""
    server = scripted(listing(heeds_last=heeds_last))
    ref = f"{server.host}/team/plugin"
    asking = release(spec__artifact={"image": {"ref": ref, "semver": ">=1.0.0"}})
    known = ARTIFACT.model_copy(update={"ref": f"{ref}:{ran}", "semver": ">=1.0.0"}) if ran else None
    shelf, image = ArtifactCache(), asking.spec.artifact.image
    access = Access(insecure=True, deadline_seconds=20, dockerconfigjson=secret(server.host).encode())
    if not picked:
        with pytest.raises(Refused) as raised:
            await pulling.resolve_name(shelf, image, known, access)
        assert raised.value.reason == "TagListIncomplete", why
        return
    found = await pulling.resolve_name(shelf, image, known, access)
    assert found.ref == f"{ref}:{picked}", why
    assert [event.reason for event in found.events] == events, why


def test_a_list_that_cannot_be_asked_on_just_now(scripted: Callable[..., Scripted]) -> None:
    """A registry that is out of order is tried again, and its list not called cut."""
    with pytest.raises(Transient) as raised:
        listed(scripted(listing(fails=503)))
    assert raised.value.reason == "RegistryUnavailable"


@pytest.mark.parametrize(
    "address", ["http://localhost:{}/v2/team/plugin/tags/list?last=1", "//localhost:{}/v2/?last=1"]
)
def test_no_other_host_is_asked_for_tags(address: str, scripted: Callable[..., Scripted]) -> None:
    """Whoever can write a Link gets neither a request nor the credentials; the remedy says what to do about it."""
    other = scripted(good)
    server = scripted(listing(link=address.format(other.host.partition(":")[2])))
    with pytest.raises(Refused) as raised:
        listed(server)
    assert raised.value.reason == "RegistryRedirectRefused"
    assert "Link" in raised.value.remedy
    assert other.seen == []
