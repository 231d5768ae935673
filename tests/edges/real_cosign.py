"""The real cosign, both of its major versions, signing with key pairs and without any network but the registry's."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pluginrelease_lab import binaries

# a key pair alone: no transparency log, no timestamp
OFFLINE = ("--yes", "--tlog-upload=false", "--allow-http-registry")
OLD_FORM = ("--use-signing-config=false", "--new-bundle-format=false")
NEW_FORM = ("--use-signing-config=false",)


class Form(StrEnum):
    """Who writes a signature, and how it is stored."""

    TAG_BY_2 = "cosign 2: a tag"
    TAG_BY_3 = "cosign 3: a tag"
    BUNDLE_BY_3 = "cosign 3: a bundle that refers to the image"


PROGRAMS = {
    Form.TAG_BY_2: ("cosign-2", ()),
    Form.TAG_BY_3: ("cosign", OLD_FORM),
    Form.BUNDLE_BY_3: ("cosign", NEW_FORM),
}


@dataclass(frozen=True)
class Cosign:
    """Keys, and what is signed with them, in a folder that is also its home."""

    folder: Path

    def key(self, name: str) -> bytes:
        """The public key of a pair, which is made when it is asked for first."""
        if not (self.folder / f"{name}.pub").exists():
            self.run("cosign", "generate-key-pair", "--output-key-prefix", name)
        return (self.folder / f"{name}.pub").read_bytes()

    def sign(self, image: str, key: str, form: Form = Form.BUNDLE_BY_3) -> None:
        """Signs ``host/repository@digest``."""
        self.key(key)
        program, how = PROGRAMS[form]
        self.run(program, "sign", *OFFLINE, *how, "--key", f"{key}.key", image)

    def attest(self, image: str, key: str) -> None:
        """Says something else about an image, with the same key."""
        self.key(key)
        (self.folder / "predicate.json").write_text('{"tested": true}')
        words = ("--type", "custom", "--predicate", "predicate.json", "--key", f"{key}.key")
        self.run("cosign", "attest", *OFFLINE, *NEW_FORM, *words, image)

    def run(self, program: str, *arguments: str) -> None:
        """Fails with cosign's own words."""
        environ = {"HOME": str(self.folder), "COSIGN_PASSWORD": "", "PATH": os.environ["PATH"]}
        argv = [binaries.provide(program), *arguments]
        done = subprocess.run(argv, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
