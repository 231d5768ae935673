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
from tests.modules import page
from tests.odd_modules import Does

PAGE = Path(__file__).parents[2] / "docs" / "modules.md"


def main() -> None:
    """One version after the other; the page has what was seen, right or wrong."""
    began = time.monotonic()
    seen = {version: on(version) for version in envoys.MATRIX}
    PAGE.write_text(page.text(seen), encoding="utf-8")
    pairs = [(version, one) for version in seen for one in odd_modules.ALL]
    wrong = [f"{one.name} on {version}" for version, one in pairs if seen[version][one.name] is not one.does]
    print("\n".join("WRONG: " + one for one in wrong))
    right = len(pairs) - len(wrong)
    print(f"modules: {right} of {len(pairs)} right, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(bool(wrong))


def on(version: str) -> dict[str, Does]:
    """What this version does with each."""
    program, found = envoys.provide(version), dict[str, Does]()
    for one in odd_modules.ALL:
        with tempfile.TemporaryDirectory(prefix="pluginrelease-modules-") as folder:
            found[one.name] = odd_envoy.load(program, Path(folder), one).does
    print(f"{version}: {len(found)} modules", file=sys.stderr, flush=True)
    return found


if __name__ == "__main__":
    main()
