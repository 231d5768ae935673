"""The Higress examples: built with Higress's own SDK, inspected, and run by a real Envoy.

Stock Envoy does not know Higress's ABI version. What runs here is what `pluginrelease adapt` makes of each module.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click.testing
import pytest
import requests
import yaml

from pluginrelease import api
from pluginrelease.cli import main
from pluginrelease.core import compat, wasm
from pluginrelease.core.compat import abi_rewrite
from pluginrelease.core.errors import Refused
from pluginrelease.core.mesh import higress
from tests import wasm_modules
from tests.edges import plain_envoy

CALL_FAILED = "http call failed"  # the plugin's answer

EXAMPLES = Path(__file__).parents[2] / "examples"
HIGRESS = ("my-plugin", "hello-world", "http-call", "redis-rate-limit")
ENVOY = "1.40.0"  # what the lab's pin is; a newer one may take more
TOKEN = "token-of-the-service"
SERVICES = {  # where the gateway has the service, by the source that a configuration names
    "k8s": "outbound|8080||token.default.svc.cluster.local",
    "nacos": "outbound|8080||token.DEFAULT-GROUP.public.nacos",
    "ip": "outbound|8080||token.static",
    "dns": "outbound|8080||token.dns",
}
OF_THE_EXAMPLE = "outbound|8080||token.apps.svc.cluster.local"
PLACE = {"serviceName": "token", "servicePort": 8080}
ASK = {"requestPath": "/token", "tokenHeader": "x-token"}


class Backend(BaseHTTPRequestHandler):
    """The upstream, and the service that has tokens."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        asked = {name.lower(): ", ".join(self.headers.get_all(name, [])) for name in self.headers}
        body = json.dumps({"token": TOKEN} if self.path == "/token" else asked).encode()
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
def gateway(backend: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[plain_envoy.PlainGateway]:
    """One Envoy in front of the upstream; it knows the service by the names that Higress's sources give it."""
    names = ["upstream", OF_THE_EXAMPLE, *SERVICES.values()]
    backends = plain_envoy.Backends(dict.fromkeys(names, backend), upstream="upstream")
    with plain_envoy.running(tmp_path_factory.mktemp("envoy"), backends) as one:
        yield one


@pytest.fixture(scope="module")
def adapted(built: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Makes a plugin into one that stock Envoy may load."""
    folder = tmp_path_factory.mktemp("adapted")

    def make(name: str) -> Path:
        file = folder / f"{Path(name).name}.wasm"
        if not file.exists():
            file.write_bytes(abi_rewrite.adapt(built(name).read_bytes()).content)
        return file

    return make


def configuration(example: str, manifest: str = "pluginrelease.yaml") -> str:
    """What a gateway gives the plugin when the example's manifest is released."""
    text = (EXAMPLES / example / manifest).read_text()
    plugin = api.Spec.model_validate(yaml.safe_load(text)["spec"]).plugin
    return json.dumps(higress.configuration(plugin))


def inspect(module: Path, gateway: str) -> tuple[int, dict[str, str]]:
    """The exit code of `pluginrelease inspect`, and its reasons with their messages."""
    words = ["inspect", str(module), "--for", gateway, "-o", "json"]
    done = click.testing.CliRunner().invoke(main, words, catch_exceptions=False)
    return done.exit_code, {finding["reason"]: finding["message"] for finding in json.loads(done.stdout)["reasons"]}


@pytest.mark.parametrize("name", HIGRESS)
def test_an_example_is_for_higress(built: Callable[[str], Path], name: str) -> None:
    """Built with Higress's SDK by plain Go: usable where its README sends it, and refused elsewhere with the reason."""
    assert inspect(built(name), "higress@2.2") == (0, {})
    code, too_old = inspect(built(name), "higress@2.0")
    assert code == 1
    assert "Higress 2.1.4" in str(too_old)
    code, foreign = inspect(built(name), "istio@1.31")
    assert code == 1
    assert "announces 0.2.100" in foreign["UnknownABI"]
    redis = "env.proxy_redis_init, env.proxy_redis_call" in foreign.get("MissingHostFunction", "")
    assert redis is (name == "redis-rate-limit")


def test_my_plugin_marks_requests_and_mocks_one_domain(
    gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path]
) -> None:
    """`hello: world` reaches the upstream; only the domain of the rule is answered in the upstream's place.

    A rule for the route of both would match on Higress. Here it matches nothing, as `pluginrelease adapt` warns: the
    SDK asks for a property that only Higress's Envoy has under that name.
    """
    config = json.loads(configuration("my-plugin", "one-domain.yaml"))
    config["_rules_"].insert(0, {"_match_route_": [plain_envoy.ROUTE], "mockEnable": True})
    url = gateway.serve("one-domain", adapted("my-plugin"), json.dumps(config))
    reached = requests.get(url, headers={"host": "www.example.com"}, timeout=20)
    assert reached.json()["hello"] == "world"
    mocked = requests.get(url, headers={"host": "mock.example.com"}, timeout=20)
    assert (mocked.status_code, mocked.text) == (200, "hello world")


@pytest.mark.parametrize(("config", "mocked"), [("", False), ('{"mockEnable": true}', True)], ids=["none", "mock"])
def test_my_plugin_has_one_switch(
    gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path], config: str, mocked: bool
) -> None:
    """Without a configuration it adds the header; with mockEnable it answers everyone."""
    answer = requests.get(gateway.serve(f"mocked-{mocked}", adapted("my-plugin"), config), timeout=20)
    assert answer.status_code == 200
    assert (answer.text == "hello world") is mocked
    assert mocked or answer.json()["hello"] == "world"


def test_my_plugin_refuses_what_is_neither_true_nor_false(
    gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path]
) -> None:
    """A switch that cannot be read is no "false": the plugin does not start, and says what to write."""
    with pytest.raises(plain_envoy.NotTaken, match="mockEnable"):
        gateway.serve("unreadable", adapted("my-plugin"), '{"mockEnable": "yes"}')


def test_hello_world_answers_what_it_is_released_for(
    gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path]
) -> None:
    """200 "hello world", whatever is asked of the release's domain; other domains are let alone."""
    url = gateway.serve("hello", adapted("hello-world"), configuration("hello-world"))
    headers = {"host": "hello.example.com"}
    for answer in (
        requests.get(url, headers=headers, timeout=20),
        requests.post(f"{url}/anything", headers=headers, data="x" * 9000, timeout=20),
    ):
        assert (answer.status_code, answer.text) == (200, "hello world")
    assert requests.get(url, timeout=20).json()["host"] in url


def domain(name: str, **config: object) -> dict[str, object]:
    return {"_match_domain_": [f"{name}.example.com"], **config}


@pytest.fixture(scope="module")
def calling(gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path]) -> str:
    """http-call with a rule for one domain each: the four kinds of sources, and what can go wrong with a service."""
    dns = {**PLACE, "serviceSource": "dns", "domain": "token.example.com"}
    rules = [
        domain("k8s", **ASK, **PLACE, serviceSource="k8s"),
        domain("nacos", **ASK, **PLACE, serviceSource="nacos", namespace="public"),
        domain("ip", **ASK, **PLACE, serviceSource="ip"),
        domain("dns", **ASK, **dns),
        domain("broken", **{**ASK, "requestPath": "/broken"}, **dns),
        domain("silent", **{**ASK, "requestPath": "/without-a-token"}, **dns),
        domain("nowhere", **ASK, **{**dns, "serviceName": "not-there"}),
    ]
    config = json.loads(configuration("http-call")) | {"_rules_": rules}
    return gateway.serve("calling", adapted("http-call"), json.dumps(config))


def call(url: str, name: str) -> requests.Response:
    """A request of a client that brings a token of its own, and a body that must wait for the service's answer."""
    headers = {"host": f"{name}.example.com", "x-token": "made-up"}
    return requests.get(url, headers=headers, data="x" * 9000, timeout=20)


@pytest.mark.parametrize("source", [*SERVICES, "the-example"])
def test_http_call_puts_the_services_token_into_the_request(calling: str, source: str) -> None:
    """Wherever the gateway knows the service from, the upstream sees its token and not the client's own."""
    answer = call(calling, source)
    assert answer.status_code == 200
    assert answer.json()["x-token"] == TOKEN


@pytest.mark.parametrize("name", ["broken", "nowhere"])
def test_http_call_refuses_when_the_service_does_not_answer_200(calling: str, name: str) -> None:
    """500 "http call failed": for a service that fails, and for one that the gateway does not have."""
    answer = call(calling, name)
    assert (answer.status_code, answer.text) == (500, CALL_FAILED)


def test_http_call_lets_no_made_up_token_pass(calling: str) -> None:
    """A service that answers without a token takes the client's away."""
    assert "x-token" not in call(calling, "silent").json()


def test_http_call_writes_no_token_into_the_log(calling: str, gateway: plain_envoy.PlainGateway) -> None:
    """What the service said stays out of the gateway's log, at the level where the SDK tells of calls."""
    assert call(calling, "dns").status_code == 200
    assert "http-call" in gateway.log
    assert TOKEN not in gateway.log


MISTAKES = [
    ({}, "requestPath"),
    ({"requestPath": "/token"}, "tokenHeader"),
    ({**ASK}, "serviceName"),
    ({**ASK, **PLACE, "servicePort": 0}, "servicePort"),
    ({**ASK, **PLACE, "serviceSource": "consul"}, "k8s, nacos, ip"),
    ({**ASK, **PLACE, "serviceSource": "nacos"}, "namespace"),
    ({**ASK, **PLACE, "serviceSource": "dns"}, "domain"),
]


@pytest.mark.parametrize(("config", "words"), MISTAKES, ids=[words for _, words in MISTAKES])
def test_http_call_refuses_a_configuration_that_it_cannot_work_with(
    gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path], config: dict[str, object], words: str
) -> None:
    """At its start, with the field and the remedy: not at the first request."""
    with pytest.raises(plain_envoy.NotTaken, match=words):
        gateway.serve("mistaken", adapted("http-call"), json.dumps(config))


def test_redis_is_higresss_alone(built: Callable[[str], Path], tmp_path: Path) -> None:
    """No preview of the Redis example: refused by the functions' names, in the words that stock Envoy has for it."""
    content = built("redis-rate-limit").read_bytes()
    with pytest.raises(Refused) as refused:
        abi_rewrite.adapt(content)
    assert "env.proxy_redis_init, env.proxy_redis_call" in refused.value.message
    assert "Higress" in refused.value.remedy
    announcing = tmp_path / "announcing.wasm"
    announcing.write_bytes(wasm_modules.rename_abi(content, "0_2_1"))
    plugin = plain_envoy.PlainPlugin(announcing, configuration("redis-rate-limit"))
    taken, log = plain_envoy.takes(tmp_path, plugin)
    assert not taken
    assert refused.value.message.partition(",")[0] in log


@pytest.mark.parametrize("name", HIGRESS)
def test_an_example_as_built_is_unknown_to_stock_envoy(tmp_path: Path, built: Callable[[str], Path], name: str) -> None:
    """What `inspect` says of Higress's ABI version, Envoy says."""
    answer = compat.judge(wasm.read(built(name).read_bytes()), {ENVOY})
    taken, log = plain_envoy.takes(tmp_path, plain_envoy.PlainPlugin(built(name)))
    assert not taken
    assert answer.message.partition(":")[0] in log


HIGRESS_ONLY = "env.proxy_inject_encoded_data_to_filter_chain"
PATTERNS = {  # what each imports that an SDK's plugin does not import anyway
    "streamed": set[str](),
    "injected": {HIGRESS_ONLY},
    "buffered": {"env.proxy_send_local_response"},
    "routed": {"env.proxy_send_local_response", "env.proxy_replace_header_map_value"},
    "ticking": {"env.proxy_get_shared_data", "env.proxy_set_shared_data", "env.proxy_replace_header_map_value"},
    "remembering": {"env.proxy_replace_header_map_value"},
    "isolated": {"env.proxy_replace_header_map_value"},
    "rebuilt": {"env.proxy_add_header_map_value"},
}


@pytest.mark.parametrize(("name", "own"), PATTERNS.items(), ids=PATTERNS)
def test_a_pattern_of_the_sdk_is_known_where_it_is_sent(built: Callable[[str], Path], name: str, own: set[str]) -> None:
    """A plugin imports just what it uses, so its file tells where it loads: here all but one could be previewed."""
    module = built(f"patterns/{name}")
    assert inspect(module, "higress@2.2") == (0, {})
    read = wasm.read(module.read_bytes())
    anyway = {str(imported) for imported in wasm.read(built("patterns/streamed").read_bytes()).imports}
    assert {str(imported) for imported in read.imports} - anyway == own
    if HIGRESS_ONLY not in own:
        abi_rewrite.adapt(module.read_bytes())
        return
    with pytest.raises(Refused, match=HIGRESS_ONLY):
        abi_rewrite.adapt(module.read_bytes())


def test_an_isolated_rule_fails_alone(gateway: plain_envoy.PlainGateway, adapted: Callable[[str], Path]) -> None:
    """The gateway takes the plugin although one of its rules is wrong, whose requests get what is for all others."""
    rules = [domain("wrong", number="one"), domain("right", number=2)]
    url = gateway.serve("isolated", adapted("patterns/isolated"), json.dumps({"number": 1, "_rules_": rules}))
    got = [
        requests.get(url, headers={"host": f"{name}.example.com"}, timeout=20).headers["x-number"]
        for name in ("wrong", "right", "other")
    ]
    assert got == ["1", "2", "1"]
