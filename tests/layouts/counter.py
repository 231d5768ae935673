"""Each row against a real Istio: what ``inspect`` says of the image, and then what a gateway makes of it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from click.testing import CliRunner

from pluginrelease.cli import main
from pluginrelease.core.gateway import logs
from pluginrelease.core.mesh import istio
from pluginrelease_lab import Lab
from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import GatewayPod, HTTPAnswer
from tests.edges.real_registry import Real
from tests.layouts.book import LayoutCase, LayoutOutcome, LayoutRow, LayoutSeen, judge, unrun
from tests.layouts.workshop import TAG, Workshop

ISTIO = "istio@1.31"
"""The Istio of the lab."""
NAMESPACE = "istio-ingress"
LABELS = {"istio": "ingressgateway"}
SECONDS = 60.0
PAUSE = 0.1
STEADY = 2.0
"""Seconds that every answer must be 500: a plugin that is only slow to come answers so for a moment, too."""
DENIAL = b"RBAC: access denied"
FETCH_ERROR = "error in converting the wasm config to local: "
LOAD_ERRORS = (
    "Function: ",
    "Failed to load Wasm module due to",
    "Wasm VM failed",
    "Failed to parse corrupted Wasm module",
)
MAX_WORDS = 400
LEADS = (
    "cannot fetch Wasm module oci://IMAGE:1: ",
    "could not fetch Wasm binary: ",
    "could not fetch Wasm OCI image: ",
    "the given image is in invalid format as an OCI image: 2 errors occurred: ",
    "could not extract Wasm file from the image as Docker container ",
)
"""With these every word of the agent's begins; they tell nothing."""


@dataclass
class Counter:
    """The lab's gateway, to which images are brought one after the other. It is the first of its pods that is asked;
    a row is over when its plugin is off all of them."""

    lab: Lab
    folder: Path
    pods: list[GatewayPod] = field(init=False)

    def __post_init__(self) -> None:
        self.pods = self.lab.gateway_pods("istio=ingressgateway")

    def play(self, case: LayoutCase) -> LayoutRow:
        """The row. Raises nothing but what is no row's fault."""
        folder = self.folder / case.name
        folder.mkdir()
        shop = Workshop(Real(self.lab.registry_host), folder, f"layouts/{case.name}", case.name)
        image = f"{self.lab.registry}/{shop.repository}"
        try:
            case.make(shop)
            usable, reasons, layout = inspected(shop.target)
            before = len(self.log())
            with self.applied(case, f"{image}:{TAG}"):
                outcome = self.outcome(case)
                words = "" if outcome is LayoutOutcome.LOADED else said(self.log()[before:])
        except (AssertionError, LabError, OSError) as error:
            return unrun(case, f"{type(error).__name__}: {error}")
        return judge(case, LayoutSeen(outcome, shortened(words, image), usable, reasons, layout))

    @contextmanager
    def applied(self, case: LayoutCase, image: str) -> Iterator[None]:
        """A WasmPlugin as people write it; when it goes, requests pass again."""
        manifest = {
            "apiVersion": istio.TARGET.api_version,
            "kind": istio.TARGET.name,
            "metadata": {"name": case.name, "namespace": NAMESPACE},
            "spec": {
                "selector": {"matchLabels": LABELS},
                "url": f"oci://{image}",
                "phase": "AUTHN",
                "failStrategy": "FAIL_CLOSE",
                **({} if case.config is None else {"pluginConfig": case.config}),
            },
        }
        self.lab.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
        try:
            yield
        finally:
            self.lab.kubectl("delete", istio.TARGET.plural, case.name, "-n", NAMESPACE, "--ignore-not-found")
            self.until_free(case)

    def outcome(self, case: LayoutCase) -> LayoutOutcome | None:
        """What the gateway makes of it; None when it goes on as if there were nothing."""
        end, failing = time.monotonic() + SECONDS, 0.0
        while time.monotonic() < end:
            answer = self.ask(self.pods[0])
            if answer and runs(case, answer):
                return LayoutOutcome.LOADED
            if answer and (answer.status, answer.body) == (403, DENIAL):
                return LayoutOutcome.DENIED
            failing = (failing or time.monotonic()) if answer and answer.status == 500 else 0.0
            if failing and time.monotonic() - failing > STEADY:
                return LayoutOutcome.REJECTED
            time.sleep(PAUSE)
        return None

    def until_free(self, case: LayoutCase) -> None:
        """The plugin is off the gateway."""
        end = time.monotonic() + SECONDS
        for pod in self.pods:
            while not ((answer := self.ask(pod)) and answer.status == 200 and not runs(case, answer)):
                assert time.monotonic() < end, "the plugin of an earlier row does not go"
                time.sleep(PAUSE)

    def ask(self, pod: GatewayPod) -> HTTPAnswer | None:
        """One request; None without an answer, as from a gateway that compiles."""
        try:
            return self.lab.request(pod.address, timeout=5.0)
        except OSError:
            return None

    def log(self) -> str:
        """What the pod has said since it was started."""
        return self.lab.kubectl("logs", self.pods[0].name, "-n", self.pods[0].namespace, "--tail=-1")


def runs(case: LayoutCase, answer: HTTPAnswer) -> bool:
    """Whether an answer shows that the row's plugin runs."""
    return case.shows(answer) if case.shows else answer.headers.get("x-plugin") == case.name


def inspected(target: str) -> tuple[bool, tuple[str, ...], str]:
    """What ``pluginrelease inspect`` says for this Istio: usable or not, the reasons, the layout."""
    ended = CliRunner().invoke(main, ["inspect", target, "--insecure", "--for", ISTIO, "-o", "json"])
    assert ended.exit_code in (0, 1), ended.output
    seen = json.loads(ended.stdout)
    return seen["ok"], tuple(finding["reason"] for finding in seen["reasons"]), seen["layout"] or ""


def said(log: str) -> str:
    """The cause in a gateway's log: the agent's, or else Envoy's."""
    if FETCH_ERROR in log:
        _, _, rest = log.rpartition(FETCH_ERROR)
        text = rest.partition(". applying")[0]
    else:
        lines = [logs.read_record(line).message for line in log.splitlines()]
        text = "; ".join(line for line in lines if line.startswith(LOAD_ERRORS))
    return " ".join(text.split())[:MAX_WORDS]


def shortened(words: str, image: str) -> str:
    """Without the lab's own names, and without what is said each time."""
    text = words.replace(image, "IMAGE")
    for lead in LEADS:
        text = text.replace(lead, "")
    return text.removeprefix("* ").replace(" * ", "; ")
