"""``make modules``: every odd module on real Envoys of four releases, each first inspected. Writes docs/modules.md.

The exit status is 0 only when all Envoys did what the table says.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tests import odd_modules
from tests.edges import envoys, odd_envoy
from tests.edges.odd_envoy import ModuleSeen
from tests.modules import page

PAGE = Path(__file__).parents[2] / "docs" / "modules.md"


def main() -> None:
    """One version after the other; the page has what was seen, right or wrong."""
    began = time.monotonic()
    seen = {version: on(version) for version in envoys.MATRIX}
    does = {version: {name: one.does for name, one in found.items()} for version, found in seen.items()}
    PAGE.write_text(page.text(does), encoding="utf-8")
    pairs = [(version, odd) for version in seen for odd in odd_modules.ALL]
    wrong = [
        f"{one.name} on {version}" for version, one in pairs if not odd_envoy.is_as_told(one, seen[version][one.name])
    ]
    print("\n".join("WRONG: " + line for line in wrong))
    right = len(pairs) - len(wrong)
    print(f"modules: {right} of {len(pairs)} right, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(bool(wrong))


def on(version: str) -> dict[str, ModuleSeen]:
    """What this version does with each."""
    program, found = envoys.provide(version), dict[str, ModuleSeen]()
    for odd in odd_modules.ALL:
        with tempfile.TemporaryDirectory(prefix="pluginrelease-modules-") as folder:
            found[odd.name] = odd_envoy.load(program, Path(folder), odd)
    print(f"{version}: {len(found)} modules", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
