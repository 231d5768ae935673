"""PluginRelease: a WebAssembly plugin, from an image to seen running in every Envoy gateway pod."""

__version__ = "0.1.0"
