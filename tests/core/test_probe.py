"""Which port a probe may go to, how often it is asked, which answer is as expected, and what is said of others."""

from __future__ import annotations

from typing import Any

import pytest

from pluginrelease.api import Probe
from pluginrelease.core.errors import Refused
from pluginrelease.core.gateway.listeners import Listener
from pluginrelease.core.gateway.observations import PodRef
from pluginrelease.core.rollout import probe
from pluginrelease.core.rollout.probe import PodProbe, ProbeResponse, Unanswered

POD = PodRef("apps", "gateway-1", "uid-1", ready=True)
OTHER = PodRef("apps", "gateway-2", "uid-2", ready=True)

HTTP = Listener(8080, tls=False, plain=True, has_plugin=True)
HTTPS = Listener(8443, tls=True, plain=False, has_plugin=True)
BARE = Listener(8081, tls=False, plain=True, has_plugin=False)
BOTH = Listener(9000, tls=True, plain=True, has_plugin=True)


def asking(**fields: Any) -> Probe:
    """A probe as it is written in a manifest."""
    return Probe.model_validate({"name": "first", **fields})


@pytest.mark.parametrize(
    ("fields", "listeners", "port"),
    [
        ({}, [HTTP], 8080),
        ({}, [HTTPS, BARE, HTTP], 8080),
        ({"scheme": "HTTPS", "host": "a"}, [HTTPS, BARE, HTTP], 8443),
        ({"port": 8443}, [HTTP, HTTPS], 8443),
        ({"port": 8081}, [HTTP, BARE], 8081),
        ({"scheme": "HTTPS", "host": "a"}, [HTTP, BOTH], 9000),
        ({}, [HTTPS, BOTH], 9000),
        ({}, [HTTP, HTTP], 8080),
    ],
    ids=[
        "the only one",
        "the one of its scheme with the plugin",
        "the one with TLS",
        "the one that it names",
        "a named one need not have the plugin",
        "one with and without TLS, by TLS",
        "one with and without TLS, plain",
        "two listeners on one port are one port",
    ],
)
def test_a_probe_goes_to_a_listener_of_the_gateway(
    fields: dict[str, Any], listeners: list[Listener], port: int
) -> None:
    """The port is the one that is named, else the one listener of the scheme that has the plugin."""
    assert probe.find_port(asking(**fields), listeners) == port


@pytest.mark.parametrize("port", [15000, 15001, 15006, 15008, 15020, 15021, 15053, 15090, 15099])
@pytest.mark.parametrize("listed", [False, True], ids=["no listener", "said to be a listener"])
def test_istios_own_ports_are_never_asked(port: int, listed: bool) -> None:
    """Admin, agent, health and metrics are refused, also where a listener is said to be on them."""
    there = Listener(port, tls=False, plain=True, has_plugin=True)
    with pytest.raises(Refused) as refused:
        probe.find_port(asking(port=port), [HTTP, *([there] if listed else [])])
    assert refused.value.reason == "ProbePortRefused"


def test_istios_own_ports_are_never_picked() -> None:
    """A listener on one of Istio's own ports is no candidate for a probe that names none."""
    own = Listener(15021, tls=False, plain=True, has_plugin=True)
    assert probe.find_port(asking(), [own, HTTP]) == 8080
    with pytest.raises(Refused) as refused:
        probe.find_port(asking(), [own], written=False)
    assert refused.value.reason == "ProbePortUnknown"


@pytest.mark.parametrize(
    ("fields", "listeners", "reason", "names"),
    [
        ({"port": 22}, [HTTP, HTTPS], "ProbePortUnknown", ["22", "8080, 8443"]),
        ({"port": 80}, [], "ProbePortUnknown", ["80", "none"]),
        ({}, [], "ProbePortUnknown", ["HTTP"]),
        ({}, [HTTPS, BARE], "ProbePortUnknown", ["HTTP"]),
        ({"scheme": "HTTPS", "host": "a"}, [HTTP], "ProbePortUnknown", ["HTTPS"]),
        ({}, [HTTP, BOTH], "ProbePortAmbiguous", ["8080, 9000"]),
    ],
    ids=["named: not there", "named: nothing there", "nothing there", "another scheme", "no TLS", "several"],
)
def test_a_probe_without_a_port_of_its_own_is_refused(
    fields: dict[str, Any], listeners: list[Listener], reason: str, names: list[str]
) -> None:
    """What cannot be asked is said, with the ports that could be."""
    with pytest.raises(Refused) as refused:
        probe.find_port(asking(**fields), listeners)
    assert refused.value.reason == reason
    assert all(name in refused.value.message for name in names)


def test_before_the_first_write_the_only_listener_will_get_the_plugin() -> None:
    """No listener has the plugin yet: the only one of the scheme is asked, of several none."""
    https = Listener(8443, tls=True, plain=False, has_plugin=False)
    assert probe.find_port(asking(), [BARE, https], written=False) == 8081
    assert probe.find_port(asking(), [BARE, HTTP], written=False) == 8080
    with pytest.raises(Refused):
        probe.find_port(asking(), [BARE, https])
    two = [BARE, Listener(8082, tls=False, plain=True, has_plugin=False)]
    with pytest.raises(Refused) as refused:
        probe.find_port(asking(), two, written=False)
    assert refused.value.reason == "ProbePortAmbiguous"


@pytest.mark.parametrize(("workers", "times"), [(None, 3), (0, 3), (1, 3), (2, 6), (8, 24), (32, 96), (128, 96)])
def test_each_worker_is_asked_three_times(workers: int | None, times: int) -> None:
    """Three connections for each worker thread, at least 3 and at most 96."""
    assert probe.count_connections(workers) == times


SECRET = "s3cret"
FULL = ProbeResponse(200, (("X-Plugin", "one"), ("Set-Thing", "a"), ("set-thing", "b")), b"upstream \xc3\xa4 says ok")


@pytest.mark.parametrize(
    ("expect", "answer", "wrong"),
    [
        ({}, FULL, None),
        ({"status": 403}, ProbeResponse(403), None),
        ({}, ProbeResponse(403), ["403", "200"]),
        ({"headers": {"x-plugin": "one"}}, FULL, None),
        ({"headers": {"X-PLUGIN": " one "}}, FULL, None),
        ({"headers": {"x-plugin": "ONE"}}, FULL, ["x-plugin"]),
        ({"headers": {"x-other": SECRET}}, FULL, ["x-other"]),
        ({"headers": {"set-thing": "a, b"}}, FULL, None),
        ({"headers": {"set-thing": "a"}}, FULL, ["set-thing"]),
        ({"bodyContains": "ä says"}, FULL, None),
        ({"bodyContains": SECRET}, FULL, ["body"]),
        (
            {"bodyContains": "end"},
            ProbeResponse(200, body=b"." * probe.BODY_LIMIT + b"end"),
            ["body"],
        ),
        ({"status": 200, "headers": {"a": "b"}}, ProbeResponse(500), ["500", "200"]),
    ],
)
def test_an_answer_is_as_expected_or_one_thing_is_wrong(
    expect: dict[str, Any], answer: ProbeResponse, wrong: list[str] | None
) -> None:
    """Status, then headers by exact value, then the first 64 KiB of the body; upper and lower case of names is one."""
    found = probe.find_mismatch(answer, asking(expect=expect).expect)
    assert (found is None) == (wrong is None)
    assert all(name in str(found) for name in wrong or [])


def test_no_secret_is_repeated() -> None:
    """Neither values of headers nor the body, asked or answered, come into a message."""
    answer = ProbeResponse(200, (("x-plugin", SECRET),), SECRET.encode())
    for expect in ({"headers": {"x-plugin": "s3kret"}}, {"bodyContains": "s3kret"}, {"status": 201}):
        asked = asking(headers={"authorization": SECRET}, body=SECRET, expect=expect)
        said = probe.count(POD, asked, [answer]).message
        assert said
        assert "s3" not in said
    assert "s3" not in probe.sum_up([probe.count(POD, asked, [answer])]).message


def test_one_wrong_answer_of_many_is_a_failed_probe() -> None:
    """One dead worker answers one connection in so many: every connection counts."""
    asked = asking()
    assert probe.count(POD, asked, [ProbeResponse(200)] * 6).ok
    found = probe.count(POD, asked, [*[ProbeResponse(200)] * 5, ProbeResponse(503)])
    assert (found.ok, found.reason, found.asked, found.failed, found.unanswered) == (False, "ProbeFailed", 6, 1, 0)
    assert "1 of 6" in found.message
    assert "503" in found.message
    silence = Unanswered("no answer in time")
    silent = probe.count(POD, asked, [*[ProbeResponse(200)] * 5, silence])
    assert (silent.ok, silent.reason, silent.failed, silent.unanswered) == (False, "ProbeUnanswered", 1, 1)
    assert "1 of 6" in silent.message
    assert silence.why in silent.message


def test_the_most_frequent_fault_is_told() -> None:
    """Of many connections the message has one wrong answer and one silence, and the number of each."""
    outcomes = [ProbeResponse(500), ProbeResponse(403), ProbeResponse(403), Unanswered("reset"), ProbeResponse(200)]
    found = probe.count(POD, asking(), outcomes)
    assert all(part in found.message for part in ("3 of 5", "403", "1 of 5", "reset"))
    assert "500" not in found.message
    assert (found.reason, found.failed, found.unanswered) == ("ProbeFailed", 4, 1)


def test_nothing_asked_is_nothing_passed() -> None:
    """A probe that was not asked is not ok, and neither is a release whose pods could not be asked."""
    assert not probe.count(POD, asking(), []).ok
    assert not probe.sum_up([]).ok


def passed(pod: PodRef, name: str = "first") -> PodProbe:
    return probe.count(pod, asking(name=name), [ProbeResponse(200)] * 3)


def wrong(pod: PodRef, name: str = "first") -> PodProbe:
    return probe.count(pod, asking(name=name), [ProbeResponse(403)] * 3)


def silent(pod: PodRef, name: str = "first") -> PodProbe:
    return probe.count(pod, asking(name=name), [Unanswered("reset")] * 3)


def portless(pod: PodRef, name: str = "first") -> PodProbe:
    asked = asking(name=name, port=15000)
    try:
        probe.find_port(asked, [])
    except Refused as refused:
        return probe.report_no_port(pod, asked, refused)
    raise AssertionError("not refused")


def test_a_release_names_the_worst_pod_and_probe() -> None:
    """A wrong answer comes before a port that is refused, and that before silence; the others are counted."""
    good = probe.sum_up([passed(POD), passed(OTHER), passed(OTHER, "second")])
    assert (good.ok, good.failed, good.reason) == (True, 0, "Probed")
    assert "2 gateway pods: first, second" in good.message
    bad = probe.sum_up([passed(POD), silent(POD, "second"), portless(OTHER), wrong(OTHER, "second")])
    assert (bad.ok, bad.failed, bad.reason) == (False, 3, "ProbeFailed")
    assert all(part in bad.message for part in ("second", "apps/gateway-2", "3 of 3", "403", "3 of 4"))
    assert probe.sum_up([silent(POD), portless(OTHER)]).reason == "ProbePortRefused"
    assert probe.sum_up([silent(POD), passed(OTHER)]).reason == "ProbeUnanswered"


def test_only_answers_tell_new_from_old() -> None:
    """A probe tells new from old only when each pod answered it wrongly: silence and a missing port tell nothing."""
    assert probe.find_refuted([wrong(POD), wrong(OTHER), wrong(POD, "second")]) == ("first", "second")
    assert probe.find_refuted([wrong(POD), passed(OTHER)]) == ()
    assert probe.find_refuted([wrong(POD), silent(OTHER)]) == ()
    assert probe.find_refuted([portless(POD)]) == ()
    some = probe.count(POD, asking(), [ProbeResponse(200), ProbeResponse(403)])
    assert probe.find_refuted([some]) == ()
