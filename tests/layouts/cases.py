"""The rows: every layout that people meet, made with what they make it with.

Sources of the layouts: the Wasm image specification (solo-io/wasm, spec/), the OCI image specification, Higress's image
specification and build tools (alibaba/higress, docs and hgctl), engineerd/wasm-to-oci, the CNCF's Wasm artifact
(tag-runtime.cncf.io, wgs/wasm/deliverables/wasm-oci-artifact) and the images that issues tell of.
"""

from __future__ import annotations

from tests.layouts import by_hand, by_tools, real_builds

CASES = [*by_tools.CASES, *by_hand.CASES, *real_builds.CASES]
