"""Learned guesses and their judgement: designs, data, networks' words for a device, training, comparison.

Names: `design.Design`, `generation.generate`, `dataset.cases` and `split`; `learned.LearnedGuess` and
`start_training.train`, from parameters; `rescale.rescale`, `slice_guess.SliceGuess` and `objective.train`, from slices;
`comparison.compare`, `scores.summarise`; the shipped weights in `weights`.
May import `scf`, `nanosheet`, `learning` and `runs`.
"""
