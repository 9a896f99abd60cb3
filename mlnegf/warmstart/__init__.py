"""From the first charge to a learned guess, and its judgement: data, slices, objective, guess, comparison.

Names: `dataset.PROFILES`, `cases` and `split`, `generation.generate`, `rescale.rescale`, `objective.train`,
`learned.LearnedGuess`, `comparison.compare`, `scores.summarise`; the shipped weights lie in `weights`.
May import `scf`, `nanosheet` and `learning`.
"""
