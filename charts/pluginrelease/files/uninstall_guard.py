"""Before an uninstall that deletes the CRD: ends with 1 and says what to do while there is a PluginRelease."""

import http.client
import json
import os
import ssl
import sys
from pathlib import Path

ACCOUNT = Path(os.environ.get("ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
KIND = "/apis/pluginrelease.io/v1alpha1/pluginreleases"
SHOWN = 20

server = (os.environ["KUBERNETES_SERVICE_HOST"], int(os.environ["KUBERNETES_SERVICE_PORT"]))
trust = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
connection = http.client.HTTPSConnection(*server, timeout=30, context=trust)
token = (ACCOUNT / "token").read_text().strip()
connection.request("GET", f"{KIND}?limit={SHOWN + 1}", headers={"Authorization": f"Bearer {token}"})
answer = connection.getresponse()
text = answer.read().decode()
if answer.status == 404:
    sys.exit(print("There is no CRD of PluginRelease any more."))
if answer.status != 200:
    sys.exit(f"The API server answers {answer.status}: {text}")
found = [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in json.loads(text)["items"]]
if not found:
    sys.exit(print("There is no PluginRelease: nothing is left behind."))
more = " and more" if len(found) > SHOWN else ""
sys.exit(
    f"Not uninstalled: crds.keep is false, and there are PluginReleases: {', '.join(found[:SHOWN])}{more}. "
    "Delete them first, so that their plugins leave the gateways: kubectl delete prel --all --all-namespaces. "
    "To keep what runs: helm upgrade with crds.keep=true, then helm uninstall."
)
