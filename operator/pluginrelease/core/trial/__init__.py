"""A trial: an Envoy that serves no client runs a revision before any gateway receives it.

Pure: `layout` makes every file, `plan` is what the driver needs to know, `verdict` judges what the driver saw. The
signs are those of the gateways (`core.gateway`). `edges.trial` starts Envoy and asks it.
"""
