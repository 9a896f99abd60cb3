"""The transistor as data, and its two equations: potential to charge and current, charge to potential.

Names: `device.Device`, `geometry.CROSS_SECTIONS` and `Region`, `materials.MATERIALS`, `grid.Grid`, `charge.Negf`,
`poisson.Poisson`. A new material goes to `materials`, a new section to `geometry`.
May import `transport`.
"""
