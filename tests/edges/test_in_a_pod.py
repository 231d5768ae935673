"""The operator as the kubelet starts it: a UID without a name, no environment of its own, a token that is a file."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pluginrelease import api
from pluginrelease_lab import Lab, network, operator
from tests.edges import in_a_pod
from tests.harness.releases import manifest

NO_TOKEN_FILE = "Service token file does not exist"  # words of the kubernetes client

NAMESPACE = "in-a-pod"
ACCOUNT = "operator"
PORT = 18080
UID = 54321
NOBODYS = "nobodys-token-" + "x" * 40
READY_SECONDS = 40.0
# a renewed token is read within a minute where the API server has not refused the old one
REFUSED_SECONDS = 60.0


class SecretPod:
    """The operator's process, its ServiceAccount's folder, and what its probes say."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self._lab = lab
        self.account = folder / "serviceaccount"
        self.account.mkdir()
        self.account.joinpath("ca.crt").write_text(cluster_ca(lab))
        self.log = folder / "operator.log"
        self.process: subprocess.Popen[bytes] | None = None

    def give(self, token: str) -> None:
        """As the kubelet: a new file in place of the old one."""
        fresh = self.account / "fresh"
        fresh.write_text(token)
        fresh.rename(self.account / "token")

    def start(self, *more: str) -> None:
        flags = ["run", f"--liveness-port={PORT}", f"--cache-dir={self.account.parent / 'cache'}", *more]
        python = [sys.executable, "-m"]
        becoming = [*python, in_a_pod.__name__, str(self.account), str(UID), *python, "pluginrelease.cli", *flags]
        checkout = Path(__file__).resolve().parents[2]
        with self.log.open("wb") as lines:
            self.process = self._lab.popen(becoming, stdout=lines, stderr=lines, cwd=checkout)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)

    def asks(self, path: str, host: str = network.ADDRESS) -> tuple[int, str]:
        """What the kubelet's probe is answered; 0 while nobody listens."""
        argv = ["curl", "-sg", "--max-time", "5", "-w", "\n%{http_code}", f"http://{host}:{PORT}{path}"]
        with self._lab.popen(argv, stdout=subprocess.PIPE, text=True) as curl:
            body, _, status = curl.communicate(timeout=10)[0].rpartition("\n")
        return int(status), body.strip()

    def becomes(self, wanted: Callable[[int, str], bool], seconds: float = READY_SECONDS) -> tuple[int, str]:
        """/readyz as soon as it is as wanted."""
        until = time.monotonic() + seconds
        while not wanted(*(answer := self.asks("/readyz"))):
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, f"/readyz still says {answer}\n{self.log.read_text()}"
            time.sleep(0.2)
        return answer


def is_ready(status: int, body: str) -> bool:
    return (status, body) == (200, "ok")


def is_refused(status: int, body: str) -> bool:
    return status == 503 and "401" in body


def cluster_ca(lab: Lab) -> str:
    """What the controller manager publishes in every namespace, and the kubelet shows beside the token."""
    published = ["configmap/kube-root-ca.crt", "-n", NAMESPACE]
    lab.kubectl("wait", "--for=create", "--timeout=30s", *published)
    return lab.kubectl("get", *published, "-o", r"jsonpath={.data.ca\.crt}")


def new_token(lab: Lab) -> str:
    return lab.kubectl("create", "token", ACCOUNT, "-n", NAMESPACE).strip()


@pytest.fixture(scope="module")
def account(lab: Lab) -> Iterator[None]:
    """A ServiceAccount with the rights of the chart's."""
    operator.install(lab)
    lab.kubectl("create", "namespace", NAMESPACE)
    lab.kubectl("create", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
    bound = [f"--serviceaccount={NAMESPACE}:{ACCOUNT}", "--clusterrole=pluginrelease"]
    lab.kubectl("create", "clusterrolebinding", NAMESPACE, *bound)
    allow_lease(lab, "kube-system", "--role=pluginrelease-lease")
    lab.kubectl("create", "role", "lease", "-n", NAMESPACE, "--verb=get,create,update", "--resource=leases")
    allow_lease(lab, NAMESPACE, "--role=lease")
    yield
    lab.kubectl("delete", "rolebinding", NAMESPACE, "-n", "kube-system")
    lab.kubectl("delete", "clusterrolebinding", NAMESPACE)
    lab.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def allow_lease(lab: Lab, namespace: str, role: str) -> None:
    """The Lease is where the operator watches, or in kube-system when it watches everything."""
    lab.kubectl("create", "rolebinding", NAMESPACE, "-n", namespace, role, f"--serviceaccount={NAMESPACE}:{ACCOUNT}")


@pytest.fixture
def pod(lab: Lab, account: None, tmp_path: Path) -> Iterator[SecretPod]:
    one = SecretPod(lab, tmp_path)
    yield one
    one.stop()


def asked_in_vain(lab: Lab) -> int:
    """How many requests the API server refused so far because it knew nobody of that token."""
    with lab.audit_log.open(encoding="utf-8") as lines:
        events = operator.complete_events(lines)
        return sum(event.get("responseStatus", {}).get("code") == 401 for event in events)


@pytest.mark.parametrize("flags", [(), (f"--namespace={NAMESPACE}",)], ids=["all namespaces", "one"])
def test_it_runs_as_any_user(lab: Lab, pod: SecretPod, flags: tuple[str, ...]) -> None:
    """A UID that no file names and an empty environment are enough: the operator logs in with the pod's token, answers
    its probes on IPv4 and IPv6, and looks at releases; what its token is, it does not say."""
    token = new_token(lab)
    pod.give(token)
    pod.start(*flags)
    pod.becomes(is_ready)
    assert pod.asks("/healthz") == pod.asks("/readyz", "[::1]") == (200, "ok")
    wanted = manifest(metadata={"name": "asleep", "namespace": NAMESPACE}, spec__suspend=True)
    lab.kubectl("create", "-f", "-", stdin=json.dumps(wanted))
    waiting = "--for=jsonpath={.status.conditions[?(@.type=='Ready')].reason}=Suspended"
    lab.kubectl("wait", waiting, f"{api.PLURAL}/asleep", "-n", NAMESPACE, "--timeout=30s")
    lab.kubectl("delete", f"{api.PLURAL}/asleep", "-n", NAMESPACE, "--timeout=30s")
    assert token not in pod.log.read_text()


def test_a_token_that_is_refused(lab: Lab, pod: SecretPod) -> None:
    """An operator that the API server does not know is not ready and says so, is not restarted for it, asks a few times
    a minute and no more, and goes on as soon as its token is good."""
    pod.give(NOBODYS)
    before = asked_in_vain(lab)
    pod.start()
    pod.becomes(is_refused)
    assert pod.asks("/healthz") == (200, "ok")
    since = time.monotonic()
    pod.becomes(lambda *_: time.monotonic() - since > 10)
    assert asked_in_vain(lab) - before <= 30
    assert sum("Unauthorized" in line for line in pod.log.read_text().splitlines()) in range(1, 8)
    pod.give(new_token(lab))
    pod.becomes(is_ready, REFUSED_SECONDS)
    assert NOBODYS not in pod.log.read_text()


def test_a_token_that_is_renewed(lab: Lab, pod: SecretPod) -> None:
    """A token that the API server takes no longer is one that is read again: a renewed one goes on at once."""
    pod.give(new_token(lab))
    pod.start()
    pod.becomes(is_ready)
    lab.kubectl("delete", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
    lab.kubectl("create", "serviceaccount", ACCOUNT, "-n", NAMESPACE)
    wanted = manifest(metadata={"name": "asleep", "namespace": NAMESPACE}, spec__suspend=True)
    lab.kubectl("create", "-f", "-", stdin=json.dumps(wanted))
    pod.becomes(is_refused)
    pod.give(new_token(lab))
    pod.becomes(is_ready, REFUSED_SECONDS)
    lab.kubectl("delete", f"{api.PLURAL}/asleep", "-n", NAMESPACE, "--timeout=60s")


def test_a_pod_without_a_token(pod: SecretPod) -> None:
    """An operator that has nothing to log in with ends, so that the pod crash-loops, and its last line says why."""
    pod.start()
    assert pod.process is not None
    assert pod.process.wait(30) == 1
    assert "Traceback" not in pod.log.read_text()
    assert NO_TOKEN_FILE in pod.log.read_text().splitlines()[-1]
