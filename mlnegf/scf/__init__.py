"""Until the two equations agree: the problem at one bias, guesses, schemes, the loop, sweeps.

Names: `solve.solve`, `solve.Solution`, `coupling.coupling`, `sweep.sweep`, `guesses.GUESSES`, `schemes.SCHEMES`,
`spectrum.spectrum`. A new guess goes to `guesses`, a new scheme to `schemes`.
May import `nanosheet`, `transport` and `runs`.
"""
