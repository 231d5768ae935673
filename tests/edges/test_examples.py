"""The Higress examples: built with Higress's own SDK, inspected, and run by a real Envoy.

Stock Envoy does not know Higress's ABI version. What runs here is each module with the marker of the version that it is
nearest to, and otherwise the very bytes that were built.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click.testing
import pytest
import requests

from pluginrelease.cli import main
from pluginrelease.core import compat, wasm
from pluginrelease.edges import builder
from tests import wasm_modules
from tests.edges import plain_envoy

EXAMPLES = Path(__file__).parents[2] / "examples"
HIGRESS = ("my-plugin", "hello-world", "http-call", "redis-rate-limit")
ENVOY = "1.40.0"  # what the lab's pin is; a newer one may take more
TOKEN = "token-of-the-service"
SERVICES = {  # where the gateway has the service, by the source that a configuration names
    "k8s": "outbound|8080||token.apps.svc.cluster.local",
    "nacos": "outbound|8080||token.DEFAULT-GROUP.public.nacos",
    "ip": "outbound|8080||token.static",
    "dns": "outbound|8080||token.dns",
}
PLACE = {"serviceName": "token", "servicePort": 8080}
ASK = {"requestPath": "/token", "tokenHeader": "x-token"}


class Backend(BaseHTTPRequestHandler):
    """The upstream, and the service that has tokens."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        body = json.dumps({name.lower(): value for name, value in self.headers.items()}).encode()
        self.send_response(503 if self.path == "/broken" else 200)
        if self.path == "/token":
            self.send_header("x-token", TOKEN)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in the answers."""


@pytest.fixture(scope="module")
def backend() -> Iterator[int]:
    """A real HTTP server's port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


@pytest.fixture(scope="module")
def gateway(backend: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[plain_envoy.Gateway]:
    """One Envoy in front of the upstream; it knows the service by the names that Higress's sources give it."""
    names = ["upstream", *SERVICES.values()]
    backends = plain_envoy.Backends(dict.fromkeys(names, backend), upstream="upstream")
    running = plain_envoy.Gateway(tmp_path_factory.mktemp("envoy"), backends)
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The examples as they are built."""
    folder = tmp_path_factory.mktemp("modules")
    return {name: builder.compile_go(EXAMPLES / name, folder / f"{name}.wasm", deadline=280).path for name in HIGRESS}


@pytest.fixture(scope="module")
def adapted(modules: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The examples as stock Envoy may load them."""
    folder = tmp_path_factory.mktemp("adapted")
    files = {name: folder / f"{name}.wasm" for name in modules}
    for name, file in files.items():
        file.write_bytes(wasm_modules.rename_abi(modules[name].read_bytes(), "0_2_1"))
    return files


def inspect(module: Path, gateway: str) -> tuple[int, dict[str, str]]:
    """The exit code of `pluginrelease inspect`, and its reasons with their messages."""
    words = ["inspect", str(module), "--for", gateway, "-o", "json"]
    done = click.testing.CliRunner().invoke(main, words, catch_exceptions=False)
    return done.exit_code, {one["reason"]: one["message"] for one in json.loads(done.stdout)["reasons"]}


@pytest.mark.parametrize("name", HIGRESS)
def test_an_example_is_for_higress(modules: dict[str, Path], name: str) -> None:
    """Built with Higress's SDK by plain Go: usable where its README sends it, and refused elsewhere with the reason."""
    assert inspect(modules[name], "higress@2.2") == (0, {})
    code, too_old = inspect(modules[name], "higress@2.0")
    assert (code, list(too_old)) == (1, ["MissingHostFunction"])
    assert "Higress 2.1.4 or newer" in too_old["MissingHostFunction"]
    code, foreign = inspect(modules[name], "istio@1.31")
    assert code == 1
    assert "announces 0.2.100" in foreign["UnknownABI"]


def test_my_plugin_marks_requests_and_mocks_one_domain(gateway: plain_envoy.Gateway, adapted: dict[str, Path]) -> None:
    """`hello: world` reaches the upstream; only the domain of the rule is answered in the upstream's place."""
    rule = {"_match_domain_": ["mock.example.com"], "mockEnable": True}
    config = {"mockEnable": False, "_rules_": [rule]}
    url = gateway.serve("one-domain", adapted["my-plugin"], json.dumps(config))
    reached = requests.get(url, headers={"host": "www.example.com"}, timeout=20)
    assert reached.json()["hello"] == "world"
    mocked = requests.get(url, headers={"host": "mock.example.com"}, timeout=20)
    assert (mocked.status_code, mocked.text) == (200, "hello world")


@pytest.mark.parametrize(("config", "mocked"), [("", False), ('{"mockEnable": true}', True)], ids=["none", "mock"])
def test_my_plugin_has_one_switch(
    gateway: plain_envoy.Gateway, adapted: dict[str, Path], config: str, mocked: bool
) -> None:
    """Without a configuration it adds the header; with mockEnable it answers everyone."""
    answer = requests.get(gateway.serve(f"mocked-{mocked}", adapted["my-plugin"], config), timeout=20)
    assert answer.status_code == 200
    assert (answer.text == "hello world") is mocked
    assert mocked or answer.json()["hello"] == "world"


def test_my_plugin_refuses_what_is_neither_true_nor_false(
    gateway: plain_envoy.Gateway, adapted: dict[str, Path]
) -> None:
    """A switch that cannot be read is no "false": the plugin does not start, and says what to write."""
    with pytest.raises(plain_envoy.NotTaken, match="write true or false, without quotes"):
        gateway.serve("unreadable", adapted["my-plugin"], '{"mockEnable": "yes"}')


def test_hello_world_answers_everyone(gateway: plain_envoy.Gateway, adapted: dict[str, Path]) -> None:
    """200 "hello world", whatever is asked, and the upstream is not."""
    url = gateway.serve("hello", adapted["hello-world"])
    for answer in (requests.get(url, timeout=20), requests.post(f"{url}/anything", data="x" * 9000, timeout=20)):
        assert (answer.status_code, answer.text) == (200, "hello world")


def domain(name: str, **config: object) -> dict[str, object]:
    return {"_match_domain_": [f"{name}.example.com"], **config}


@pytest.fixture(scope="module")
def calling(gateway: plain_envoy.Gateway, adapted: dict[str, Path]) -> str:
    """http-call with a rule for one domain each: the four kinds of sources, and what can go wrong with a service."""
    dns = {**PLACE, "serviceSource": "dns", "domain": "token.example.com"}
    rules = [
        domain("k8s", **ASK, **PLACE, serviceSource="k8s", namespace="apps"),
        domain("nacos", **ASK, **PLACE, serviceSource="nacos", namespace="public"),
        domain("ip", **ASK, **PLACE, serviceSource="ip"),
        domain("dns", **ASK, **dns),
        domain("broken", **{**ASK, "requestPath": "/broken"}, **dns),
        domain("silent", **{**ASK, "requestPath": "/without-a-token"}, **dns),
        domain("nowhere", **ASK, **{**dns, "serviceName": "not-there"}),
    ]
    return gateway.serve("calling", adapted["http-call"], json.dumps({"_rules_": rules}))


def call(url: str, name: str) -> requests.Response:
    """A request of a client that brings a token of its own, and a body that must wait for the service's answer."""
    headers = {"host": f"{name}.example.com", "x-token": "made-up"}
    return requests.get(url, headers=headers, data="x" * 9000, timeout=20)


@pytest.mark.parametrize("source", SERVICES)
def test_http_call_puts_the_services_token_into_the_request(calling: str, source: str) -> None:
    """Wherever the gateway knows the service from, the upstream sees its token and not the client's own."""
    answer = call(calling, source)
    assert answer.status_code == 200
    assert answer.json()["x-token"] == TOKEN


@pytest.mark.parametrize("name", ["broken", "nowhere"])
def test_http_call_refuses_when_the_service_does_not_answer_200(calling: str, name: str) -> None:
    """500 "http call failed": for a service that fails, and for one that the gateway does not have."""
    answer = call(calling, name)
    assert (answer.status_code, answer.text) == (500, "http call failed")


def test_http_call_lets_no_made_up_token_pass(calling: str) -> None:
    """A service that answers without a token takes the client's away."""
    assert "x-token" not in call(calling, "silent").json()


def test_http_call_writes_no_token_into_the_log(calling: str, gateway: plain_envoy.Gateway) -> None:
    """What the service said stays out of the gateway's log, at the level where the SDK tells of calls."""
    assert call(calling, "dns").status_code == 200
    assert "http-call" in gateway.log
    assert TOKEN not in gateway.log


MISTAKES = [
    ({}, "requestPath is missing"),
    ({"requestPath": "/token"}, "tokenHeader is missing"),
    ({**ASK}, "serviceName is missing"),
    ({**ASK, **PLACE, "servicePort": 0}, "servicePort is missing or no port"),
    ({**ASK, **PLACE, "serviceSource": "consul"}, "write k8s, nacos, ip or dns"),
    ({**ASK, **PLACE, "serviceSource": "nacos"}, "namespace is missing"),
    ({**ASK, **PLACE, "serviceSource": "dns"}, "domain is missing"),
]


@pytest.mark.parametrize(("config", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_http_call_refuses_a_configuration_that_it_cannot_work_with(
    gateway: plain_envoy.Gateway, adapted: dict[str, Path], config: dict[str, object], words: str
) -> None:
    """At its start, with the field and the remedy: not at the first request."""
    with pytest.raises(plain_envoy.NotTaken, match=words):
        gateway.serve("mistaken", adapted["http-call"], json.dumps(config))


def test_redis_is_higresss_alone(gateway: plain_envoy.Gateway, adapted: dict[str, Path]) -> None:
    """Stock Envoy refuses the Redis example whatever ABI version it announces, in the words that were said before."""
    answer = compat.judge(wasm.read(adapted["redis-rate-limit"].read_bytes()), {ENVOY})
    assert answer.missing == ("env.proxy_redis_init", "env.proxy_redis_call")
    assert "a Higress gateway" in answer.remedy
    with pytest.raises(plain_envoy.NotTaken) as refused:
        gateway.serve("limited", adapted["redis-rate-limit"], '{"qpm": 1, "redis": {"serviceName": "redis"}}')
    told, _, names = answer.message.partition(": ")
    assert f"{told}: {names.split(', ')[0]}" in str(refused.value)


@pytest.mark.parametrize("name", HIGRESS)
def test_an_example_as_built_is_unknown_to_stock_envoy(tmp_path: Path, modules: dict[str, Path], name: str) -> None:
    """What `inspect` says of Higress's ABI version, Envoy says."""
    answer = compat.judge(wasm.read(modules[name].read_bytes()), {ENVOY})
    taken, log = plain_envoy.takes(tmp_path, plain_envoy.Plugin(modules[name]))
    assert not taken
    assert answer.message.partition(":")[0] in log
