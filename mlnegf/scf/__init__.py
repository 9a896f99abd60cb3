"""Until the two equations agree: the problem at one bias, guesses, schemes, the loop, sweeps.

Names: `solve.solve`, `solve.Solution`, `coupling.coupling`, `sweep.sweep`, `spectrum.spectrum`, `guesses.GUESSES`,
`schemes.SCHEMES`, `inputs.INPUTS`, `sensitivity.sensitivity`, `differentiable.differentiable`. A new guess goes to
`guesses`, a new scheme to `schemes`. May import `nanosheet`, `transport` and `runs`.
"""
