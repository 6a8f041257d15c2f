"""Vessel trees of a synthetic eye: trunks, side branches of side branches, and fine vessels where room is left."""

from __future__ import annotations

import numpy as np

from retlib.data._phantom_growth import Buds, Occupancy, goal, grow
from retlib.data._phantom_tree import Anatomy, Branch, Float, covered, headings, set_radii
from retlib.data._phantom_trunks import draw_trunks

DISTINCT = 0.93  # part of the area of all vessels that is left when overlaps count once


def grow_tree(rng: np.random.Generator, anatomy: Anatomy) -> list[Branch]:
    """Arteries and veins of one eye, trunks first, with radii set by Murray's law.

    Args:
        rng: Source of all randomness.
        anatomy: Places and sizes.

    Returns:
        The branches; a branch follows its parent in the list.
    """
    branches = draw_trunks(rng, anatomy)
    set_radii(branches, anatomy)
    occupancy = Occupancy(anatomy)
    for number, branch in zip(occupancy.issue(len(branches)), branches, strict=True):
        nodes = len(branch.path)
        occupancy.mark(branch.path, headings(branch.path), np.full(nodes, branch.vein), np.full(nodes, number))
    first = 0
    for generation in range(5):
        occupancy.refresh()
        buds = _sprout(rng, anatomy, branches, first, occupancy, generation)
        first = len(branches)
        if buds is None:
            break
        branches += grow(rng, anatomy, buds, occupancy)
        set_radii(branches, anatomy)
    for part in (0.3, 0.4, 0.6, 1.0, 1.0):
        occupancy.refresh()
        buds = _fill(rng, anatomy, branches, occupancy, part)
        if buds is None:
            break
        branches += grow(rng, anatomy, buds, occupancy)
        set_radii(branches, anatomy)
    # What growth alone could not settle, all widths together do, within the variation from eye to eye.
    factor = np.clip(anatomy.share / (DISTINCT * covered(branches)), 0.8, 1.25)
    for branch in branches:
        branch.radius = np.maximum(factor * branch.radius, anatomy.narrowest)
    return branches


def _sprout(
    rng: np.random.Generator,
    anatomy: Anatomy,
    branches: list[Branch],
    first: int,
    occupancy: Occupancy,
    generation: int,
) -> Buds | None:
    """Side branches along the branches from index ``first`` on, and the two ends of those that fork."""
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
        way = goal(at, anatomy) - at
        inward = (np.conj(heading) * way).real > 0.5 * np.abs(way)
        far = np.abs(way) * rng.uniform(0.35, 0.9, len(at))
        length = np.where(inward, np.maximum(length, far), length)
    buds = Buds(at, heading, root, portion, vein, parent, node, length)
    # Not from the disc itself, and not where the FOV ends.
    keep = (np.abs(at) < 0.99) & (np.abs(at - anatomy.disc) > 0.9 * anatomy.disc_radius)
    return buds.take(np.nonzero(keep)[0]) if keep.any() else None


def _fill(
    rng: np.random.Generator, anatomy: Anatomy, branches: list[Branch], occupancy: Occupancy, part: float
) -> Buds | None:
    """Fine branches into the emptiest places: a part of what the vessel share still lacks."""
    lacking = (anatomy.share - DISTINCT * covered(branches)) * np.pi
    twig = 2.1 * anatomy.narrowest * 0.15  # area of an average one
    wanted = int(part * lacking / twig)
    if wanted < 1:
        return None
    sizes = [len(branch.path) for branch in branches]
    owner, start = np.repeat(np.arange(len(branches)), sizes), np.cumsum(sizes) - sizes
    path, radius = (np.concatenate([getattr(branch, name) for branch in branches]) for name in ("path", "radius"))
    node = np.arange(len(path)) - start[owner]
    fit = (radius > 1.15 * anatomy.narrowest) & (node > 2) & (node < np.array(sizes)[owner] - 3)
    fit &= (np.abs(path - anatomy.disc) > 0.2) & (np.abs(path) < 0.98)
    if not fit.any():
        return None
    chosen = rng.choice(np.nonzero(fit)[0], 60 + 4 * wanted)
    at, here, tangent = path[chosen], radius[chosen], path[chosen + 1] - path[chosen - 1]
    angle = np.deg2rad(rng.uniform(50, 85, len(chosen))) * np.where(rng.random(len(chosen)) < 0.5, 1, -1)
    root = np.minimum(0.8 * here, anatomy.narrowest * rng.uniform(1.0, 2.2, len(chosen)))
    root = np.maximum(root, anatomy.narrowest)
    heading, vein = (
        tangent / np.abs(tangent) * np.exp(1j * angle),
        np.array([branch.vein for branch in branches]),
    )
    length = _reach(rng, anatomy, root)
    buds = Buds(at, heading, root, (root / here) ** 3, vein[owner[chosen]], owner[chosen], node[chosen], length)
    ahead = sum(occupancy.look(occupancy.crowding, buds.at + far * buds.heading, buds.vein) for far in (0.08, 0.2))
    emptiest = np.argsort(ahead - 0.08 * buds.root / anatomy.narrowest, kind="stable")[:wanted]
    # A wide branch stands for several fine ones.
    enough = np.searchsorted(np.cumsum((buds.root[emptiest] / anatomy.narrowest) ** 1.7), wanted) + 1
    return buds.take(emptiest[:enough])


def _reach(rng: np.random.Generator, anatomy: Anatomy, root: Float) -> Float:
    """Length that vessels of these widths may reach."""
    return 0.19 * (root / anatomy.narrowest) ** 0.7 * rng.uniform(0.6, 1.5, len(root))
