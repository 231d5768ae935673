"""A plugin that does nothing, with which a trial without a stable revision begins.

It proves that this Envoy runs plugins at all. It also starts V8 before Envoy starts its workers. The V8 of Envoy before
1.38 guards its code by a protection key, if the processor has them (pku in /proc/cpuinfo). Older threads cannot read
such code, so Envoy ends by SIGSEGV with the first plugin that it receives after its start, whichever it is.
"""

from __future__ import annotations

import hashlib

from pluginrelease.core.gateway.identity import DesiredPlugin
from pluginrelease.core.trial.revisions import TrialRevision

# Exports proxy_abi_version_0_2_1 and proxy_on_memory_allocate, which returns 0, and a memory of one page.
CONTENT = bytes.fromhex(
    "0061736d0100000001090260000060017f017f02010003030200010503010001073f031770726f78795f6162695f7665"
    "7273696f6e5f305f325f3100001870726f78795f6f6e5f6d656d6f72795f616c6c6f636174650001066d656d6f727902"
    "000a090202000b040041000b"
)
# the first Envoy whose V8 does without protection keys
PKU_SAFE_SINCE = (1, 38)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def make() -> TrialRevision:
    """Return the control plugin as a revision."""
    wanted = DesiredPlugin("trial", "control", DIGEST, None, "FAIL_CLOSE")
    return TrialRevision(wanted, "trial.control", "trial.control", size=len(CONTENT))
