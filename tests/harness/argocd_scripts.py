"""The scripts for Argo CD on single objects: their health, the actions that are offered, and what an action writes.

Lua 5.1 runs them, with the libraries that Argo CD leaves to scripts of a user: base, table, and the time of os.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml
from lupa import lua51

from release import argocd

JSON = dict[str, Any]

CHECKOUT = Path(__file__).resolve().parents[2]


class ScriptError(Exception):
    """A script ended with an error; the message is what a user of Argo CD is shown."""


class Engine(Protocol):
    """What runs the scripts."""

    def ask(self, objects: Iterable[JSON]) -> list[JSON]:
        """Return what Argo CD says of each object, in their order: ``health`` and ``actions``."""

    def run(self, found: JSON, action: str, parameter: str = "") -> JSON:
        """Return the object after an action; ``parameter``: NAME=VALUE. Raises `ScriptError`."""


def scripts() -> dict[str, str]:
    """Return the two values that a user adds to argocd-cm."""
    data = yaml.safe_load((CHECKOUT / argocd.PATCH).read_text(encoding="utf-8"))["data"]
    return {"health": data[argocd.HEALTH_KEY], "actions": data[argocd.ACTIONS_KEY]}


def offered(answer: JSON) -> set[str]:
    """Return the actions that a user can run."""
    return {action["name"] for action in answer["actions"] if not action.get("disabled")}


class Lua:
    """Lua 5.1 in this process."""

    def ask(self, objects: Iterable[JSON]) -> list[JSON]:
        """See `Engine`."""
        own = scripts()
        discovery = yaml.safe_load(own["actions"])["discovery.lua"]
        return [self._judge(found, own["health"], discovery) for found in objects]

    def _judge(self, found: JSON, health: str, discovery: str) -> JSON:
        # of an object that is being deleted Argo CD asks no script
        is_going = "deletionTimestamp" in found["metadata"]
        pending = {"status": "Progressing", "message": "Pending deletion"}
        actions = execute(discovery, found)
        return {
            "health": pending if is_going else execute(health, found),
            "actions": [{"name": name, **about} for name, about in actions.items()],
        }

    def run(self, found: JSON, action: str, parameter: str = "") -> JSON:
        """See `Engine`."""
        definitions = yaml.safe_load(scripts()["actions"])["definitions"]
        [script] = [one["action.lua"] for one in definitions if one["name"] == action]
        name, _, value = parameter.partition("=")
        return execute(script, found, {name: value} if name else {})


def execute(script: str, found: JSON, parameters: Mapping[str, str] | None = None) -> JSON:
    """Return the table that a script returns for an object. Raises `ScriptError`."""
    engine = lua51.LuaRuntime(register_eval=False, register_builtins=False)
    names = engine.globals()
    safe = engine.table_from({"date": names.os.date, "time": names.os.time})
    for closed in ("string", "math", "io", "debug", "python"):
        names[closed] = None
    names.require = safe_require({"os": safe})
    names.obj, names.actionParams = to_lua(engine, found), to_lua(engine, dict(parameters or {}))
    try:
        returned = engine.execute(script)
    except lua51.LuaError as error:
        raise ScriptError(str(error)) from error
    answer = from_lua(returned)
    assert isinstance(answer, dict)
    return answer


def safe_require(modules: Mapping[str, Any]) -> Callable[[str], Any]:
    """Return the function by which a script gets a module."""
    return lambda name: modules[name]


def to_lua(engine: Any, value: Any) -> Any:
    """Return a JSON value as Lua has it."""
    if isinstance(value, dict):
        return engine.table_from({key: to_lua(engine, one) for key, one in value.items() if one is not None})
    if isinstance(value, list):
        return engine.table_from([to_lua(engine, one) for one in value])
    return value


def from_lua(value: Any) -> Any:
    """Return a Lua value as JSON has it; a table with numbers for keys is a list."""
    if lua51.lua_type(value) != "table":
        return value
    keys = list(value.keys())
    if keys and all(isinstance(key, int) for key in keys):
        return [from_lua(value[key]) for key in keys]
    return {key: from_lua(value[key]) for key in keys}
