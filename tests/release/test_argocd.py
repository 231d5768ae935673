"""What a user adds to Argo CD's ConfigMap is made of the scripts of the repository, and lacks none of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from pluginrelease import api
from release import argocd

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((CHECKOUT / argocd.FOLDER).rglob("*.lua"))
ACTIONS = {"retry", "rollback", "suspend", "resume", "off", "on"}


@pytest.fixture(scope="module")
def actions() -> dict[str, Any]:
    """The value of the key for actions, as Argo CD reads it."""
    data = yaml.safe_load((CHECKOUT / argocd.PATCH).read_text(encoding="utf-8"))["data"]
    return dict(yaml.safe_load(data[argocd.ACTIONS_KEY]))


def test_the_patch_is_generated() -> None:
    """`make manifests` was run after the last change of a script."""
    assert (CHECKOUT / argocd.PATCH).read_text(encoding="utf-8") == argocd.patch_text(CHECKOUT)


def test_the_patch_has_every_script_unchanged(actions: dict[str, Any]) -> None:
    """Neither YAML nor the generator changes a script; on and off are words there, and not YAML's true and false."""
    data = yaml.safe_load((CHECKOUT / argocd.PATCH).read_text(encoding="utf-8"))["data"]
    found = [data[argocd.HEALTH_KEY], actions["discovery.lua"], *(one["action.lua"] for one in actions["definitions"])]
    assert sorted(found) == sorted(path.read_text(encoding="utf-8") for path in SCRIPTS)
    assert {definition["name"] for definition in actions["definitions"]} == ACTIONS


def test_every_command_is_an_action(actions: dict[str, Any]) -> None:
    """Each annotation that the operator acts on is what one action sets."""
    written = "".join(definition["action.lua"] for definition in actions["definitions"])
    assert [name for name in api.COMMAND_ANNOTATIONS if f'"{name}"' not in written] == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(CHECKOUT / argocd.FOLDER)))
def test_a_script_needs_no_library_that_argo_cd_closes(script: Path) -> None:
    """Scripts of a user have Lua's base, tables, and the time of os, and no other library."""
    text = script.read_text(encoding="utf-8")
    assert [word for word in ("string.", "math.", "io.", "debug.", ":match(", ":sub(", ":gsub(") if word in text] == []
