"""Wires of metal atoms: how they stretch, what they conduct, and what the neighbours of an atom say about it.

Lengths in ångström, energies in eV, as throughout the field of atoms. Imports `transport`, `learning` and `runs`.
"""
