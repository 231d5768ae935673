"""What a registry's challenge means to a gateway and to us."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pluginrelease.core.errors import Refused
from pluginrelease.core.registry import challenge

# what the guard of Istio's agent says (istio pkg/wasm/imagefetcher.go)
REJECTED = 'rejected unsafe bearer realm: realm scheme "" not allowed'
MISSING_HOST = "realm missing host"
LOCALHOST = "realm targets localhost"
METADATA_SERVICE = "realm targets cloud metadata service"
PRIVATE = "realm targets private/loopback/link-local IP"


@pytest.mark.parametrize(
    ("realm", "objection"),
    [
        ("https://auth.docker.io/token", ""),
        ("http://auth.example.com/token", ""),
        ("https://8.8.8.8/token", ""),
        ("anything", 'realm scheme "" not allowed'),
        ("Registry Realm", 'realm scheme "" not allowed'),
        ("", 'realm scheme "" not allowed'),
        ("file:///etc/passwd", 'realm scheme "file" not allowed'),
        ("https://", MISSING_HOST),
        ("https://localhost:5000/token", LOCALHOST),
        ("http://metadata.google.internal/token", METADATA_SERVICE),
        ("http://127.0.0.1/token", PRIVATE),
        ("http://10.0.0.5/token", PRIVATE),
        ("http://172.16.3.4/", PRIVATE),
        ("http://192.168.1.1/", PRIVATE),
        ("http://169.254.169.254/latest", PRIVATE),
        ("http://[::1]:5000/", PRIVATE),
        ("http://[fe80::1]/", PRIVATE),
        ("http://[fd00::1]/", PRIVATE),
        ("http://[::ffff:127.0.0.1]/", PRIVATE),
    ],
)
def test_the_guard(realm: str, objection: str) -> None:
    """A realm passes if it is an http(s) URL of a host that is not written as a private address."""
    assert challenge.find_objection(realm) == objection


def test_basic_with_a_word_for_a_realm_is_refused() -> None:
    """The most usual challenge of a private registry makes a guarded gateway answer 403 to everyone: refused before."""
    with pytest.raises(Refused) as refused:
        challenge.check_gateways("registry.example.com", ['Basic realm="Registry"'], {"1.31.0"})
    assert refused.value.reason == "RegistryChallengeRefused"
    assert REJECTED in refused.value.message
    assert "https://registry.example.com/" in refused.value.remedy


@pytest.mark.parametrize(
    ("registry", "realm"),
    [
        ("registry.example.com:5000", "https://registry.example.com/"),
        ("[2001:4860::8]:5000", "https://[2001:4860::8]/"),
        ("[2001:4860::8]", "https://[2001:4860::8]/"),
        ("[fd00::1]:5000", "https://registry.example.com/"),  # the guard would refuse its own address
        ("10.0.0.5:5000", "https://registry.example.com/"),
        ("localhost:5000", "https://registry.example.com/"),
    ],
)
def test_the_realm_that_is_proposed(registry: str, realm: str) -> None:
    """The remedy names a realm that the guard takes: the registry's host without its port, if that is public."""
    with pytest.raises(Refused) as refused:
        challenge.check_gateways(registry, ['Basic realm="Registry"'], {"1.31.0"})
    assert f"for example {realm} (" in refused.value.remedy
    assert challenge.find_objection(realm) == ""


@pytest.mark.parametrize(
    ("values", "versions", "passes"),
    [
        ([], ["1.31.0"], True),
        (['Basic realm="https://registry.example.com/"'], ["1.31.0"], True),
        (['Basic realm="x"'], [], False),
        (['Basic realm="x"'], ["1.26.9"], True),
        (['Basic realm="x"'], ["1.27.7", "1.28.4", "1.29.0"], True),
        (['Basic realm="x"'], ["1.26.9", "1.29.1"], False),
        (['Basic realm="x"'], ["1.27.8"], False),
        (['Basic realm="x"'], ["nightly"], False),
        (["Basic"], ["1.31.0"], True),
        (['Bearer realm="https://a.example.com/", Basic realm="x"'], ["1.31.0"], False),
        (['Bearer realm="https://a.example.com/"', 'Basic realm="x"'], ["1.31.0"], False),
    ],
)
def test_who_is_guarded(values: list[str], versions: list[str], passes: bool) -> None:
    """Every challenge of every header counts, for the newest Istio among the pods; an unknown one is guarded."""
    if passes:
        challenge.check_gateways("registry.example.com", values, versions)
        return
    with pytest.raises(Refused):
        challenge.check_gateways("registry.example.com", values, versions)


def test_reading() -> None:
    """Challenges are read with their parameters, one or several to a header, quoted or not."""
    read = challenge.read(
        ['Bearer realm="https://a/t",service="r.io",scope="repository:a/b:pull,push"', "basic realm=x, Negotiate"]
    )
    assert [challenge_read.scheme for challenge_read in read] == ["bearer", "basic", "negotiate"]
    assert read[0].parameters["scope"] == "repository:a/b:pull,push"
    assert [
        challenge_read.scheme for challenge_read in challenge.read(['Basic realm="x", Bearer realm="https://y/"'])
    ] == ["basic", "bearer"]


@given(st.lists(st.text(max_size=80), max_size=3))
def test_any_challenge(values: list[str]) -> None:
    """Whatever a registry answers is read or refused, never another exception."""
    challenge.read(values)
    with suppress(Refused):
        challenge.check_gateways("r.example.com", values)


@given(st.text(max_size=60))
def test_any_realm(realm: str) -> None:
    """Any realm is judged."""
    assert isinstance(challenge.find_objection(realm), str)


@pytest.mark.parametrize(
    "value",
    [
        "a=" * 2000,
        "Bearer " + "a=b," * 1000 + '"',
        "Bearer " + 'a="\\' * 1000,
        "Bearer realm=" + "a" * 4000 + '"',
        "Bearer a=b" + " ," * 2000 + "=",
        " " * 4096,
        "a " * 2048,
        "Bearer a=b" + ", a=b" * 800 + " !",
    ],
    ids=lambda value: value[:12],
)
def test_no_challenge_is_a_riddle(value: str) -> None:
    """Reading what a stranger wrote takes no time, however it is put."""
    began = time.monotonic()
    challenge.read([value] * 100)
    assert time.monotonic() - began < 5
