"""A good plugin is updated to an image whose one layer is the module itself: in none of the forms that Istio reads.

Other tools push such images, and Istio's agent takes two layers of that kind but not one. With bare Istio the working
plugin is replaced by a filter that denies everything.
"""

import hashlib
import json

import requests

from tests import wasm_modules
from tests.incidents.book import Incident, Says, Shows
from tests.incidents.run import IncidentRun

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.module.wasm.config.v1+json"
LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"
SECONDS = 10.0


def story(run: IncidentRun) -> None:
    run.deploy_good()
    run.change(image=push_raw(run, wasm_modules.answering("v2")))


def push_raw(run: IncidentRun, module: bytes) -> str:
    """As the registry's own API takes it: two blobs and a manifest that names them."""
    repository = f"{run.namespace}/raw"
    api = f"http://{run.lab.registry_host}/v2/{repository}"
    blobs = {CONFIG: b"{}", LAYER: module}
    for blob in blobs.values():
        place = requests.post(f"{api}/blobs/uploads/", timeout=SECONDS).headers["Location"]
        way = f"http://{run.lab.registry_host}/v2/" + place.partition("/v2/")[2]
        requests.put(way, blob, params={"digest": digest(blob)}, timeout=SECONDS).raise_for_status()
    config, layer = ({"mediaType": kind, "digest": digest(blob), "size": len(blob)} for kind, blob in blobs.items())
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
    headers = {"Content-Type": MANIFEST}
    answer = requests.put(f"{api}/manifests/2.0", json.dumps(manifest), headers=headers, timeout=SECONDS)
    answer.raise_for_status()
    return f"{run.lab.registry}/{repository}:2.0"


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


INCIDENT = Incident(
    shows=Shows("403 to everyone", log="could not parse as oci variant", answer=(403, "-")),
    says=Says("UnreadableLayout", "Refused"),
    right=frozenset({"v1"}),
    story=story,
)
