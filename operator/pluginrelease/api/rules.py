"""Rules of the Common Expression Language in the CRD: what one object alone can show to be wrong."""

from __future__ import annotations

from pydantic.config import JsonDict

# the API server fills in the defaults below such a field, so that `kubectl get -o yaml` shows them
SHOWN: JsonDict = {"default": {}}


def cel(rule: str, message: str) -> JsonDict:
    """One ``x-kubernetes-validations`` entry; the message says the remedy."""
    return {"rule": rule, "message": message}


def immutable(field: str, remedy: str = "make a new PluginRelease and delete this one") -> JsonDict:
    """A field that keeps its first value; the rule stands on the field, as `namespace` is a reserved word of CEL."""
    return {"x-kubernetes-validations": [cel("self == oldSelf", f"{field} cannot be changed: {remedy}")]}
