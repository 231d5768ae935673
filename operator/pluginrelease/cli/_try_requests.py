"""Requests as a user writes them at a command line: ``POST /login -H 'Host: shop.example.com' -d '{}'``."""

from __future__ import annotations

import re
import shlex

from pydantic import ValidationError

from pluginrelease import api
from pluginrelease.api.reasons import Reason
from pluginrelease.core.apiserver import stored
from pluginrelease.core.errors import Refused

FORM = "[METHOD] PATH [-H 'NAME: VALUE'] [-d BODY]"
_METHODS = frozenset(str(method) for method in api.ProbeMethod)
_HEADER = re.compile(r"([A-Za-z0-9-]+):[ \t]*([^\r\n]*)")


def parse(text: str, name: str) -> api.Probe:
    """Return the request. Raises `Refused` (InvalidRequest)."""
    words = _split(text)
    method, path, host, body = "", "", None, None
    headers: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word in ("-H", "--header"):
            key, value = _read_header(next(rest, ""), text)
            host, headers = (value, headers) if key.lower() == "host" else (host, {**headers, key: value})
        elif word in ("-d", "--data"):
            body = next(rest, "")
        elif word.upper() in _METHODS and not path:
            method = word.upper()
        elif word.startswith("/") and not path:
            path = word
        else:
            raise _refuse(text, f"{word!r} is no part of a request")
    if not path:
        raise _refuse(text, "it has no path")
    chosen = method or ("POST" if body is not None else "GET")
    fields = {"name": name, "method": chosen, "path": path, "host": host, "headers": headers or None, "body": body}
    try:
        return api.Probe.model_validate({key: value for key, value in fields.items() if value is not None})
    except ValidationError as error:
        raise _refuse(text, stored.find_first_fault(error)) from None


def _read_header(word: str, text: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(word)
    if match is None:
        raise _refuse(text, f"{word!r} is no header")
    return match[1], match[2].strip()


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _refuse(text, f"{error}") from None


def _refuse(text: str, what: str) -> Refused:
    return Refused(Reason.INVALID_REQUEST, f"{text[:80]!r} is no request: {what}", f"Write {FORM}.")
