"""Form factors fitted to bands: slopes against differences, and a formula found again."""

import numpy as np
import pytest
import torch

from mlnegf._common import Floats
from mlnegf.crystal.fitting import Target, fit
from mlnegf.crystal.form_factors import BOHR, HARTREE, NATURAL, FormFactors, FourParameters, LearnedFormFactors
from mlnegf.crystal.lattice import zinc_blende
from mlnegf.crystal.plane_waves import PlaneWaves, lowest

GALLIUM, ARSENIC = (50.77526879, 2.29527553, 3.72038796, 0.5916358), (25.80944629, 2.58859458, 1.58196225, 0.51424374)
GAAS = FourParameters({"Ga": GALLIUM, "As": ARSENIC})
K = np.array([[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.3, 0.1, 0.2], [0.5, 0.0, 0.5]])


def waved(species: str, q: torch.Tensor) -> torch.Tensor:
    """Form factors that the formula does not know."""
    size = NATURAL * (1.0 if species == "Ga" else -0.7)
    return GAAS(species, q) + size * torch.sin(4.0 * q * BOHR) * torch.exp(-((q * BOHR / 2) ** 2))


def target(cutoff: float = 4.0, bands: int = 8, factors: FormFactors = GAAS) -> Target:
    crystal = zinc_blende(10.683 * BOHR, "Ga", "As")
    waves = PlaneWaves.of(crystal, cutoff * HARTREE, K)
    energies = lowest(waves, waves.potential(factors), bands).detach().numpy()
    return Target(crystal, cutoff * HARTREE, K, energies, np.ones_like(energies))


def values(some: Target) -> dict[str, Floats]:
    lengths = torch.from_numpy(some.waves.shells[0])
    return {name: GAAS(name, lengths).detach().numpy() for name in some.waves.structure}


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
    model = FourParameters({"Ga": GALLIUM, "As": ARSENIC})
    with torch.no_grad():
        model.rows *= torch.tensor([[1.03], [0.98]])
    found = fit(model, [target(3.0)], 25)
    assert found[0] > 0.05
    assert found.min() < 1e-4


def test_a_network_starts_as_its_formula_and_reaches_what_the_formula_cannot() -> None:
    torch.manual_seed(0)
    shifted = target(3.0, factors=waved)
    rows = {"Ga": GALLIUM, "As": ARSENIC}
    formula, network = FourParameters(rows), LearnedFormFactors(rows, 8)
    q = torch.linspace(0.0, 6.0, 50, dtype=torch.float64) / BOHR
    for name in ("Ga", "As"):
        torch.testing.assert_close(network(name, q), GAAS(name, q))
    errors = [fit(model, [shifted], 15) for model in (formula, network)]
    assert errors[0][0] == pytest.approx(errors[1][0])
    assert errors[1].min() < 0.2 * errors[0].min()
    # Smooth, flat at zero, and gone beyond what it may change.
    zero = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network("Ga", zero), zero)
    assert abs(float(slope)) < 1e-10
    far = torch.tensor([6.5], dtype=torch.float64) / BOHR
    torch.testing.assert_close(network("Ga", far), network.formula("Ga", far), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Target(target().crystal, 100.0, K, np.zeros((3, 8)), np.ones((3, 8))), "k"),
        (lambda: Target(target().crystal, 100.0, K, np.zeros((4, 8)), -np.ones((4, 8))), "weights"),
        (lambda: Target(target().crystal, 20.0, K, np.zeros((4, 80)), np.ones((4, 80))), "cutoff"),
        (lambda: fit(GAAS, []), "targets"),
        (lambda: LearnedFormFactors({}), "start"),
        (lambda: LearnedFormFactors({"Ga": GALLIUM}, reach=-1.0), "reach"),
        (lambda: LearnedFormFactors({"Ga": GALLIUM})("As", torch.ones(1)), "species"),
    ],
)
def test_what_cannot_be_fitted_is_refused(make: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()  # type: ignore[operator]
