"""Two OCI registries on the bridge: one is open, and one asks for a user and a password."""

from __future__ import annotations

from collections.abc import Mapping

import yaml

from pluginrelease_lab import network
from pluginrelease_lab.blueprint import PRIVATE_REGISTRY_PORT, PRIVATE_USER, REGISTRY_PORT, Blueprint
from pluginrelease_lab.controlplane import answers
from pluginrelease_lab.files import write_private
from pluginrelease_lab.processes import Argv, Probe, Program

PRIVATE_PASSWORD = "lab-password"  # noqa: S105 - the registry exists inside a lab only, and ends with it
_PRIVATE_PASSWORD_HASH = "$2a$05$S91tG/pyL09/yzzt/kancOHwdng41vl7sFK3TpgRbYommpPF1s52S"  # noqa: S105 - of the above; the registry reads bcrypt only
KEY_USER = "_json_key"
KEY = '{\n  "type": "service_account",\n  "private_key": "none"\n}\n'
"""A password of several lines, as Google's keys are."""
KEY_HASH = "$2b$04$PluginReleaseTestsSale3cpgZsFfzfi5qYsdIO1I4FE2LqMEmie"
REALM = "https://registry.example.com/"
"""A public name, because Istio's agent sends no credentials to a realm at a private address."""


def open_registry(lab: Blueprint) -> Program:
    """Return the open registry: every client may push, pull and delete."""
    return _registry(lab, "registry", REGISTRY_PORT, {}, answers(f"http://{network.ADDRESS}:{REGISTRY_PORT}/v2/"))


def private_registry(lab: Blueprint) -> Program:
    """Return the private registry: it asks for `PRIVATE_USER` and `PRIVATE_PASSWORD`, or for `KEY_USER` and `KEY`."""
    passwords = lab.run / "private-registry.htpasswd"
    write_private(passwords, f"{PRIVATE_USER}:{_PRIVATE_PASSWORD_HASH}\n{KEY_USER}:{KEY_HASH}\n")
    auth = {"auth": {"htpasswd": {"realm": REALM, "path": str(passwords)}}}
    probe = answers(f"http://{network.ADDRESS}:{PRIVATE_REGISTRY_PORT}/v2/", status=401)
    return _registry(lab, "private-registry", PRIVATE_REGISTRY_PORT, auth, probe)


def _registry(lab: Blueprint, name: str, port: int, extra: Mapping[str, object], probe: Probe) -> Program:
    config = lab.run / f"{name}.yaml"
    content = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(lab.run / name)},
            "delete": {"enabled": True},
            "maintenance": {"uploadpurging": {"enabled": False}},
        },
        "http": {"addr": f"{network.ADDRESS}:{port}", "secret": lab.tokens.lab},
        **extra,
    }
    write_private(config, yaml.safe_dump(content))
    argv: Argv = [lab.programs["registry"], "serve", config]
    return Program(name, argv, lab.log(name), probe, env={"OTEL_TRACES_EXPORTER": "none"})
