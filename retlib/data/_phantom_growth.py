"""How vessels of a synthetic eye grow: steered to their goal, shunning their own kind, crossing the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from retlib.data._phantom_tree import Anatomy, Bool, Branch, Complex, Float

_CELL = 0.01  # edge of one cell of the occupancy grid
_HALF = 115  # cells from the centre of that grid to its edge
_COARSE = 2  # cells of the occupancy grid per cell of the crowding map


@dataclass(frozen=True)
class Buds:
    """Branches about to grow, as parallel arrays; ``root`` is the radius expected, ``length`` the length allowed."""

    at: Complex
    heading: Complex
    root: Float
    portion: Float
    vein: Bool
    parent: NDArray[np.int64]
    node: NDArray[np.int64]
    length: Float

    def take(self, chosen: NDArray) -> Buds:
        """The buds at these indices."""
        return Buds(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


class Occupancy:
    """Which branch of either kind passes through a cell, its direction there, and how crowded the place is."""

    def __init__(self, anatomy: Anatomy) -> None:
        size = 2 * _HALF + 1
        self.owner = np.full((2, size, size), -1, dtype=np.int64)
        self.heading = np.zeros((2, size, size), dtype=np.complex128)
        self._issued = 0
        offsets = np.arange(-1, 2)
        self._rows, self._columns = (o.ravel() for o in np.meshgrid(offsets, offsets, indexing="ij"))
        axis = (np.arange(size // _COARSE) - (size // _COARSE - 1) / 2) * _CELL * _COARSE
        place = axis[None, :] + 1j * axis[:, None]
        self._disc = 0.6 * np.exp(-((np.abs(place - anatomy.disc) / (1.1 * anatomy.disc_radius)) ** 2))
        self.refresh()

    @staticmethod
    def cell(at: Complex) -> tuple[NDArray, NDArray]:
        """Row and column of the cell at a position."""
        last = 2 * _HALF - 1
        row = np.rint(at.imag / _CELL).astype(np.int64) + _HALF
        column = np.rint(at.real / _CELL).astype(np.int64) + _HALF
        # np.clip is several times slower on arrays as short as these.
        return np.minimum(np.maximum(row, 1), last), np.minimum(np.maximum(column, 1), last)

    def issue(self, count: int) -> NDArray:
        """Numbers under which so many new branches own cells."""
        self._issued += count
        return np.arange(self._issued - count, self._issued)

    def mark(self, at: Complex, heading: Complex, vein: Bool, owner: NDArray) -> None:
        """Let these branches own the cells around these positions."""
        row, column = self.cell(at)
        kind = vein.astype(np.int64)[:, None]
        where = kind, row[:, None] + self._rows, column[:, None] + self._columns
        self.owner[where] = owner[:, None]
        self.heading[where] = heading[:, None]

    def refresh(self) -> None:
        """Recompute the crowding maps and their gradients from the cells owned now."""
        usable = (2 * _HALF + 1) // _COARSE * _COARSE
        taken = (self.owner[:, :usable:_COARSE, :usable:_COARSE] >= 0).astype(float)
        crowd = np.stack([gaussian_filter(t, 2.5, truncate=2.5) for t in taken]) + self._disc
        # An artery shuns arteries much more than it shuns veins, and the other way round.
        self.crowding = crowd + 0.45 * crowd[::-1]
        down, right = np.gradient(self.crowding, _CELL * _COARSE, axis=(1, 2))
        self.slope = right + 1j * down

    def look(self, table: NDArray, at: Complex, vein: Bool) -> NDArray:
        """Value of a crowding map at positions, for the kind of vessel given."""
        row, column = self.cell(at)
        last = table.shape[1] - 1
        return table[vein.astype(np.int64), np.minimum(row // _COARSE, last), np.minimum(column // _COARSE, last)]


def grow(rng: np.random.Generator, anatomy: Anatomy, buds: Buds, occupancy: Occupancy) -> list[Branch]:
    """Let all buds grow in lockstep; one that meets its own kind, the fovea, the disc or the edge stops there.

    Inside the arcades vessels head for the fovea (beyond it, for the horizontal raphe); outside, for the periphery.
    """
    step, n = anatomy.step, len(buds.at)
    steps = int(np.ceil(buds.length.max() / step))
    path = np.empty((steps + 1, n), dtype=np.complex128)
    path[0] = buds.at
    count = np.ones(n, dtype=np.int64)
    at, heading = buds.at.copy(), buds.heading.copy()
    owner = occupancy.issue(n)
    halt = anatomy.avascular * rng.uniform(1.0, 1.7, n)
    bend = rng.normal(0, 1, n)
    kick = rng.standard_normal((steps, n))
    inward = (np.conj(heading) * (goal(at, anatomy) - at)).real > 0
    total = np.zeros(n)  # angle turned since the start
    alive = np.ones(n, dtype=bool)
    free = max(2, int(0.035 / step))  # steps in which a bud may still touch the vessel it leaves
    memory = np.exp(-step / 0.045)
    for t in range(steps):
        outward = (at - anatomy.fovea) / np.abs(at - anatomy.fovea) + (at - anatomy.disc) / np.abs(at - anatomy.disc)
        pull = np.where(inward, goal(at, anatomy) - at, outward)
        steer = 2.6 * (np.conj(heading) * pull).imag / np.maximum(np.abs(pull), 1e-9)
        slope = occupancy.look(occupancy.slope, at + 0.03 * heading, buds.vein)
        shun = np.clip(-1.6 * (np.conj(heading) * slope).imag, -5, 5)
        bend = memory * bend + np.sqrt(1 - memory**2) * kick[t]
        unroll = -12 * np.sign(total) * np.maximum(0.0, np.abs(total) - 0.9)  # vessels do not curl up
        turn = np.clip(step * (steer + shun + unroll + 8.0 * anatomy.tortuosity * bend), -0.4, 0.4)
        total += turn
        heading = heading * np.exp(1j * turn)
        heading /= np.abs(heading)
        if t >= free:
            alive &= _clear(occupancy, at + 0.024 * heading, heading, buds, owner)
        alive &= (t * step < buds.length) & (np.abs(at) < 1.02)
        alive &= (np.abs(at - anatomy.fovea) > halt) & (np.abs(at - anatomy.disc) > 0.8 * anatomy.disc_radius)
        if not alive.any():
            break
        at = np.where(alive, at + step * heading, at)
        path[t + 1] = at
        count += alive
        occupancy.mark(at[alive], heading[alive], buds.vein[alive], owner[alive])
        if t % 12 == 11:
            occupancy.refresh()
    grown = []
    for i in range(n):
        wide, reached = buds.root[i] > 1.3 * anatomy.narrowest, count[i] * step / buds.length[i]
        complete = reached > 0.98 or abs(path[count[i] - 1, i]) > 1.0
        if count[i] * step < 0.05 or (wide and not complete and reached < 0.4):  # stunted
            continue
        fork = bool(wide and complete)
        origin = int(buds.parent[i]), int(buds.node[i])
        grown.append(Branch(path[: count[i], i], float(buds.portion[i]), bool(buds.vein[i]), *origin, fork))
    return grown


def goal(at: Complex, anatomy: Anatomy) -> Complex:
    """Point that a vessel inside the arcades heads for: the fovea, or the raphe temporal to it."""
    axis = (anatomy.fovea - anatomy.disc) / abs(anatomy.fovea - anatomy.disc)
    beyond = (np.conj(axis) * (at - anatomy.fovea)).real
    return anatomy.fovea + axis * np.maximum(0.0, beyond + 0.1 * (beyond > 0))


def _clear(occupancy: Occupancy, ahead: Complex, heading: Complex, buds: Buds, owner: NDArray) -> Bool:
    """Whether the way ahead is free: own kind never met, the other kind crossed at a steep angle only."""
    row, column = occupancy.cell(ahead)
    kind = buds.vein.astype(np.int64)
    same = occupancy.owner[kind, row, column]
    other = occupancy.owner[1 - kind, row, column] >= 0
    slant = np.abs((np.conj(occupancy.heading[1 - kind, row, column]) * heading).imag)
    return ((same < 0) | (same == owner)) & (~other | (slant > 0.5))
