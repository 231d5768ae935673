"""What a gateway's documents and log lines say: recorded answers of a real Envoy, and lines as Istio prints them."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ijson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluginrelease.core.gateway import logs, observations, verdict
from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.gateway.listeners import Listener, ListenerReader, Listeners
from pluginrelease.core.gateway.logs import LogFindings, LogKind
from pluginrelease.core.gateway.observations import Documents, FilterKind, PodObservation, PodRef
from pluginrelease.core.gateway.verdict import State

RECORDED = Path(__file__).parents[1] / "fixtures" / "envoy"
POD = PodRef("apps", "gateway", "uid-1", ready=True)
BEGINNING = datetime.fromtimestamp(0, UTC)
CONFIG = {"allow": True, "size": 1}
NAME = "extensions.istio.io/trafficextension/apps.header~istio-translated-wasmplugin"
NEIGHBOUR = NAME.replace("header", "neighbour")


def recorded(case: str, part: str) -> str:
    return (RECORDED / case / f"{part}.json").read_text()


def documents(case: str) -> Documents:
    texts = (recorded(case, part) for part in ("server_info", "start", "ecds"))
    log = (RECORDED / case / "log.txt").read_text()
    return Documents(*texts, listeners(recorded(case, "listeners")), recorded(case, "stats"), log)


def listeners(text: str) -> Listeners:
    """As the edge reads them: event by event."""
    reader = ListenerReader()
    try:
        for path, kind, value in ijson.parse(io.BytesIO(text.encode()), use_float=True):
            reader.take(path, kind, value)
    except ijson.JSONError:
        reader.strange("no JSON")
    return reader.finished()


def wanted(case: str = "") -> DesiredPlugin:
    digest = (RECORDED / case / "digest.txt").read_text().strip() if case else "a" * 64
    return DesiredPlugin("apps", "header", digest, CONFIG, "FAIL_CLOSE")


def seen(case: str) -> PodObservation:
    return observations.observe_pod(POD, BEGINNING, documents(case), wanted(case), BEGINNING)


# ------------------------------------------------------------------------------------------------------ the documents


def test_a_loaded_plugin() -> None:
    """Everything that the recorded Envoy tells of itself, of our plugin and of its listener is read."""
    sighting = seen("loaded")
    (entry,) = sighting.entries
    assert (sighting.envoy_version, sighting.istio_version, sighting.concurrency) == ("1.40.0", "1.31.0", 2)
    assert (entry.name, entry.kind, entry.digest_hex) == (NAME, FilterKind.WASM, wanted("loaded").digest_hex)
    assert (entry.config, entry.fail) == (CONFIG, "FAIL_CLOSED")
    assert (sighting.code_files, sighting.code_shared, sighting.referenced) == (2, False, True)
    stats = sighting.stats
    assert (stats.config_reload, stats.update_rejected, stats.vm_active, stats.named) == (2, 0, 8, True)
    assert (sighting.listener_errors, sighting.warming, sighting.unknown) == ((), (), ())
    newest = sighting.log.newest()
    assert newest is not None
    assert newest.kind is LogKind.LOADED


def test_a_refused_plugin_shows_as_current_and_counts_as_reloaded() -> None:
    """The dump names the refused file and config_reload has risen: both lie, the rejection and its causes do not."""
    sighting = seen("refused")
    assert sighting.entries[0].digest_hex == wanted("refused").digest_hex
    assert (sighting.stats.config_reload, sighting.stats.update_rejected) == (2, 1)
    (event,) = [event for event in sighting.log.events if event.kind is LogKind.REJECTED]
    assert event.causes == (
        "Wasm VM failed Missing or unknown Proxy-Wasm ABI version",
        "Wasm VM failed Failed to load Wasm code",
    )
    assert "apps.header" in event.line


def test_the_newest_event_counts() -> None:
    """A refusal that a success followed is over."""
    kinds = [event.kind for event in seen("refused_then_loaded").log.events]
    assert kinds == [LogKind.REJECTED, LogKind.LOADED]


def test_a_neighbours_refusal_is_in_the_log_and_not_ours() -> None:
    """Lines that name another plugin, and the causes before them, leave ours alone."""
    assert "Unable to create Wasm plugin apps.neighbour" in documents("neighbour_refused").log
    assert [event.kind for event in seen("neighbour_refused").log.events] == [LogKind.LOADED]


def test_a_listener_refused_because_of_us() -> None:
    """The error is ours, has its time also where Envoy leaves that out, and comes before the refusal of the plugin."""
    sighting = seen("listener_refused")
    assert {error.details for error in sighting.listener_errors} == {
        "Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"
    }
    assert all(error.attempted for error in sighting.listener_errors)
    assert sighting.other_listener_errors == ()
    assert [event.kind for event in sighting.log.events] == [LogKind.REJECTED, LogKind.LISTENER_REJECTED]


def test_the_two_stand_ins_are_told_apart() -> None:
    """No rules at all let every request pass; empty rules let none."""
    assert [seen(case).entries[0].kind for case in ("denied", "allowed")] == [
        FilterKind.RBAC_DENY,
        FilterKind.RBAC_ALLOW,
    ]


def test_absent_sections_are_absence_and_not_trouble() -> None:
    """An Envoy that has no extension configurations and no dynamic listeners has not received the plugin."""
    read = documents("loaded")
    bare = Documents(read.server_info, read.start, "", Listeners(), read.stats, "")
    sighting = observations.observe_pod(POD, BEGINNING, bare, wanted(), BEGINNING)
    assert (sighting.entries, sighting.referenced, sighting.unknown) == ((), None, ())


def test_a_composite_filter_is_something_else() -> None:
    """A filter type that is neither Wasm nor the known stand-in is named, never taken for the plugin."""
    read = documents("denied")
    ecds = read.ecds.replace("http.rbac.v3.RBAC", "http.composite.v3.Composite", 1)
    strange = Documents(read.server_info, read.start, ecds, read.listeners, read.stats, read.log)
    sighting = observations.observe_pod(POD, BEGINNING, strange, wanted(), BEGINNING)
    assert sighting.entries[0].kind is FilterKind.OTHER
    found = verdict.judge(wanted(), [sighting], write_at=BEGINNING, load_timeout=timedelta())
    assert (found.state, found.reason) == (State.UNKNOWN, "UnknownShape")
    assert "Composite" in found.message


def changed(case: str, since: datetime = BEGINNING, **parts: object) -> PodObservation:
    if isinstance(text := parts.get("listeners"), str):
        parts["listeners"] = listeners(text)
    return observations.observe_pod(POD, BEGINNING, replace(documents(case), **parts), wanted(case), since)  # type: ignore[arg-type]


def test_a_neighbour_that_never_loaded_needs_no_vms() -> None:
    """Code files are counted of the plugins that Envoy has created, which it shows by their own statistics."""
    stats = json.loads(documents("loaded").stats)
    stats["stats"] = [item for item in stats["stats"] if "apps.neighbour" not in item.get("name", "")]
    assert changed("loaded", stats=json.dumps(stats)).code_files == 1


def test_a_shared_code_file_is_told() -> None:
    """A neighbour with the same file shares its VMs, and what is counted is no proof of ours."""
    ours, neighbours = (
        entry["ecds_filter"] for entry in json.loads(documents("loaded").ecds)["configs"][0]["ecds_filters"]
    )
    path = [each["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"] for each in (ours, neighbours)]
    assert changed("loaded", ecds=documents("loaded").ecds.replace(path[1], path[0])).code_shared


def test_the_same_image_in_two_repositories_is_one_code() -> None:
    """Istio names a file by repository and digest, and Envoy shares the VMs of equal bytes: the digest counts."""
    ours, neighbours = (
        entry["ecds_filter"]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"]
        for entry in json.loads(documents("loaded").ecds)["configs"][0]["ecds_filters"]
    )
    folder, _, file = ours.rpartition("/")
    elsewhere = f"{folder}/{'0' * 64}/{file}"
    sighting = changed("loaded", ecds=documents("loaded").ecds.replace(neighbours, elsewhere))
    assert (sighting.code_files, sighting.code_shared) == (1, True)


def test_the_log_is_read_by_the_gateways_clock() -> None:
    """Since when is by our clock; a gateway that is behind wrote its lines with earlier times."""
    since = datetime(2026, 11, 20, 20, 54, 30, tzinfo=UTC)
    log = line(1, f"{REFUSED}Unable to create Wasm plugin apps.header")
    assert not changed("loaded", since, log=log).log.events
    assert changed("loaded", since, log=log, skew=timedelta(minutes=-1)).log.events


@pytest.mark.parametrize(
    ("after", "digest", "back", "reason"),
    [
        (timedelta(seconds=-1), True, timedelta(), "what came after the write is told after the write"),
        (timedelta(seconds=40), True, timedelta(seconds=40), "an old subscription was told of when it was made"),
        (timedelta(hours=3), True, observations.LOG_REACH, "a log of hours is not read for it"),
        (timedelta(seconds=40), False, timedelta(), "what was said of another configuration is no word on ours"),
    ],
)
def test_from_where_the_log_is_read(after: timedelta, digest: bool, back: timedelta, reason: str) -> None:
    """A plugin deleted and made again while its listener drains finds its old subscription, and Envoy is silent."""
    one = wanted("loaded") if digest else wanted()
    received = seen("loaded").entries[0].last_updated
    assert received is not None
    write_at = received + after
    assert observations.log_since(documents("loaded").ecds, one, write_at) == write_at - back, reason


def test_a_neighbours_configuration_that_nests_without_end_ends_no_look() -> None:
    """Anybody who may write a plugin for the gateway chooses its configuration, and every release reads all of them."""
    strange = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "[" * 3000 + "]" * 3000}
    dump = json.loads(documents("loaded").ecds)
    theirs = next(one for one in dump["configs"][0]["ecds_filters"] if "neighbour" in one["ecds_filter"]["name"])
    theirs["ecds_filter"]["typed_config"]["config"]["configuration"] = strange
    sighting = changed("loaded", ecds=json.dumps(dump))
    assert [entry.config for entry in sighting.entries] == [CONFIG]


def told_secret(value: str, log: str) -> PodObservation:
    """The recorded gateway with this value in the place of a placeholder, and with another log."""
    given = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps({"user": value})}
    dump = json.loads(documents("loaded").ecds)
    for item in dump["configs"][0]["ecds_filters"]:
        if "header" in item["ecds_filter"]["name"]:
            item["ecds_filter"]["typed_config"]["config"]["configuration"] = given
    release = replace(wanted("loaded"), config={"user": "${secret.apps/keys.user}"}, replaces=True)
    told = replace(documents("loaded"), ecds=json.dumps(dump), log=log)
    return observations.observe_pod(POD, BEGINNING, told, release, BEGINNING)


@pytest.mark.parametrize("value", ["apps", "header", "istio", "filter", "Failed", "Function", "15", "1", "er"])
def test_a_secrets_value_that_is_a_word_of_envoys_hides_no_sign(value: str) -> None:
    """A user may be called as the plugin's namespace is: what Envoy says of the plugin is understood all the same."""
    assert [event.kind for event in told_secret(value, documents("loaded").log).log.events] == [LogKind.LOADED]
    refused = told_secret(value, "\n".join([line(1, MISSING), line(2, NOT_ON_THREAD), *created(3, NAME)]))
    assert [event.kind for event in refused.log.events] == [LogKind.REFUSED_BY_WORKERS]
    (crash,) = told_secret(value, "\n".join([*spoken(1, "panic: x"), line(2, TRAP)])).log.crashes
    assert (crash.plugin, crash.thread) == (OUR_NAME, "15")


@pytest.mark.parametrize("before", [0, 150, 195, 7900, 8080, 8100, 8150, 9000])
def test_no_part_of_a_secrets_value_is_quoted(before: int) -> None:
    """Wherever a long line is cut."""
    value = "s3cr3t-" * 20
    words = f"{'x' * before}{value}{'y' * 10_000}"
    lines = [line(1, f"Failed to load {words}"), *spoken(1, f"panic: {words}"), line(2, TRAP), line(3, REFUSAL)]
    assert "s3cr3t" not in repr(told_secret(value, "\n".join(lines)).log)
    panic = spoken(1, f"panic: {'x' * 4000}", f"{'y' * 4000}", f"{'x' * (before % 200)}{value}")
    assert "s3cr3t" not in repr(told_secret(value, "\n".join([*panic, line(2, TRAP)])).log)


def given_env(**variables: Any) -> str:
    """The recorded dump, with an environment for our plugin."""
    dump = json.loads(documents("loaded").ecds)
    for item in dump["configs"][0]["ecds_filters"]:
        item["ecds_filter"]["typed_config"]["config"]["vm_config"]["environment_variables"] = variables
    return json.dumps(dump)


def test_the_modules_environment() -> None:
    """It is what a release gave: a value, or None for the gateway's own; what Istio's agent reads there is not."""
    ecds = given_env(key_values={"LEVEL": "info", "ISTIO_META_WASM_IMAGE_PULL_POLICY": "x"}, host_env_keys=["HOSTNAME"])
    assert changed("loaded", ecds=ecds).entries[0].env == {"LEVEL": "info", "HOSTNAME": None}
    assert seen("loaded").entries[0].env == {}


def test_another_environment_is_another_configuration() -> None:
    """What Envoy said of the same code and configuration in another environment is no word on this one."""
    one, received = replace(wanted("loaded"), env={"LEVEL": "info"}), seen("loaded").entries[0].last_updated
    assert received is not None
    write_at = received + timedelta(seconds=40)
    assert observations.log_since(documents("loaded").ecds, one, write_at) == write_at
    assert observations.log_since(given_env(key_values={"LEVEL": "info"}), one, write_at) == received


def test_a_listener_that_is_warming_is_no_active_one() -> None:
    """A listener whose first version still warms uses our filter for no request."""
    warming = recorded("loaded", "listeners").replace('"active_state"', '"warming_state"')
    sighting = changed("loaded", listeners=warming)
    assert (sighting.warming, sighting.referenced) == (("0.0.0.0_8080",), None)
    both = json.loads(recorded("loaded", "listeners"))
    (item,) = both["configs"]
    item["warming_state"] = item["active_state"]
    item["active_state"] = json.loads(json.dumps(item["active_state"]).replace("apps.header", "apps.third"))
    updating = changed("loaded", listeners=json.dumps(both))
    assert (updating.warming, updating.referenced) == (("0.0.0.0_8080",), False)
    without = recorded("loaded", "listeners").replace("apps.header", "apps.third")
    assert changed("loaded", listeners=without).referenced is False


HTTP = {"filters": [{"typed_config": {"http_filters": [{"name": NAME}, {"name": "envoy.filters.http.router"}]}}]}
OTHERS = {"filters": [{"typed_config": {"http_filters": [{"name": "envoy.filters.http.router"}]}}]}
TLS = {
    "transport_socket": {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"},
    }
}
DYNAMIC = "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener"
PASSED_THROUGH = {
    "filter_chain_match": {"server_names": ["a"]},
    "filters": [{"name": "envoy.filters.network.tcp_proxy"}],
}


@pytest.mark.parametrize(
    ("parts", "expected", "why"),
    [
        ({"filter_chains": [HTTP]}, [Listener(8080, False, True, True)], "plain HTTP"),
        ({"filter_chains": [{**HTTP, **TLS}]}, [Listener(8080, True, False, True)], "HTTPS"),
        ({"filter_chains": [{**HTTP, **TLS}, OTHERS]}, [Listener(8080, True, True, True)], "both on one port"),
        ({"filter_chains": [OTHERS]}, [Listener(8080, False, True, False)], "a listener that the plugin is not for"),
        ({"default_filter_chain": HTTP}, [Listener(8080, False, True, True)], "the chain for what fits no other"),
        ({"filter_chains": [PASSED_THROUGH, {**HTTP, **TLS}]}, [Listener(8080, True, False, True)], "TLS passed on"),
        ({"filter_chains": [PASSED_THROUGH]}, [Listener(8080, False, False, False)], "no HTTP at all"),
        ({"address": {"socket_address": {"protocol": "UDP", "port_value": 8443}}}, [], "HTTP/3 is another socket"),
        ({"address": {"internal_listener": {}}}, [], "no port that anybody could call"),
        ({"filter_chains": "?"}, [Listener(8080, False, False, False)], "no known shape"),
    ],
)
def test_where_a_request_can_be_sent(parts: dict[str, object], expected: list[Listener], why: str) -> None:
    """Each port that the control plane opened, with how it is spoken to and whether our plugin is on the way."""
    listener = {"name": "l", "address": {"socket_address": {"address": "::", "port_value": 8080}}, **parts}
    dump = json.dumps({"configs": [{"@type": DYNAMIC, "name": "l", "active_state": {"listener": listener}}]})
    assert list(changed("loaded", listeners=dump).listeners) == expected, why


def test_the_port_of_a_recorded_gateway() -> None:
    """The real Envoy's listener is plain HTTP and asks for our plugin."""
    (listener,) = seen("loaded").listeners
    assert (listener.tls, listener.plain, listener.has_plugin) == (False, True, True)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"configs": [{"@type": "envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": []}]}', "another shape"),
        ('{"configs": [3]}', "a number in place of a listener"),
        ('{"configs": {"item": {}}}', "an object in place of the list"),
        ('{"configs": []', "an answer that was cut"),
        ("{} {}", "two answers"),
        ("[]", "a list in place of the object"),
        ("", "nothing"),
    ],
)
def test_listeners_of_no_known_shape_are_told(text: str, why: str) -> None:
    """What is not understood while it streams by is not healthy."""
    assert listeners(text).unknown, why


def test_a_gateway_without_listeners_is_understood() -> None:
    """That is what Envoy answers then."""
    assert listeners("{}\n") == Listeners()


def test_an_answer_that_nests_without_end_is_not_read() -> None:
    """A pod that only looks like a gateway cannot make the operator busy."""
    with pytest.raises(ValueError, match="without end"):
        listeners("[" * 3000)


@pytest.mark.parametrize("part", ["ecds", "listeners", "stats", "start", "server_info"])
@pytest.mark.parametrize("text", ["", "[]", "upstream connect error", '{"configs": 3, "stats": {}}'])
def test_what_has_no_known_shape_is_told(part: str, text: str) -> None:
    """A document that is no JSON object, or whose lists are none, is an unknown shape; an absent section is not."""
    absent = part == "ecds" and not text
    odd_info = part == "server_info" and text.startswith("{")
    assert bool(changed("loaded", **{part: text}).unknown) is not (absent or odd_info)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["configs", "ecds_filters", "stats", "name", "ecds_filter", "@type"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(part=st.integers(0, 4), value=JSON_VALUES)
def test_strange_documents_are_never_loaded(part: int, value: object) -> None:
    """Whatever a document turns into, reading it raises nothing; without known configuration nothing is Loaded."""
    read = documents("loaded")
    names = ("server_info", "start", "ecds", "listeners", "stats")
    strange: Any = listeners(json.dumps(value)) if names[part] == "listeners" else json.dumps(value)
    sighting = observations.observe_pod(
        POD, BEGINNING, replace(read, **{names[part]: strange}), wanted("loaded"), BEGINNING
    )
    found = verdict.judge(wanted("loaded"), [sighting], write_at=BEGINNING, load_timeout=timedelta())
    if part in (2, 3) or not isinstance(value, dict):
        assert found.state is not State.LOADED


def test_versions() -> None:
    """The version is the second part of a build's name; anything else is unknown."""
    assert observations.version('{"version": "abc0/1.36.2-dev/Modified/RELEASE/BoringSSL"}') == "1.36.2"
    assert [observations.version(text) for text in ("{}", "no", '{"version": 3}')] == [None, None, None]


def test_the_essence_of_a_gateways_own_words() -> None:
    """What is kept of them says the same; words of no known shape are kept as they are."""
    whole = recorded("loaded", "server_info")
    brief = changed("loaded", server_info=observations.trim_server_info(whole))
    assert brief == changed("loaded")
    assert brief.envoy_version == "1.40.0"
    assert [observations.trim_server_info(text) for text in ("no", '{"a": 1}')] == ["no", '{"a": 1}']


def test_a_loggers_level() -> None:
    """The answer lists every logger; another's name that ends alike is not ours."""
    answer = "active loggers:\n  ext_filter: trace\n  filter: warning\n  filter_x: info\n"
    assert observations.logger_level(answer, "filter") == "warning"
    assert observations.logger_level("active loggers:\n  ext_filter: trace\n", "filter") is None


# ---------------------------------------------------------------------------------------------------------- the names


@pytest.mark.parametrize(
    ("name", "ours", "why"),
    [
        ("apps.header", True, "Istio up to 1.20"),
        ("extenstions.istio.io/wasmplugin/apps.header", True, "1.21 to 1.25, with its typing error"),
        ("extensions.istio.io/wasmplugin/apps.header", True, "1.26 to 1.29"),
        (NAME, True, "1.30 and later"),
        ("extensions.istio.io/trafficextension/apps.header", False, "a TrafficExtension of that name"),
        ("extensions.istio.io/wasmplugin/apps.header2", False, "a longer name"),
        ("extensions.istio.io/wasmplugin/myapps.header", False, "a longer namespace"),
        ("extensions.istio.io/wasmplugin/appsxheader", False, "the dot is a dot"),
        ("", False, "no name"),
    ],
)
def test_names_of_our_extension_configuration(name: str, ours: bool, why: str) -> None:
    """Each Istio version has its own name for the same WasmPlugin; names that only look alike are not ours."""
    assert wanted().ecds_name_matches(name) is ours, why


# ------------------------------------------------------------------------------------------------------------ the log


def line(second: int, message: str, *, thread: int = 15, scope: str = "envoy wasm", level: str = "error") -> str:
    caller = "external/envoy/source/extensions/common/wasm/wasm.cc:104"
    return f"2026-11-20T20:54:{second:02}.540001Z\t{level}\t{scope} {caller}\t{message}\tthread={thread}"


def read(*lines: str, since: datetime = BEGINNING) -> LogFindings:
    return logs.read_log("\n".join(lines).splitlines(), wanted(), since)


REFUSED = "gRPC config for type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig rejected: "
MISSING = "Failed to load Wasm module due to a missing import: wasi_snapshot_preview1.path_filestat_get"
AGENT = (
    "2026-11-20T20:54:10.000001Z\terror\twasm\terror in converting the wasm config to local: cannot fetch Wasm module "
    "{url}: could not fetch Wasm OCI image: the given image is in invalid format as an OCI image: 2 errors occurred:\n"
    "\t* could not parse as compat variant: invalid media type\n"
    "\t* could not parse as oci variant: number of layers must be 2 but got 1\n\n. applying deny RBAC filter"
)


def test_causes_are_those_of_the_same_thread() -> None:
    """Causes carry no name: those of another thread are not ours, also when they stand in between."""
    found = read(
        line(1, MISSING),
        line(2, "Wasm VM failed Failed to configure base Wasm plugin", thread=99),
        line(3, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin", scope="envoy config"),
    )
    assert [event.causes for event in found.events] == [(MISSING,)]


def test_causes_of_an_attempt_that_ended_otherwise_are_dropped() -> None:
    """A new attempt on the thread begins without the causes of the one before."""
    found = read(
        line(1, "wasm log: a warning of the one before"),
        line(2, f"Updated filter config {NAME} accepted, posting to workers", scope="envoy filter"),
        line(3, MISSING),
        line(4, f"{REFUSED}Unable to create Wasm plugin apps.header"),
    )
    assert [event.causes for event in found.events] == [(MISSING,)]


def test_a_neighbours_line_takes_the_causes_before_it() -> None:
    """What stands before a neighbour's name is the neighbour's, though ours is refused next."""
    found = read(
        line(1, MISSING),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.neighbour"),
        line(3, f"{REFUSED}Unable to create Wasm plugin apps.header"),
    )
    assert [event.causes for event in found.events] == [()]


def test_a_refusal_told_by_several_lines_is_one_event() -> None:
    """Envoy names a refused plugin up to four times: the causes and the last time are kept in one event."""
    found = read(
        line(1, MISSING),
        line(1, "Plugin apps.header~istio-translated-wasmplugin failed to load", level="critical"),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(3, f"Updating filter config {NAME} failed due to 2", level="debug", scope="envoy filter"),
    )
    (event,) = found.events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))
    assert event.at is not None
    assert event.at.second == 2, "the last line that names who was refused"


def test_a_refusal_that_every_subscription_hears_of_is_one_plugins() -> None:
    """Envoy tells every subscription of one plugin's refusal: no neighbour is refused, and the causes are kept."""
    lines = (
        line(1, MISSING),
        line(1, "Plugin apps.header~istio-translated-wasmplugin failed to load", level="critical"),
        line(2, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(3, f"Updating filter config {NEIGHBOUR} failed due to 2", level="debug", scope="envoy filter"),
        line(4, f"{REFUSED}Unable to create Wasm plugin apps.header~istio-translated-wasmplugin"),
        line(5, f"Updating filter config {NAME} failed due to 2", level="debug", scope="envoy filter"),
    )
    (event,) = read(*lines).events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))
    assert logs.read_log(lines, replace(wanted(), name="neighbour"), BEGINNING).events == ()


def test_worker_update_complete_is_no_sign() -> None:
    """Envoy prints it for refused configurations too."""
    assert not read(line(1, f"Filter config {NAME} worker update complete", scope="envoy filter")).events


NOT_ON_THREAD = "Wasm VM failed Failed to configure thread-local Wasm plugin"


def created(second: int, name: str) -> list[str]:
    """What Envoy 1.40 logs when its workers refuse a new configuration of the code that they run."""
    return [
        line(second, f"Updated filter config {name} accepted, posting to workers", scope="envoy filter"),
        line(second, NOT_ON_THREAD),
        line(second, f"Updated filter config {name} created, warming done", scope="envoy filter"),
        line(second, NOT_ON_THREAD, thread=16),
        line(second, f"Filter config {name} worker update complete", scope="envoy filter"),
    ]


def test_created_is_no_success_where_the_same_thread_has_just_failed() -> None:
    """Envoy logs that it created a plugin that none of its threads could configure."""
    found = read(*created(1, NAME))
    assert [(event.kind, event.causes) for event in found.events] == [(LogKind.REFUSED_BY_WORKERS, (NOT_ON_THREAD,))]
    assert {one.thread for one in found.missing} == {"15", "16"}
    healed = read(*created(1, NAME), *(one for one in created(3, NAME) if NOT_ON_THREAD not in one)).events
    assert [(event.kind, event.everywhere) for event in healed][1:] == [(LogKind.LOADED, True)]


def test_workers_that_refused_a_neighbour_lack_nothing_of_ours() -> None:
    """Their lines name nobody; those of the moment in which Envoy names a neighbour are the neighbour's."""
    found = read(*created(1, NEIGHBOUR))
    assert (found.events, found.missing) == ((), ())
    both = read(*created(1, NEIGHBOUR), line(5, NOT_ON_THREAD, thread=16))
    assert [one.at and one.at.second for one in both.missing] == [5]


def test_only_with_all_workers_envoys_word_is_whole() -> None:
    """A worker that hangs takes nothing, and Envoy logs that it created the plugin all the same."""
    [waits] = read(line(1, f"Updated filter config {NAME} created, warming done")).events
    assert not waits.everywhere
    theirs = line(2, f"Filter config {NEIGHBOUR} worker update complete")
    assert not read(line(1, f"Updated filter config {NAME} created, warming done"), theirs).events[0].everywhere


def test_what_the_plugin_said_is_a_cause_and_what_another_said_is_not() -> None:
    """Before its root context a plugin's line has no name and counts by its thread; a named neighbour's does not."""
    found = read(
        line(1, "wasm log: size must be positive"),
        line(1, "wasm log apps.neighbour my_root my_vm: tick"),
        line(1, "wasm log: "),
        line(2, "Wasm VM failed Failed to configure base Wasm plugin"),
        line(3, "Plugin apps.header failed to load"),
    )
    assert found.events[0].causes == (
        "wasm log: size must be positive",
        "Wasm VM failed Failed to configure base Wasm plugin",
    )


def test_a_trap_with_its_backtrace_is_one_line() -> None:
    """A message over several lines is joined, bounded, and belongs to its thread."""
    trap = (
        "Function: proxy_on_configure failed: Uncaught RuntimeError: unreachable\nin-VM backtrace:\n  0:  0x1 - abort"
    )
    found = read(line(1, trap), line(2, f"{REFUSED}Unable to create Wasm plugin apps.header"))
    assert found.events[0].causes == (" ".join(trap.split()),)
    long = read(line(1, f"{REFUSED}Unable to create Wasm plugin apps.header {'x' * 5000}"))
    assert len(long.events[0].line) <= 600


ACCESS = '[2026-11-20T20:54:01.000Z] "GET / HTTP/1.1" 200 - "-" "{agent}" "10.0.0.1:80"'
REFUSAL = f"{REFUSED}Unable to create Wasm plugin apps.header"


@pytest.mark.parametrize(
    "foreign",
    [
        ACCESS.format(agent="curl"),
        "  starting without a format of its own",
        "<a library's warning>",
        ACCESS.format(agent="x") + "\tthread=15",
    ],
)
def test_what_is_no_part_of_a_message_is_not_quoted(foreign: str) -> None:
    """A line of no known format that follows a message (an access log, a print) is not told as the gateway's words."""
    agents = AGENT.format(url="apps.header")
    for message, last in ((line(1, REFUSAL), "apps.header"), (agents, "deny RBAC filter")):
        (event,) = read(message, foreign, foreign, line(9, "something else")).events
        assert event.line.endswith(last)


@pytest.mark.parametrize(
    "access",
    [ACCESS.format(agent="curl"), '{"agent":"\\"level\\": {}","start_time":"2026-11-20T20:54:01Z"}'],
    ids=["text", "JSON"],
)
def test_an_access_log_between_two_lines_of_a_message_is_passed_over(access: str) -> None:
    """Envoy writes the two to different streams, which the container's log mixes by the line."""
    first, second = line(1, "Function: proxy_on_configure failed: x\nin-VM backtrace:").splitlines()
    found = read(first, access, second, line(2, REFUSAL))
    assert found.events[0].causes == ("Function: proxy_on_configure failed: x in-VM backtrace:",)


def test_a_client_cannot_speak_for_the_gateway() -> None:
    """A request can put any text into an access log, and a line without a known format says nothing."""
    forged = f"{REFUSAL}\tthread=15"
    assert read(ACCESS.format(agent=forged), forged, line(1, "something else"), forged).events == ()


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (f"{REFUSED}Unable to create Wasm HTTP filter apps.header", LogKind.REJECTED),
        (f"delta config for x rejected: Unable to create Wasm plugin {NAME[37:]}, other", LogKind.REJECTED),
        (
            "lds: listener '0.0.0.0_80' config rejected: Unable to create Wasm plugin apps.header",
            LogKind.LISTENER_REJECTED,
        ),
        (
            "gRPC config for type.googleapis.com/envoy.config.listener.v3.Listener rejected: Error adding/updating "
            "listener(s) 0.0.0.0_80: Unable to create Wasm plugin apps.header\n",
            LogKind.LISTENER_REJECTED,
        ),
    ],
)
def test_refusals_by_older_and_newer_envoys(message: str, kind: LogKind) -> None:
    """The sentence changed with Envoy's versions and with the way that configuration comes."""
    assert [event.kind for event in read(line(1, message)).events] == [kind]


@pytest.mark.parametrize(
    ("url", "ours", "why"),
    [
        (f"oci://registry/plugin@sha256:{'a' * 64}", True, "it names our digest"),
        (f"oci://registry/plugin@sha256:{'b' * 64}", False, "another digest"),
        ("apps.header~istio-translated-wasmplugin", True, "a missing secret is told by the plugin's name"),
        ("apps.neighbour", False, "the neighbour's secret"),
    ],
)
def test_the_agents_failed_fetch(url: str, ours: bool, why: str) -> None:
    """The agent's error runs over several lines and names the image: it is ours when that is our digest."""
    found = read(AGENT.format(url=url))
    assert [event.kind for event in found.events] == ([LogKind.FETCH_FAILED] if ours else []), why
    assert not ours or "number of layers must be 2" in found.events[0].line


@pytest.mark.parametrize(
    ("registry", "url", "told", "why"),
    [
        ("registry", "https://registry/v2/", True, "the registry of the image"),
        ("registry", "https://other.example.com/v2/", False, "the failure of somebody else's"),
        ("[fd00::1]:5000", "https://[fd00::1]:5000/v2/", True, "a registry by an IPv6 address"),
        ("[fd00::1]:5000", "https://[fd00::2]:5000/v2/", False, "another IPv6 address"),
    ],
)
def test_higresss_agent_tells_the_cause_before(registry: str, url: str, told: bool, why: str) -> None:
    """It tries plain http after any failure of https, and its error tells only how that ended: the cause is the line
    before. (Documented by its source, pkg/wasm/imagefetcher.go of its Istio; not proven here.)"""
    stamp = "2026-11-20T20:54:01.540001Z"
    cause = f"HTTPS request failed for URL {url}: x509: certificate signed by unknown authority"
    fetch = f"cannot fetch Wasm module oci://{registry}/plugin@sha256:{'a' * 64}"
    found = read(
        f"{stamp}\tinfo\twasm\t{cause}",
        f"{stamp}\tinfo\twasm\tFalling back to HTTP for URL: {url}",
        f"{stamp}\terror\twasm\tconvert the wasm config: {fetch}: HTTP fallback also failed: connection refused",
    )
    [event] = found.events
    assert event.kind is LogKind.FETCH_FAILED
    assert event.causes == ((cause,) if told else ()), why


def test_json_logs_say_the_same() -> None:
    """With JSON logging each line is an object; thread and time are fields of it."""
    fields = {"time": "2026-11-20T20:54:01.540001Z", "scope": "envoy wasm", "thread": "15"}
    lines = [
        json.dumps({**fields, "level": "error", "msg": MISSING}),
        json.dumps({**fields, "level": "warn", "msg": f"{REFUSED}Unable to create Wasm plugin apps.header"}),
        "{not json",
    ]
    (event,) = read(*lines).events
    assert (event.kind, event.causes) == (LogKind.REJECTED, (MISSING,))


def test_envoys_own_format_says_the_same() -> None:
    """Without Istio's log format Envoy writes brackets."""
    start = "[2026-11-20 20:54:01.540][15]"
    found = read(
        f"{start}[error][wasm] [source/extensions/common/wasm/wasm.cc:104] {MISSING}",
        f"{start}[warning][config] [source/x.cc:1] {REFUSED}Unable to create Wasm plugin apps.header",
    )
    assert found.events[0].causes == (MISSING,)


def test_lines_before_the_write_do_not_count() -> None:
    """Reading starts at a time; the lines before it are of an earlier revision."""
    since = datetime(2026, 11, 20, 20, 54, 2, tzinfo=UTC)
    refusal = f"{REFUSED}Unable to create Wasm plugin apps.header"
    assert not read(line(1, refusal), since=since).events
    assert read(line(3, refusal), since=since - timedelta(seconds=1)).events


@given(st.lists(st.text(max_size=60), max_size=8))
def test_any_lines(lines: list[str]) -> None:
    """A log holds anything, access logs with strangers' text among it; reading it raises nothing."""
    assert not read(*lines).events


@pytest.mark.parametrize("line", ['{"a":' + "[" * 3000, '{"":' * 2000], ids=["lists", "objects"])
def test_a_line_that_nests_without_end_is_nobodys_word(line: str) -> None:
    """A plugin that logs what a client sent can put any line into the stream: it ends no look, and no way back."""
    assert not read(line).events
    assert logs.last_time(line) is None
    assert not logs.reaches_back(line, BEGINNING)


@pytest.mark.parametrize("words", ["wasm log ", "wasm log a ", "cannot fetch Wasm module ", "Updated filter config "])
@pytest.mark.parametrize("filling", ["a", " ", ": ", "\tthread=1", "a ", '"'])
def test_no_line_costs_more_than_its_length(words: str, filling: str) -> None:
    """What a client sends may stand in the log a thousand times, and nothing else goes on while it is read."""
    lines = [line(1, f"{words}{filling * (8000 // len(filling))}")] * 50
    began = time.process_time()
    read(*lines)
    assert time.process_time() - began < 1.5


# ------------------------------------------------------------------------------------------------------------ crashes

TRAP = "Function: proxy_on_request_headers failed: Uncaught RuntimeError: unreachable"
OUR_NAME = "apps.header~istio-translated-wasmplugin"


def spoken(second: int, *texts: str, plugin: str = OUR_NAME, thread: int = 15) -> list[str]:
    return [line(second, f"wasm log {plugin}: {text}", thread=thread) for text in texts]


def test_a_trap_on_a_request_is_a_crash_of_nobody_known() -> None:
    """Envoy's only line on it names no plugin; each thread has a VM of its own, and the newest line of each is kept."""
    found = read(line(1, TRAP, thread=8), line(2, TRAP, thread=9), line(3, TRAP, thread=8))
    assert [(crash.thread, crash.at and crash.at.second, crash.plugin) for crash in found.crashes] == [
        ("9", 2, ""),
        ("8", 3, ""),
    ]
    assert found.events == ()


def test_a_plugins_line_may_have_colons() -> None:
    """The name ends at the first one."""
    found = read(
        *spoken(1, "config: asked to fail: now"), line(1, f"{REFUSED}Unable to create Wasm plugin apps.header")
    )
    assert found.events[0].causes == (f"wasm log {OUR_NAME}: config: asked to fail: now",)


def test_a_panic_that_was_printed_tells_whose_crash_it_is() -> None:
    """Go prints its panic in pieces before it traps, as lines that carry the plugin's name."""
    panic = spoken(1, "panic: ", "boom: 1", "", "", "goroutine ", "1", " [", "running")
    [crash] = read(*panic, line(1, TRAP)).crashes
    assert (crash.plugin, crash.line) == (OUR_NAME, f"panic: boom: 1 / {TRAP}")


@pytest.mark.parametrize(
    ("before", "why"),
    [
        (spoken(1, "the upstream is slow"), "whoever wrote last has not therefore crashed"),
        (spoken(1, "panic: boom", thread=16), "a panic on another thread"),
        ([*spoken(1, "panic: recovered"), line(1, "something else")], "a panic that something followed"),
        ([*spoken(1, "panic: boom"), *spoken(1, "hello", plugin="apps.other")], "another plugin spoke after it"),
    ],
)
def test_what_was_said_before_a_crash_is_not_always_about_it(before: list[str], why: str) -> None:
    """Only a panic directly before, on the same thread, tells whose crash it is."""
    [crash] = read(*before, line(2, TRAP)).crashes
    assert crash.plugin == "", why


@pytest.mark.parametrize("function", ["proxy_on_vm_start", "proxy_on_configure", "_initialize"])
def test_a_trap_while_a_plugin_is_loaded_is_no_crash(function: str) -> None:
    """Envoy then refuses the plugin, which is another matter: what ran before goes on running."""
    assert not read(line(1, TRAP.replace("proxy_on_request_headers", function))).crashes


def test_a_trap_that_a_refusal_follows_at_once_is_its_cause() -> None:
    """A function that is called at load and later too is told by what comes next."""
    trap = line(1, TRAP.replace("request_headers", "context_create"))
    refusal = f"{REFUSED}Unable to create Wasm plugin apps.header"
    assert not read(trap, line(1, refusal)).crashes
    assert read(trap, line(9, refusal)).crashes


def test_a_crash_before_the_reading_began_is_not_seen() -> None:
    """Lines before the time that is asked for do not count."""
    assert not read(line(1, TRAP), since=datetime(2026, 11, 20, 20, 54, 2, tzinfo=UTC)).crashes


def test_plugins_of_the_same_code_are_known_by_name() -> None:
    """They share their VMs, and so their crashes."""
    assert seen("loaded").code_names == (OUR_NAME,)
    ours, neighbours = (
        entry["ecds_filter"]["typed_config"]["config"]["vm_config"]["code"]["local"]["filename"]
        for entry in json.loads(documents("loaded").ecds)["configs"][0]["ecds_filters"]
    )
    shared = changed("loaded", ecds=documents("loaded").ecds.replace(neighbours, ours))
    assert set(shared.code_names) == {OUR_NAME, OUR_NAME.replace("header", "neighbour")}


def test_a_recorded_crash_shows_in_the_log_alone() -> None:
    """The real Envoy counts as many VMs as before, refuses nothing, and has the one line."""
    sighting = seen("crashed")
    assert (sighting.stats.vm_active, sighting.stats.update_rejected, sighting.entries[0].kind) == (
        8,
        0,
        FilterKind.WASM,
    )
    [crash] = sighting.log.crashes
    assert (crash.plugin, crash.line) == ("", TRAP)


def test_reloads_are_counted_whether_they_succeed_or_fail() -> None:
    """A VM that is made after a crash is no VM made for new code."""
    stats = json.loads(documents("loaded").stats)
    for item in stats["stats"]:
        if item.get("name", "").endswith(
            ("neighbour~istio-translated-wasmplugin.vm_reload_success", ".vm_reload_failure")
        ):
            item["value"] = 2
    assert changed("loaded", stats=json.dumps(stats)).stats.vm_reloads == 6


def test_higress_counts_crashes_by_name() -> None:
    """Its gauge tells how many VMs of a plugin are down; a neighbour's is not ours. (Its source; not measured.)"""
    prefix = "wasm.envoy.wasm.runtime.v8.plugin"
    stats = [{"name": f"{prefix}.apps.header.crash", "value": 1}, {"name": f"{prefix}.apps.other.crash", "value": 2}]
    found = changed("loaded", stats=json.dumps({"stats": stats})).stats
    assert (found.crashed, found.crashes, found.unstarted) == (1, None, None)
    more = [*stats, {"name": f"{prefix}.apps.header.crash_total", "value": 7}]
    more.append({"name": f"{prefix}.apps.header.worker_uninitialized", "value": 2})
    found = changed("loaded", stats=json.dumps({"stats": more})).stats
    assert (found.crashed, found.crashes, found.unstarted) == (1, 7, 2)
    assert changed("loaded").stats.crashed is None


@pytest.mark.parametrize("counter", ["recover_total", "rebuild_total", "worker_init_recovered_total"])
def test_higress_makes_vms_anew(counter: str) -> None:
    """A VM made for a plugin that was there before proves nothing of a new one: such are counted as restarts. (Its
    source; not measured.)"""
    name = f"wasm.envoy.wasm.runtime.v8.plugin.apps.other.{counter}"
    before = changed("loaded").stats.vm_reloads or 0
    stats = json.loads(documents("loaded").stats)
    stats["stats"].append({"name": name, "value": 3})
    assert changed("loaded", stats=json.dumps(stats)).stats.vm_reloads == before + 3
