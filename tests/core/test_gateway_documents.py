"""What a gateway's documents say: recorded answers of a real Envoy, and such as no Envoy gives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pluginrelease.core.gateway.documents import (
    LOG_REACH,
    Documents,
    find_log_start,
    observe_pod,
    read_logger_level,
    read_version,
    trim_server_info,
)
from pluginrelease.core.gateway.listeners import Listeners
from pluginrelease.core.gateway.logs import LogKind
from pluginrelease.core.gateway.observations import FilterKind, PodObservation
from pluginrelease.core.gateway.verdict import judging
from pluginrelease.core.gateway.verdict.values import State
from tests.core.log_lines import MISSING, NOT_ON_THREAD, OUR_NAME, REFUSAL, REFUSED, TRAP, created, line, spoken
from tests.core.recorded_gateway import (
    BEGINNING,
    CONFIG,
    NAME,
    POD,
    changed,
    documents,
    listeners,
    recorded,
    seen,
    wanted,
)

# what the recorded Envoy says of a module without an ABI, and of every plugin that it refuses
ENVOYS_CAUSES = ("Wasm VM failed Missing or unknown Proxy-Wasm ABI version", "Wasm VM failed Failed to load Wasm code")
ENVOY_REFUSES = "Unable to create Wasm plugin"

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
    assert event.causes == ENVOYS_CAUSES
    assert "apps.header" in event.line


def test_the_newest_event_counts() -> None:
    """A refusal that a success followed is over."""
    kinds = [event.kind for event in seen("refused_then_loaded").log.events]
    assert kinds == [LogKind.REJECTED, LogKind.LOADED]


def test_a_neighbours_refusal_is_in_the_log_and_not_ours() -> None:
    """Lines that name another plugin, and the causes before them, leave ours alone."""
    assert f"{ENVOY_REFUSES} apps.neighbour" in documents("neighbour_refused").log
    assert [event.kind for event in seen("neighbour_refused").log.events] == [LogKind.LOADED]


def test_a_listener_refused_because_of_us() -> None:
    """The error is ours, has its time also where Envoy leaves that out, and comes before the refusal of the plugin."""
    sighting = seen("listener_refused")
    assert {error.details for error in sighting.listener_errors} == {
        f"{ENVOY_REFUSES} apps.header~istio-translated-wasmplugin"
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
    sighting = observe_pod(POD, BEGINNING, bare, wanted(), BEGINNING)
    assert (sighting.entries, sighting.referenced, sighting.unknown) == ((), None, ())


def test_a_composite_filter_is_something_else() -> None:
    """A filter type that is neither Wasm nor the known stand-in is named, never taken for the plugin."""
    read = documents("denied")
    ecds = read.ecds.replace("http.rbac.v3.RBAC", "http.composite.v3.Composite", 1)
    strange = Documents(read.server_info, read.start, ecds, read.listeners, read.stats, read.log)
    sighting = observe_pod(POD, BEGINNING, strange, wanted(), BEGINNING)
    assert sighting.entries[0].kind is FilterKind.OTHER
    found = judging.judge(wanted(), [sighting], write_at=BEGINNING, load_timeout=timedelta())
    assert (found.state, found.reason) == (State.UNKNOWN, "UnknownShape")
    assert "Composite" in found.message


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
        (timedelta(hours=3), True, LOG_REACH, "a log of hours is not read for it"),
        (timedelta(seconds=40), False, timedelta(), "what was said of another configuration is no word on ours"),
    ],
)
def test_from_where_the_log_is_read(after: timedelta, digest: bool, back: timedelta, reason: str) -> None:
    """A plugin deleted and made again while its listener drains finds its old subscription, and Envoy is silent."""
    one = wanted("loaded") if digest else wanted()
    received = seen("loaded").entries[0].last_updated
    assert received is not None
    write_at = received + after
    assert find_log_start(documents("loaded").ecds, one, write_at) == write_at - back, reason


def test_a_neighbours_configuration_that_nests_without_end_ends_no_look() -> None:
    """Anybody who may write a plugin for the gateway chooses its configuration, and every release reads all of them."""
    strange = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "[" * 3000 + "]" * 3000}
    dump = json.loads(documents("loaded").ecds)
    theirs = next(
        filter_entry
        for filter_entry in dump["configs"][0]["ecds_filters"]
        if "neighbour" in filter_entry["ecds_filter"]["name"]
    )
    theirs["ecds_filter"]["typed_config"]["config"]["configuration"] = strange
    sighting = changed("loaded", ecds=json.dumps(dump))
    assert [entry.config for entry in sighting.entries] == [CONFIG]


WAYS = pytest.mark.parametrize("way", ["placeholder", "configFrom"])


def told_secret(value: str, log: str, way: str) -> PodObservation:
    """The recorded gateway with this value of a Secret in its configuration, and with another log."""
    given = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": json.dumps({"user": value})}
    dump = json.loads(documents("loaded").ecds)
    for item in dump["configs"][0]["ecds_filters"]:
        if "header" in item["ecds_filter"]["name"]:
            item["ecds_filter"]["typed_config"]["config"]["configuration"] = given
    replaced = replace(wanted("loaded"), config={"user": "${secret.apps/keys.user}"}, replaces=True)
    merged = replace(wanted("loaded"), config={"user": value}, values=frozenset({value}))
    release = replaced if way == "placeholder" else merged
    told = replace(documents("loaded"), ecds=json.dumps(dump), log=log)
    return observe_pod(POD, BEGINNING, told, release, BEGINNING)


@WAYS
@pytest.mark.parametrize("value", ["apps", "header", "istio", "filter", "Failed", "Function", "15", "1", "er"])
def test_a_secrets_value_that_is_a_word_of_envoys_hides_no_sign(value: str, way: str) -> None:
    """A user may be called as the plugin's namespace is: what Envoy says of the plugin is understood all the same."""
    assert [event.kind for event in told_secret(value, documents("loaded").log, way).log.events] == [LogKind.LOADED]
    refused = told_secret(value, "\n".join([line(1, MISSING), line(2, NOT_ON_THREAD), *created(3, NAME)]), way)
    assert [event.kind for event in refused.log.events] == [LogKind.REFUSED_BY_WORKERS]
    (crash,) = told_secret(value, "\n".join([*spoken(1, "panic: x"), line(2, TRAP)]), way).log.crashes
    assert (crash.plugin, crash.thread) == (OUR_NAME, "15")


@WAYS
@pytest.mark.parametrize("before", [0, 150, 195, 7900, 8080, 8100, 8150, 9000])
def test_no_part_of_a_secrets_value_is_quoted(before: int, way: str) -> None:
    """Wherever a long line is cut."""
    value = "s3cr3t-" * 20
    words = f"{'x' * before}{value}{'y' * 10_000}"
    lines = [line(1, f"Failed to load {words}"), *spoken(1, f"panic: {words}"), line(2, TRAP), line(3, REFUSAL)]
    assert "s3cr3t" not in repr(told_secret(value, "\n".join(lines), way).log)
    panic = spoken(1, f"panic: {'x' * 4000}", f"{'y' * 4000}", f"{'x' * (before % 200)}{value}")
    assert "s3cr3t" not in repr(told_secret(value, "\n".join([*panic, line(2, TRAP)]), way).log)


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
    assert find_log_start(documents("loaded").ecds, one, write_at) == write_at
    assert find_log_start(given_env(key_values={"LEVEL": "info"}), one, write_at) == received


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
    sighting = observe_pod(POD, BEGINNING, replace(read, **{names[part]: strange}), wanted("loaded"), BEGINNING)
    found = judging.judge(wanted("loaded"), [sighting], write_at=BEGINNING, load_timeout=timedelta())
    if part in (2, 3) or not isinstance(value, dict):
        assert found.state is not State.LOADED


def test_versions() -> None:
    """The version is the second part of a build's name; anything else is unknown."""
    assert read_version('{"version": "abc0/1.36.2-dev/Modified/RELEASE/BoringSSL"}') == "1.36.2"
    assert [read_version(text) for text in ("{}", "no", '{"version": 3}')] == [None, None, None]


def test_the_essence_of_a_gateways_own_words() -> None:
    """What is kept of them says the same; words of no known shape are kept as they are."""
    whole = recorded("loaded", "server_info")
    brief = changed("loaded", server_info=trim_server_info(whole))
    assert brief == changed("loaded")
    assert brief.envoy_version == "1.40.0"
    assert [trim_server_info(text) for text in ("no", '{"a": 1}')] == ["no", '{"a": 1}']


def test_a_loggers_level() -> None:
    """The answer lists every logger; another's name that ends alike is not ours."""
    answer = "active loggers:\n  ext_filter: trace\n  filter: warning\n  filter_x: info\n"
    assert read_logger_level(answer, "filter") == "warning"
    assert read_logger_level("active loggers:\n  ext_filter: trace\n", "filter") is None


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
