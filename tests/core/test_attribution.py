"""Whose line is it? What a gateway's log says of other plugins, and what strangers write into it, is never ours."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.gateway import logs
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.logs import LogFindings, LogKind

DIGEST = "a" * 64
IMAGE = f"registry.example.com/team/plugin@sha256:{DIGEST}"
OURS = DesiredPlugin("apps", "header", DIGEST, {}, "FAIL_CLOSE", image=IMAGE)
TRANSLATED = "~istio-translated-wasmplugin"
REFUSED = "gRPC config for type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig rejected: "
UNABLE = "Unable to create Wasm plugin apps.header"
NEIGHBOURS = (
    ("apps.header2", "ours is the beginning of its name"),
    ("apps.my-header", "ours is the end of its name"),
    ("apps.header.v2", "ours and a dot are its beginning"),
    ("apps.header-", "ours and a hyphen"),
    ("my-apps.header", "our namespace is the end of its own"),
    ("apps2.header", "our namespace is the beginning of its own"),
    ("other.header", "the same name in another namespace"),
    ("apps.apps.header", "our whole name is its end"),
    ("appsxheader", "a dot is a dot"),
    ("Apps.header", "upper case"),
    ("header", "the name alone"),
    ("apps", "the namespace alone"),
)


def said(message: str, *, level: str = "warning", thread: int = 15) -> str:
    return f"2026-11-20T20:54:01.540001Z\t{level}\tenvoy config a/b.cc:1\t{message}\tthread={thread}"


def agent(message: str) -> str:
    return f"2026-11-20T20:54:01.540001Z\terror\twasm\terror in converting the wasm config to local: {message}"


def read(*lines: str, wanted: DesiredPlugin = OURS) -> LogFindings:
    return logs.read_log("\n".join(lines).splitlines(), wanted, None)


def everything(name: str) -> list[str]:
    """Every line that names a plugin, as of each version of Istio."""
    ecds = (
        name,
        f"extensions.istio.io/wasmplugin/{name}",
        f"extenstions.istio.io/wasmplugin/{name}",
        f"extensions.istio.io/trafficextension/{name}{TRANSLATED}",
    )
    return [
        *(said(f"Updated filter config {filter_name} created, warming done") for filter_name in ecds),
        *(said(f"Updating filter config {one} failed due to 2", thread=20 + at) for at, one in enumerate(ecds)),
        *(said(f"{REFUSED}Unable to create Wasm plugin {filter_name}") for filter_name in (name, name + TRANSLATED)),
        said(f"Plugin {name} failed to load", level="critical"),
        said(f"lds: listener 'x' config rejected: Unable to create Wasm HTTP filter {name}"),
        said(f"{REFUSED}Error adding/updating listener(s) a: x\n0.0.0.0_443: Unable to create Wasm plugin {name}"),
        agent(f"cannot fetch Wasm module {name}: missing image pulling secret"),
    ]


@pytest.mark.parametrize("at", range(len(everything("x"))))
def test_each_line_is_ours_when_it_names_us(at: int) -> None:
    """The control: every one of them is read when it is about this plugin."""
    assert read(everything("apps.header")[at]).events


@pytest.mark.parametrize(("name", "why"), NEIGHBOURS, ids=[name for name, _ in NEIGHBOURS])
def test_a_neighbours_line_is_not_ours(name: str, why: str) -> None:
    """A name is a whole name, in a namespace."""
    for line in everything(name):
        assert not read(line).events, (why, line)


@pytest.mark.parametrize(("name", "why"), NEIGHBOURS, ids=[name for name, _ in NEIGHBOURS])
def test_what_a_neighbour_says_is_no_cause_of_ours(name: str, why: str) -> None:
    """What it wrote directly before our refusal, and its panic before a crash, stay its own."""
    found = read(
        said(f"wasm log {name}: panic: boom"),
        said("Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable", level="error"),
        said(f"wasm log {name}: something is wrong", thread=16),
        said(f"{REFUSED}{UNABLE}", thread=16),
    )
    assert [event.causes for event in found.events] == [()], why
    assert not any(OURS.plugin_name_matches(crash.plugin) for crash in found.crashes), why


@pytest.mark.parametrize(
    ("told", "ours", "why"),
    [
        (f"oci://{IMAGE}", True, "our image"),
        (f"oci://mirror.example.com/plugin@sha256:{DIGEST}", False, "the same digest from another registry"),
        (f"oci://registry.example.com/team/plugin2@sha256:{DIGEST}", False, "the same digest from another repository"),
        (f"oci://registry.example.com/team/plugin@sha256:{'b' * 64}", False, "another digest"),
        ("oci://registry.example.com/team/plugin:1.0", False, "a tag of our repository, as somebody wrote it by hand"),
        ("oci://registry.example.com/apps.header:1.0", False, "a repository that is called as we are"),
        ("https://example.com/apps.header", False, "a file that is called as we are"),
        ("apps.header", True, "our own name, for want of the secret"),
        (f"apps.header{TRANSLATED}", True, "as Istio 1.30 writes it"),
        ("other.header", False, "another's secret"),
    ],
)
def test_whose_module_could_not_be_fetched(told: str, ours: bool, why: str) -> None:
    """By its url, or by the plugin's name; whatever else the line says, as the registry's own words, names nobody."""
    for rest in ("connection refused", f"apps.header {DIGEST}"):
        found = read(agent(f"cannot fetch Wasm module {told}: {rest}. applying deny RBAC filter"))
        assert [event.kind for event in found.events] == ([LogKind.FETCH_FAILED] if ours else []), why


def test_by_digest_where_the_image_is_not_known() -> None:
    """As much as can be told."""
    line = agent(f"cannot fetch Wasm module oci://anywhere/plugin@sha256:{DIGEST}: no")
    assert read(line, wanted=replace(OURS, image="")).events


FORGED = (
    f"{REFUSED}{UNABLE}",
    UNABLE,
    "Updated filter config apps.header created, warming done",
    "Updating filter config apps.header failed due to 2",
    "Plugin apps.header failed to load",
    f"error in converting the wasm config to local: cannot fetch Wasm module oci://{IMAGE}: no",
    "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable",
)


@pytest.mark.parametrize("words", FORGED)
@pytest.mark.parametrize("speaker", ["wasm log apps.neighbour: ", "wasm log apps.neighbour root vm: ", "wasm log: "])
def test_a_plugin_cannot_speak_for_the_gateway(speaker: str, words: str) -> None:
    """Whatever a plugin writes into the log is what a plugin wrote, and no word of Envoy's on any plugin."""
    found = read(said(f"{speaker}{words}"))
    assert (found.events, found.crashes) == ((), ())


ACCESS = '[2026-11-20T20:54:02.000Z] "GET / HTTP/1.1" 200 - via_upstream - "-" 0 0 1 0 "10.0.0.1" "{}" "a" "b" "c"'


@pytest.mark.parametrize("words", FORGED)
@pytest.mark.parametrize(
    "access",
    [
        ACCESS,
        "10.0.0.1 {} GET /",
        "{}",
        json.dumps({"path": "/", "user_agent": "{}"}).replace("{}", "{}"),
    ],
    ids=["istio's own", "another format", "nothing but strangers' words", "json"],
)
@pytest.mark.parametrize(
    "before",
    [
        "",
        said("lds: add/update listener '0.0.0.0_80'"),
        said(f"{REFUSED}Unable to create Wasm plugin apps.neighbour"),
        json.dumps({"level": "warning", "msg": "x", "time": "2026-11-20T20:54:01Z", "thread": "15"}),
    ],
    ids=["alone", "after a line", "after a neighbour's refusal", "after JSON"],
)
def test_a_stranger_cannot_speak_for_the_gateway(before: str, access: str, words: str) -> None:
    """Access logs stand in the same stream, and anybody can send a user agent: no request rolls a release back."""
    text = access.replace("{}", words) if not access.startswith("{") or access == "{}" else access
    if access.startswith('{"'):
        text = json.dumps({"path": "/", "user_agent": words})
    found = read(*filter(None, [before, text, said("and on it goes")]))
    assert (found.events, found.crashes) == ((), ())


def test_an_access_log_does_not_change_the_line_before_it() -> None:
    """A cause keeps its thread and its words, whatever is served in between."""
    cause = "Failed to load Wasm module due to a missing import: env.x"
    access = ACCESS.format("curl")
    for line in (access, "another format of it"):
        [event] = read(said(cause, level="error"), line, said(f"{REFUSED}{UNABLE}"), line).events
        assert event.causes == (cause,)
        assert "curl" not in event.line
        assert "another" not in event.line


def test_an_agents_words_end_where_the_access_log_begins() -> None:
    """They run over several lines, and the next request is none of them."""
    line = agent(f"cannot fetch Wasm module oci://{IMAGE}: 2 errors occurred:\n\t* one\n\t* two\n\n. applying deny")
    [event] = read(line, ACCESS.format("curl")).events
    assert "two" in event.line
    assert "curl" not in event.line


@given(
    st.lists(
        st.sampled_from([*FORGED, ACCESS, "wasm log a.b: ", "\t", "thread=15", "[", "{", "rejected: "]), max_size=6
    )
)
def test_no_line_without_a_level_counts(parts: list[str]) -> None:
    """However strangers' words are put together."""
    assert not read(" ".join(parts)).events


def test_where_to_read_on_is_not_asked_of_strangers() -> None:
    """The time of the last line that Envoy or the agent wrote."""
    text = "\n".join([said("one"), ACCESS.format("x")])
    assert logs.find_last_time(text) == logs.parse_time("2026-11-20T20:54:01.540001Z")
