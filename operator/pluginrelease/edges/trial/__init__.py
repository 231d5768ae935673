"""The driver of a trial: starts an Envoy that serves no client, moves files to it, sends requests, and watches it."""
