"""The steps of a release. Each step runs here as in the workflow, and is tested offline."""
