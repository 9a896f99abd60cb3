"""Crystals by plane waves: bands from form factors, form factors from networks, and what a point's surroundings say.

Lengths in ångström, energies in eV. Imports `learning` and `runs`.
"""
