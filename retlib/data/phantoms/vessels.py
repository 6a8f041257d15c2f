"""Growth of the vessels of a synthetic eye: side branches of side branches, and fine vessels where room is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from retlib.data.phantoms.tree import Anatomy, Bool, Branch, Complex, Float, covered, draw_trunks, headings, set_radii

DISTINCT = 0.93  # part of the area of all vessels that is left when overlaps count once
_CELL = 0.01  # edge of one cell of the occupancy grid
_HALF = 115  # cells from the centre of that grid to its edge
_COARSE = 2  # cells of the occupancy grid per cell of the crowding map


def grow_tree(rng: np.random.Generator, anatomy: Anatomy) -> list[Branch]:
    """Grow arteries and veins of one eye, main vessels first, with radii by Murray's law; parents come first."""
    branches = draw_trunks(rng, anatomy)
    set_radii(branches, anatomy)
    occupancy = Occupancy(anatomy)
    for number, branch in zip(occupancy.issue(len(branches)), branches, strict=True):
        nodes = len(branch.path)
        occupancy.mark(branch.path, headings(branch.path), np.full(nodes, branch.vein), np.full(nodes, number))
    first = 0
    for generation in range(5):
        occupancy.refresh()
        buds = _side_branches(rng, anatomy, branches, first, occupancy, generation)
        first = len(branches)
        if buds is None:
            break
        branches += _grow(rng, anatomy, buds, occupancy)
        set_radii(branches, anatomy)
    for part in (0.3, 0.4, 0.6, 1.0, 1.0):
        occupancy.refresh()
        buds = _fine_branches(rng, anatomy, branches, occupancy, part)
        if buds is None:
            break
        branches += _grow(rng, anatomy, buds, occupancy)
        set_radii(branches, anatomy)
    # Scale all widths, within the variation from eye to eye, to reach the vessel share that growth alone missed.
    factor = np.clip(anatomy.share / (DISTINCT * covered(branches)), 0.8, 1.25)
    for branch in branches:
        branch.radius = np.maximum(factor * branch.radius, anatomy.narrowest)
    return branches


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
        """Select the buds at these indices."""
        return Buds(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


class Occupancy:
    """Grid of the branch of either kind that passes through a cell, its direction there, and the crowding around."""

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
        """Compute row and column of the cell at each position."""
        last = 2 * _HALF - 1
        row = np.rint(at.imag / _CELL).astype(np.int64) + _HALF
        column = np.rint(at.real / _CELL).astype(np.int64) + _HALF
        # np.clip is several times slower on arrays as short as these.
        return np.minimum(np.maximum(row, 1), last), np.minimum(np.maximum(column, 1), last)

    def issue(self, count: int) -> NDArray:
        """Return numbers under which so many new branches own cells."""
        self._issued += count
        return np.arange(self._issued - count, self._issued)

    def mark(self, at: Complex, heading: Complex, vein: Bool, owner: NDArray) -> None:
        """Give the cells around these positions to these branches."""
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
        # An artery avoids arteries much more than it avoids veins, and the other way round.
        self.crowding = crowd + 0.45 * crowd[::-1]
        down, right = np.gradient(self.crowding, _CELL * _COARSE, axis=(1, 2))
        self.slope = right + 1j * down

    def look(self, table: NDArray, at: Complex, vein: Bool) -> NDArray:
        """Read a crowding map at positions, for the kind of vessel given."""
        row, column = self.cell(at)
        last = table.shape[1] - 1
        return table[vein.astype(np.int64), np.minimum(row // _COARSE, last), np.minimum(column // _COARSE, last)]

    def clear(self, ahead: Complex, heading: Complex, vein: Bool, owner: NDArray) -> Bool:
        """Test whether the way ahead is free: own kind never met, the other kind crossed at a steep angle only."""
        row, column = self.cell(ahead)
        kind = vein.astype(np.int64)
        same = self.owner[kind, row, column]
        other = self.owner[1 - kind, row, column] >= 0
        slant = np.abs((np.conj(self.heading[1 - kind, row, column]) * heading).imag)
        return ((same < 0) | (same == owner)) & (~other | (slant > 0.5))


def _grow(rng: np.random.Generator, anatomy: Anatomy, buds: Buds, occupancy: Occupancy) -> list[Branch]:
    """Grow all buds in lockstep; one that meets its own kind, the fovea, the disc or the edge stops there.

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
    inward = (np.conj(heading) * (_goal(at, anatomy) - at)).real > 0
    total = np.zeros(n)  # angle turned since the start
    alive = np.ones(n, dtype=bool)
    free = max(2, int(0.035 / step))  # steps in which a bud may still touch the vessel it leaves
    memory = np.exp(-step / 0.045)
    for t in range(steps):
        outward = (at - anatomy.fovea) / np.abs(at - anatomy.fovea) + (at - anatomy.disc) / np.abs(at - anatomy.disc)
        pull = np.where(inward, _goal(at, anatomy) - at, outward)
        steer = 2.6 * (np.conj(heading) * pull).imag / np.maximum(np.abs(pull), 1e-9)
        slope = occupancy.look(occupancy.slope, at + 0.03 * heading, buds.vein)
        avoid = np.clip(-1.6 * (np.conj(heading) * slope).imag, -5, 5)
        bend = memory * bend + np.sqrt(1 - memory**2) * kick[t]
        unroll = -12 * np.sign(total) * np.maximum(0.0, np.abs(total) - 0.9)  # vessels do not curl up
        turn = np.clip(step * (steer + avoid + unroll + 8.0 * anatomy.tortuosity * bend), -0.4, 0.4)
        total += turn
        heading = heading * np.exp(1j * turn)
        heading /= np.abs(heading)
        if t >= free:
            alive &= occupancy.clear(at + 0.024 * heading, heading, buds.vein, owner)
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


def _goal(at: Complex, anatomy: Anatomy) -> Complex:
    """Find the point that a vessel inside the arcades heads for: the fovea, or the raphe temporal to it."""
    axis = (anatomy.fovea - anatomy.disc) / abs(anatomy.fovea - anatomy.disc)
    beyond = (np.conj(axis) * (at - anatomy.fovea)).real
    return anatomy.fovea + axis * np.maximum(0.0, beyond + 0.1 * (beyond > 0))


def _side_branches(
    rng: np.random.Generator,
    anatomy: Anatomy,
    branches: list[Branch],
    first: int,
    occupancy: Occupancy,
    generation: int,
) -> Buds | None:
    """Place side branches along the branches from index ``first`` on, and the two ends of those that fork."""
    rows: list[tuple] = []
    for index in range(first, len(branches)):
        branch = branches[index]
        heading = headings(branch.path)
        left = branch.radius[0]
        node = int((0.17 if generation == 0 else 0.035) / anatomy.step * rng.uniform(0.9, 1.6))
        sign = 1 if rng.random() < 0.5 else -1
        while node < len(branch.path) - 3 and left > 1.25 * anatomy.narrowest:
            big = generation == 0 and rng.random() < 0.28
            ratio = rng.uniform(0.62, 0.82) if big else rng.uniform(0.36, 0.68) + 0.1 * min(generation, 2)
            root = max(ratio * left, anatomy.narrowest * rng.uniform(1.0, 1.2))
            ahead = np.array([branch.path[node] + 1j * sign * 0.08 * heading[node]])
            crowded = occupancy.look(occupancy.crowding, ahead, np.array([branch.vein]))[0]
            if root < 0.9 * left and (big or crowded < 0.34):
                # Wide daughters leave at a small angle, fine ones almost at right angles.
                angle = np.deg2rad(82 - 45 * root / left + rng.normal(0, 8))
                turn = heading[node] * np.exp(1j * sign * angle)
                rows.append((branch.path[node], turn, root, (root / left) ** 3, branch.vein, index, node))
                left = (left**3 - root**3) ** (1 / 3)
            gap = rng.exponential(0.06) + (0.05 if generation == 0 else 0.08)
            node += max(2, int(gap / anatomy.step))
            sign = -sign if rng.random() < 0.7 else sign
        if branch.fork and left > 1.15 * anatomy.narrowest:
            share, last = rng.uniform(0.3, 0.7), len(branch.path) - 1
            for part, portion, angle in ((share, share, -1.0), (1 - share, 1.0, 1.0)):
                root = max(left * part ** (1 / 3), anatomy.narrowest)
                angle *= np.deg2rad(22 + 40 * (1 - part) + rng.normal(0, 5))
                turn = heading[last] * np.exp(1j * angle)
                rows.append((branch.path[last], turn, root, portion, branch.vein, index, last))
        else:
            branch.fork = False
    if not rows:
        return None
    at, heading, root, portion, vein, parent, node = (np.array(column) for column in zip(*rows, strict=True))
    length = _reach(rng, anatomy, root)
    if generation == 0:  # the macula is supplied by branches of the arcades that run all the way
        way = _goal(at, anatomy) - at
        inward = (np.conj(heading) * way).real > 0.5 * np.abs(way)
        far = np.abs(way) * rng.uniform(0.35, 0.9, len(at))
        length = np.where(inward, np.maximum(length, far), length)
    buds = Buds(at, heading, root, portion, vein, parent, node, length)
    # Not from the disc itself, and not where the FOV ends.
    keep = (np.abs(at) < 0.99) & (np.abs(at - anatomy.disc) > 0.9 * anatomy.disc_radius)
    return buds.take(np.nonzero(keep)[0]) if keep.any() else None


def _fine_branches(
    rng: np.random.Generator, anatomy: Anatomy, branches: list[Branch], occupancy: Occupancy, part: float
) -> Buds | None:
    """Place fine branches in the emptiest places: a part of what the vessel share still lacks."""
    lacking = (anatomy.share - DISTINCT * covered(branches)) * np.pi
    twig = 2.1 * anatomy.narrowest * 0.15  # area of an average one
    needed = int(part * lacking / twig)
    if needed < 1:
        return None
    sizes = [len(branch.path) for branch in branches]
    owner, start = np.repeat(np.arange(len(branches)), sizes), np.cumsum(sizes) - sizes
    path, radius = (np.concatenate([getattr(branch, name) for branch in branches]) for name in ("path", "radius"))
    node = np.arange(len(path)) - start[owner]
    fit = (radius > 1.15 * anatomy.narrowest) & (node > 2) & (node < np.array(sizes)[owner] - 3)
    fit &= (np.abs(path - anatomy.disc) > 0.2) & (np.abs(path) < 0.98)
    if not fit.any():
        return None
    chosen = rng.choice(np.nonzero(fit)[0], 60 + 4 * needed)
    at, here, tangent = path[chosen], radius[chosen], path[chosen + 1] - path[chosen - 1]
    angle = np.deg2rad(rng.uniform(50, 85, len(chosen))) * np.where(rng.random(len(chosen)) < 0.5, 1, -1)
    root = np.minimum(0.8 * here, anatomy.narrowest * rng.uniform(1.0, 2.2, len(chosen)))
    root = np.maximum(root, anatomy.narrowest)
    heading = tangent / np.abs(tangent) * np.exp(1j * angle)
    vein = np.array([branch.vein for branch in branches])[owner[chosen]]
    length = _reach(rng, anatomy, root)
    buds = Buds(at, heading, root, (root / here) ** 3, vein, owner[chosen], node[chosen], length)
    ahead = sum(occupancy.look(occupancy.crowding, buds.at + far * buds.heading, buds.vein) for far in (0.08, 0.2))
    emptiest = np.argsort(ahead - 0.08 * buds.root / anatomy.narrowest, kind="stable")[:needed]
    # A wide branch stands for several fine ones.
    enough = np.searchsorted(np.cumsum((buds.root[emptiest] / anatomy.narrowest) ** 1.7), needed) + 1
    return buds.take(emptiest[:enough])


def _reach(rng: np.random.Generator, anatomy: Anatomy, root: Float) -> Float:
    """Draw the length that vessels of these widths may reach."""
    return 0.19 * (root / anatomy.narrowest) ** 0.7 * rng.uniform(0.6, 1.5, len(root))
