"""From the first charge to a learned guess, and its judgement: data, slices, objective, guess, comparison.

Names: `dataset.PROFILES`, `cases` and `split`, `generation.generate`, `samples.first_iteration`, `rescale.rescale`,
`objective.train`, `learned.LearnedGuess`, `comparison.compare`, `scores.summarise`; the shipped weights in `weights`.
May import `scf`, `nanosheet` and `learning`.
"""
