"""Form factors fitted to bands: slopes against differences, and a formula found again."""

import numpy as np
import pytest
import torch
from torch import nn

from mlnegf._common import Floats
from mlnegf.crystal.fitting import Target, fit
from mlnegf.crystal.form_factors import BOHR, HARTREE, NATURAL, FormFactors, FourParameters
from mlnegf.crystal.lattice import zinc_blende
from mlnegf.crystal.plane_waves import PlaneWaves, lowest
from mlnegf.learning.networks.form_factor import FormFactorNetwork

GALLIUM, ARSENIC = (50.77526879, 2.29527553, 3.72038796, 0.5916358), (25.80944629, 2.58859458, 1.58196225, 0.51424374)
GAAS = FourParameters({"Ga": GALLIUM, "As": ARSENIC})
K = np.array([[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.3, 0.1, 0.2], [0.5, 0.0, 0.5]])


class Formula(nn.Module):
    """Four parameters of each of two atoms."""

    def __init__(self, *rows: tuple[float, ...]) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows, dtype=torch.float64))

    def forward(self, species: str, q: torch.Tensor) -> torch.Tensor:
        a0, a1, a2, a3 = self.rows[("Ga", "As").index(species)]
        return a0 * (q**2 - a1) / (a2 * torch.exp(a3 * q**2) - 1)


def waved(species: str, q: torch.Tensor) -> torch.Tensor:
    """Form factors that the formula does not know."""
    size = NATURAL * (1.0 if species == "Ga" else -0.7)
    return GAAS(species, q) + size * torch.sin(4.0 * q * BOHR) * torch.exp(-((q * BOHR / 2) ** 2))


def target(cutoff: float = 4.0, bands: int = 8, factors: FormFactors = GAAS) -> Target:
    crystal = zinc_blende(10.683 * BOHR, "Ga", "As")
    waves = PlaneWaves.of(crystal, cutoff * HARTREE, K)
    energies = lowest(waves, waves.potential(factors), bands).numpy()
    return Target(crystal, cutoff * HARTREE, K, energies, np.ones_like(energies))


def values(some: Target) -> dict[str, Floats]:
    lengths = torch.from_numpy(some.shells[0])
    return {name: GAAS(name, lengths).numpy() for name in some.structure}


def test_bands_and_their_slopes() -> None:
    some = target()
    given = values(some)
    energies, slopes = some.solved(given)
    np.testing.assert_allclose(energies, some.energies, atol=1e-9)
    for name in given:
        for shell in (1, 3, 7):
            sides = []
            for step in (1e-3, -1e-3):
                moved = {**given, name: given[name].copy()}
                moved[name][shell] += step
                sides.append(some.solved(moved)[0])
            difference = (sides[0] - sides[1]) / 2e-3
            # Bands that touch share their slopes in no order.
            alone = np.ones(energies.shape, dtype=bool)
            alone[:, 1:] &= np.diff(energies) > 1e-3
            alone[:, :-1] &= np.diff(energies) > 1e-3
            np.testing.assert_allclose(slopes[name][..., shell][alone], difference[alone], atol=1e-8)
            np.testing.assert_allclose(slopes[name][..., shell].sum(1), difference.sum(1), atol=1e-7)


def test_a_formula_is_found_again() -> None:
    model = Formula(tuple(1.03 * value for value in GALLIUM), tuple(0.98 * value for value in ARSENIC))
    found = fit(model, [target(3.0)], 25)
    assert found.errors[0] > 0.05
    assert found.errors.min() < 1e-4


def test_a_network_starts_as_its_formula_and_reaches_what_the_formula_cannot() -> None:
    torch.manual_seed(0)
    shifted = target(3.0, factors=waved)
    formula, network = Formula(GALLIUM, ARSENIC), FormFactorNetwork({"Ga": GALLIUM, "As": ARSENIC}, 8)
    q = torch.linspace(0.0, 6.0, 50, dtype=torch.float64)
    for name in ("Ga", "As"):
        torch.testing.assert_close(network(name, q), GAAS(name, q / BOHR) / NATURAL)
    errors = [fit(model, [shifted], 15).errors for model in (formula, network)]
    assert errors[0][0] == pytest.approx(errors[1][0])
    assert errors[1].min() < 0.2 * errors[0].min()
    # Smooth, flat at zero, and gone beyond what it may change.
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network("Ga", zero), zero)
    assert abs(float(slope)) < 1e-10
    far = torch.tensor([6.5], dtype=torch.float64)
    row = network.formula.detach()[0].tolist()
    alone = FourParameters({"Ga": tuple(row)})("Ga", far / BOHR) / NATURAL
    torch.testing.assert_close(network("Ga", far).detach(), alone, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Target(target().crystal, 100.0, K, np.zeros((3, 8)), np.ones((3, 8))), "k"),
        (lambda: Target(target().crystal, 100.0, K, np.zeros((4, 8)), -np.ones((4, 8))), "weights"),
        (lambda: Target(target().crystal, 20.0, K, np.zeros((4, 80)), np.ones((4, 80))), "cutoff"),
        (lambda: fit(Formula(GALLIUM, ARSENIC), []), "targets"),
        (lambda: FormFactorNetwork({}), "start"),
        (lambda: FormFactorNetwork({"Ga": GALLIUM}, fade=-1.0), "fade"),
        (lambda: FormFactorNetwork({"Ga": GALLIUM})("As", torch.ones(1)), "species"),
    ],
)
def test_what_cannot_be_fitted_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
