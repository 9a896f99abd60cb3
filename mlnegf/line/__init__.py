"""One or two electrons on a line: exact densities, the potentials that belong to them, and their motion in time.

Atomic units throughout: energies in Hartree, lengths in Bohr radii. Imports `learning`.
"""
