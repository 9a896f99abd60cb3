"""Long runs: tasks on many processes or machines, and files that a killed run, a full disk or a second run do no harm.

Names: `workers.Workers` runs tasks, here or on a cluster of Dask; `folder.Folder` keeps files with a manifest and their
checksums; `journal.Journal` keeps rows. Knows no physics.
Imports `_common` and `_files` alone.
"""
