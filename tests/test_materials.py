"""Materials, orientation, penetration, regions and polarity, each against something known beforehand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.sparse.linalg import eigsh

import mlnegf
from mlnegf.nanosheet.charge import Negf
from mlnegf.nanosheet.coupled import family_system, lattice_system
from mlnegf.nanosheet.device import Device
from mlnegf.nanosheet.geometry import Region
from mlnegf.nanosheet.materials import MATERIALS, SILICON, Material, Orientation, Silicon, Valley, oriented
from mlnegf.nanosheet.poisson import Poisson
from mlnegf.nanosheet.subbands import PADDING, kinetic_operator, potential_energy, transverse_basis
from mlnegf.transport.transmission import transmission
from mlnegf.units import CHARGE_OVER_EPSILON0, HBAR2_OVER_2M0

SMALL = Device(width=4.0, thickness=3.0, gate_length=8.0, source_length=6.0, drain_length=6.0, spacing=(0.25, 0.5, 0.5))


class TestOrientation:
    def test_along_110_the_four_in_plane_valleys_are_alike(self) -> None:
        """m_x = (m_l + m_t)/2, m_y = 2 m_l m_t/(m_l + m_t): textbook values for Si ⟨110⟩."""
        in_plane, out_of_plane = oriented(SILICON.electrons, ((1, 1, 0), (0, 0, 1)))
        assert in_plane.degeneracy == 4
        assert (in_plane.mass_x, in_plane.mass_y, in_plane.mass_z) == pytest.approx(
            ((0.91 + 0.19) / 2, 2 * 0.91 * 0.19 / 1.10, 0.19)
        )
        assert out_of_plane == Valley(0.19, 0.19, 0.91, 2)

    @pytest.mark.parametrize("orientation", [((1, 1, 1), (1, 1, -2)), ((1, 0, 0), (0, 1, 1)), ((1, 2, 3), (3, 0, -1))])
    def test_turning_keeps_the_density_of_states_mass(self, orientation: Orientation) -> None:
        """Det W, hence m_x/(W_yy W_zz − W_yz²), belongs to the valley, whatever the axes."""
        for valley in oriented(SILICON.electrons, orientation):
            across = 1 / (valley.mass_y * valley.mass_z) - valley.mixing**2
            assert across / valley.mass_x == pytest.approx(1 / (0.91 * 0.19 * 0.19))
        assert sum(valley.degeneracy for valley in oriented(SILICON.electrons, orientation)) == 6

    def test_mixing_has_the_matrix_elements_of_sines(self) -> None:
        """−ħ² W_yz ⟨1,1|∂_y∂_z|2,2⟩ on a rectangle, approached with second order."""
        errors = []
        for step in (0.5, 0.25, 0.125):
            grid = Device(width=4.0, thickness=3.0, spacing=(0.5, step, step)).grid
            straight, turned = (kinetic_operator(grid, Valley(1.0, 0.5, 0.3, 1, mixing)) for mixing in (0.0, 0.7))
            y, z = np.meshgrid(grid.y[grid.box[0]], grid.z[grid.box[1]], indexing="ij")
            one, two = ((np.sin(n * np.pi * (y / 4 + 0.5)) * np.sin(n * np.pi * (z / 3 + 0.5))).ravel() for n in (1, 2))
            element = one @ (turned - straight) @ two * step**2 / (4 * 3 / 4)
            # ∫ sin(πu) ∂ sin(2πu) du = −4/3 on each axis.
            exact = -HBAR2_OVER_2M0 * 2 * 0.7 * (-4 / 3) ** 2 / (4 * 3 / 4)
            errors.append(element - exact)
        assert np.log2(np.array(errors[:-1]) / errors[1:]) == pytest.approx(2.0, abs=0.1)

    def test_a_round_wire_does_not_know_how_its_section_is_turned(self) -> None:
        """The valley heavy along y, z along [001] or along [011]: the same levels, staircase or not."""
        for step in (0.25, 0.125, 0.0625):
            grid = Device(width=4.0, thickness=4.0, cross_section="ellipse", spacing=(0.5, step, step)).grid
            operators = [
                kinetic_operator(grid, oriented(SILICON.electrons, ((1, 0, 0), z))[1]) for z in ((0, 0, 1), (0, 1, 1))
            ]
            one, other = (eigsh(operator.tocsc(), k=1, sigma=0.0)[0][0] for operator in operators)
            assert other == pytest.approx(one, rel=4e-3)


class TestPenetration:
    def test_a_finite_well_has_the_textbook_s_level(self) -> None:
        """A layer between barriers: k tan(kd/2)/m = κ/m_b; across the layer the walls are hard."""
        errors = []
        for step in (0.25, 0.125, 0.0625):
            device = Device(width=4.0, thickness=3.0, oxide_thickness=2.0, spacing=(0.5, 0.5, step), penetration=True)
            layer = np.broadcast_to(abs(device.grid.z) < 1.5, device.grid.semiconductor.shape)
            grid = replace(device.grid, semiconductor=layer, barrier=np.where(layer, 0.0, 3.15))
            levels = np.linalg.eigvalsh(kinetic_operator(grid, Valley(1.0, 0.5, 0.19, 1)).toarray())
            cells = len(grid.y)
            along_y = 2 * HBAR2_OVER_2M0 / 0.5 / 0.5**2 * (1 - np.cos(np.pi / cells))
            errors.append(levels[0] - along_y - finite_well(0.19, 0.5, 3.15, 3.0, 2.0))
        # The wave falls off within 0.16 nm: below that the error is of second order, 1 meV of 84 at 0.06 nm.
        assert abs(errors[-1]) < 1.2e-3
        assert np.log2(errors[1] / errors[2]) == pytest.approx(2.0, abs=0.15)

    def test_levels_fall_and_charge_enters_the_oxide(self) -> None:
        hard, soft = (transverse_basis(replace(SMALL, penetration=choice)) for choice in (False, True))
        assert float(soft.energies.min()) < float(hard.energies.min())
        solution = mlnegf.solve(replace(SMALL, penetration=True), 0.3, 0.2)
        assert solution.converged
        oxide = ~SMALL.grid.semiconductor
        share = solution.charge[:, oxide].sum() / solution.charge.sum()
        assert 1e-3 < share < 0.2

    @pytest.mark.parametrize(
        "options",
        [
            {"penetration": True},
            {"orientation": ((1, 1, 1), (1, 1, -2))},
            {"regions": (Region("silicon germanium 30 %", x=(6, 14)),), "cross_section": "L"},
        ],
        ids=["penetration", "111", "regions"],
    )
    def test_with_all_functions_the_basis_is_the_lattice(self, options: dict[str, object]) -> None:
        device = Device(
            width=2.0,
            thickness=2.0,
            gate_length=2.0,
            source_length=6.0,
            drain_length=6.0,
            oxide_thickness=0.5,
            spacing=(0.5, 0.5, 0.5),
            **options,  # type: ignore[arg-type]
        )
        grid = device.grid
        bump = np.exp(-(((grid.x - 7.0) / 2) ** 2))[:, None, None]
        folded = grid.fold(0.3 - 0.2 * bump * (1 + 0.2 * grid.y[:, None] ** 2 + 0.1 * grid.z**2))
        basis = transverse_basis(device, 100)
        energies = torch.tensor([0.9, 1.4])
        systems = [
            family_system(basis, potential_energy(grid, folded), grid.dx, family)
            for family in range(len(basis.functions))
        ]
        from_basis = sum(
            float(g) * transmitted(system, energies) for g, system in zip(basis.degeneracy, systems, strict=True)
        )
        full = sum(
            valley.degeneracy * transmitted(lattice_system(device, valley, grid.unfold(folded)), energies)
            for valley in device.valleys
        )
        assert torch.allclose(torch.as_tensor(from_basis), torch.as_tensor(full), rtol=1e-9)


def transmitted(system: object, energies: torch.Tensor) -> torch.Tensor:
    return transmission(energies, system.diagonal, system.upper, system.left, system.right)  # type: ignore[attr-defined]


def finite_well(mass: float, barrier_mass: float, barrier: float, width: float, thickness: float) -> float:
    """Lowest even level of a well between barriers that end at hard walls."""

    def mismatch(energy: float) -> float:
        k = np.sqrt(energy * mass / HBAR2_OVER_2M0)
        decay = np.sqrt((barrier - energy) * barrier_mass / HBAR2_OVER_2M0)
        return float(k * np.tan(k * width / 2) / mass - decay / np.tanh(decay * thickness) / barrier_mass)

    return float(brentq(mismatch, 1e-6, HBAR2_OVER_2M0 / mass * (np.pi / width) ** 2 * (1 - 1e-9), xtol=1e-14))


class TestPolarity:
    def test_holes_are_electrons_in_a_mirror(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Mirror(Silicon):
            """Its electrons are the holes of silicon."""

            electrons = Silicon.holes

        monkeypatch.setitem(MATERIALS, "mirror", Mirror)
        electrons = mlnegf.solve(replace(SMALL, semiconductor="mirror", work_function=4.15), 0.4, 0.3)
        # The valence band lies 1.12 eV deeper: what is 0.1 eV above the one is 0.1 eV below the other.
        holes = mlnegf.solve(replace(SMALL, polarity="p", work_function=4.05 + 1.12 - 0.1), -0.4, -0.3)
        assert holes.converged
        assert (holes.gate, holes.drain) == (-0.4, -0.3)
        assert holes.current == pytest.approx(-electrons.current, rel=1e-9)
        assert np.allclose(holes.potential, -electrons.potential, atol=1e-9)
        assert np.allclose(holes.charge, electrons.charge)
        again = mlnegf.solve(holes.device, -0.4, -0.3, guess=holes)
        assert again.negf_solves == 1

    def test_a_sweep_of_a_p_device_extrapolates(self) -> None:
        table = mlnegf.sweep(replace(SMALL, polarity="p"), [-0.2, -0.25, -0.3], [-0.1])
        assert bool(table.converged.all())
        current = table.current.values[:, 0]
        assert (current < 0).all()
        assert (np.diff(current) < 0).all()
        assert int(table.charge_evaluations[2, 0]) <= int(table.charge_evaluations[0, 0])

    def test_barriers_of_the_oxide(self) -> None:
        """Silicon and its oxide: 3.15 eV for electrons, 4.7 eV for holes, within what is measured."""
        oxide = MATERIALS["silicon dioxide"]
        assert Device().band_edge(oxide) == pytest.approx(3.15)
        assert Device(polarity="p").band_edge(oxide) == pytest.approx(4.73)


def test_a_material_is_one_class() -> None:
    assert MATERIALS is Material.variants
    assert SILICON is MATERIALS["silicon"]
    assert {name: material.name for name, material in MATERIALS.items()} == {name: name for name in MATERIALS}
    table = {
        name: (found.permittivity, found.affinity, found.gap, found.tunnel_mass) for name, found in MATERIALS.items()
    }
    assert (
        table.items()
        >= {
            "silicon": (11.7, 4.05, 1.12, 1.0),
            "silicon germanium 30 %": (13.0, 4.03, 0.92, 1.0),
            "indium gallium arsenide": (13.9, 4.5, 0.74, 1.0),
            "silicon dioxide": (3.9, 0.9, 9.0, 0.5),
            "silicon nitride": (7.5, 2.1, 5.1, 0.4),
            "hafnium dioxide": (22.0, 2.5, 5.7, 0.2),
        }.items()
    )
    assert MATERIALS["silicon germanium 30 %"].electrons == SILICON.electrons


@pytest.mark.parametrize(
    ("attribute", "value", "words"),
    [
        ("permittivity", "16", "Wrong: permittivity = '16', expected a number, 1 or more"),
        ("gap", -1.0, "Wrong: gap = -1.0"),
        ("electrons", (Valley(1, 1, 1, 1, mixing=2.0),), "Wrong: electrons = .*without mixing"),
        ("holes", 0.3, "Wrong: holes = 0.3, expected a tuple of Valley"),
    ],
)
def test_a_material_out_of_range_names_what_is_wrong(attribute: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        type("Wrong", (Silicon,), {attribute: value})


def test_no_mass_is_negative() -> None:
    with pytest.raises(ValueError, match=r"Valley: mass_y = -0.2, expected a positive number"):
        Valley(0.2, -0.2, 0.2, 1)


def test_a_material_that_forgets_its_gap_says_so() -> None:
    with pytest.raises(TypeError, match=r"Half: \['gap'\] undeclared"):

        class Half(Material):
            """No gap."""

            permittivity, affinity = 3.0, 4.0


class TestRegions:
    def test_a_region_of_the_same_material_changes_nothing(self) -> None:
        same = replace(SMALL, regions=(Region("silicon", x=(3, 9)), Region("silicon dioxide")))
        one, other = mlnegf.solve(SMALL, 0.3, 0.2), mlnegf.solve(same, 0.3, 0.2)
        assert other.current == pytest.approx(one.current, rel=1e-9)

    def test_two_layers_are_capacitors_in_series(self) -> None:
        sheet = Device(
            gate_length=40.0,
            width=40.0,
            thickness=2.0,
            source_length=2.0,
            drain_length=2.0,
            spacing=(1.0, 1.0, 0.25),
            regions=(Region("hafnium dioxide", z=(1.5, 2.0)), Region("hafnium dioxide", z=(-2.0, -1.5))),
        )
        poisson, grid = Poisson.of(sheet), sheet.grid
        inside = np.zeros(poisson.donors.shape)
        inside[:, grid.channel_cells] = 1e-2
        field = grid.unfold(poisson.screened(np.zeros(inside.shape)).solve(poisson.source * inside, 1e-12))
        middle = field[len(grid.x) // 2, len(grid.y) // 2][grid.box[1]]
        inner = 1.0 - 0.125
        drops = 1e-2 * 2.0 / 2 * (0.5 / 3.9 + 0.5 / 22.0), 1e-2 * (1.0 - inner**2) / 2 / 11.7
        assert middle[0] == pytest.approx(CHARGE_OVER_EPSILON0 * sum(drops), rel=5e-3)

    def test_a_band_edge_shifts_every_level_of_its_slices(self) -> None:
        raised = replace(SMALL, regions=(Region("silicon germanium 30 %", x=(6, 14)),))
        potential = np.full((len(SMALL.grid.x), len(SMALL.grid.images)), 0.1)
        plain, shifted = (Negf.of(device)(potential, 0.1).subbands.energies for device in (SMALL, raised))
        assert (plain[:, 0] == PADDING).any(), "smaller families are padded, and padding has no level to shift"
        difference = (shifted - plain).numpy().transpose(0, 2, 1)[plain[:, 0].numpy() < PADDING].T[None]
        under = (SMALL.grid.x > 6) & (SMALL.grid.x < 14)
        assert np.allclose(difference[:, under], 4.05 - 4.03)
        assert np.allclose(difference[:, ~under], 0.0)

    @pytest.mark.parametrize(
        ("region", "words"),
        [
            ({"material": "cheese"}, "Region: material = 'cheese'"),
            ({"material": "silicon", "x": (4, 2)}, r"Region: x = \(4, 2\)"),
            ({"material": "indium gallium arsenide"}, "regions = 'indium gallium arsenide'.*masses"),
            ({"material": "silicon", "x": (50, 60)}, "holds no cell"),
        ],
    )
    def test_bad_regions_are_named(self, region: dict[str, object], words: str) -> None:
        with pytest.raises(ValueError, match=words):
            Device(regions=({**region},)).grid  # noqa: B018


class TestMasks:
    def test_a_mask_is_the_shape_it_draws(self) -> None:
        mask = np.array([[True, True, True, True], [True, True, False, False]])
        drawn = Device(width=4.0, thickness=4.0, cross_section=mask, spacing=(0.5, 0.25, 0.25))
        named = replace(drawn, cross_section="L")
        assert (drawn.grid.semiconductor == named.grid.semiconductor).all()
        assert Device(**drawn.to_dict()) == drawn
        assert hash(drawn)

    def test_sections_end_where_the_oxide_begins(self) -> None:
        for shape in ("L", "T", "trapezoid", "rounded"):
            grid = Device(width=4.0, thickness=4.0, cross_section=shape).grid
            y, z = np.meshgrid(grid.y, grid.z, indexing="ij")
            assert not grid.semiconductor[np.maximum(abs(y), abs(z)) > 2.0].any(), shape

    def test_two_sheets_conduct_twice(self) -> None:
        """Far apart, two sheets share nothing but their contacts."""
        sheet = replace(SMALL, thickness=3.0, oxide_thickness=1.0)
        pair = replace(sheet, thickness=8.0, cross_section=np.array([[1, 1, 1, 0, 0, 1, 1, 1]], dtype=bool))
        potential = np.linspace(0.3, 0.4, len(SMALL.grid.x))[:, None]
        one, two = (Negf.of(d)(potential * np.ones(len(d.grid.images)), 0.2).current for d in (sheet, pair))
        assert two == pytest.approx(2 * one, rel=1e-6)


@pytest.mark.parametrize("temperature", [4.2, 30.0])
def test_cold_devices_converge(temperature: float) -> None:
    solution = mlnegf.solve(replace(SMALL, temperature=temperature), 0.4, 0.3)
    warm = mlnegf.solve(replace(SMALL, temperature=60.0), 0.4, 0.3)
    assert solution.converged
    assert solution.current == pytest.approx(warm.current, rel=0.02)


def test_a_cold_uniform_wire_holds_what_its_density_of_states_says() -> None:
    """At 4.2 K n = Σ g k_F/π with k_F from each level below the Fermi level, the lattice's dispersion included."""
    cold = replace(SMALL, temperature=4.2)
    charge = Negf.of(cold)(np.full((len(cold.grid.x), len(cold.grid.images)), 0.6), 0.0)
    depth = -charge.lines.chains.onsite[:, 0]
    filled = depth > 0
    phase = torch.arccos(1 - depth[filled] / (2 * charge.lines.chains.hopping[filled]))
    exact = charge.lines.chains.degeneracy[filled] * phase / torch.pi / cold.grid.dx
    assert torch.allclose(charge.line_density[filled].mean(-1), exact, rtol=2e-4)
