"""PluginRelease: bring a WebAssembly plugin from an image to running, as observed in every Envoy gateway pod."""

__version__ = "0.1.0"
