"""Rules in the Common Expression Language (CEL) in the CRD: errors that one object shows on its own."""

from __future__ import annotations

from pydantic.config import JsonDict

# the API server fills in the defaults below such a field, so that `kubectl get -o yaml` shows them
SHOWN: JsonDict = {"default": {}}


def cel(rule: str, message: str) -> JsonDict:
    """Return one ``x-kubernetes-validations`` entry. The message starts with the remedy."""
    return {"rule": rule, "message": message}


def immutable(field: str, remedy: str = "create a new PluginRelease and delete this one") -> JsonDict:
    """Return the rule of an immutable field, on the field itself: `namespace` is a reserved word of CEL."""
    return {"x-kubernetes-validations": [cel("self == oldSelf", f"{field} cannot be changed: {remedy}")]}
