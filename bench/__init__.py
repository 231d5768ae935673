"""Figures of this project against what people do without it, measured on the lab: ``make bench``."""
