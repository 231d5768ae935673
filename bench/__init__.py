"""Measure this project in the lab, and compare it with work without it: ``make bench``."""
