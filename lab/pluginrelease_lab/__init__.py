"""The lab: a real control plane, a registry, istiod and Istio gateways on one Linux machine, without containers.

>>> import pluginrelease_lab as lab
>>> with lab.up(gateways=2) as running:
...     running.request(address_of_a_gateway_pod, 8080, "/").status
"""

from pluginrelease_lab.errors import LabError
from pluginrelease_lab.host import HTTPAnswer, Lab, attach, down, state_directory, up

__all__ = ["HTTPAnswer", "Lab", "LabError", "attach", "down", "state_directory", "up"]
