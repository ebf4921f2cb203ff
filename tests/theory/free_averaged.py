"""Gram matrices averaged over orbits, and Newton's method on them.

An orbit: views of one instance, instances of one class, a pair of classes.

Averaged Gram matrices are written as one unit vector per class, (w_view, w_instance, C_c): view
part w_view^2, instance part w_instance^2, inner products of class means C_c . C_c'. Every such
vector is feasible and every averaged Gram matrix has one, so this is still free minimisation.
"""

from __future__ import annotations

import numpy as np
from free_gram import batch_rows
from free_problem import Problem


def _orbits(problem: Problem) -> tuple[np.ndarray, list[tuple[str, int, int]]]:
    """For each pair of embeddings the index of its orbit, and what each orbit is."""
    classes, instances = problem.labels()
    m = len(problem.counts)
    names = [("one", 0, 0)]
    names += [(kind, c, c) for kind in "sa" for c in range(m)]
    names += [("b", c, k) for c in range(m) for k in range(c + 1, m)]
    position = {name: index for index, name in enumerate(names)}
    N = classes.size
    orbit = np.zeros((N, N), dtype=int)
    for i in range(N):
        for j in range(N):
            c, k = sorted((int(classes[i]), int(classes[j])))
            kind = "b" if c != k else "s" if instances[i] == instances[j] else "a"
            orbit[i, j] = 0 if i == j else position[kind, c, k]
    return orbit, names


class Averaged:
    """The loss of averaged Gram matrices as a function of one unit vector per class."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.m = len(problem.counts)
        self.orbit, self.names = _orbits(problem)
        rows = batch_rows(problem, by_symmetry=True)
        K = len(self.names)
        # Rows with the same number of embeddings of every orbit are equal: merge them.
        number = np.array(
            [
                np.bincount(self.orbit[anchor][mask], minlength=K)
                for anchor, mask in zip(rows.anchor, rows.mask, strict=True)
            ]
        )
        self.number, inverse = np.unique(number, axis=0, return_inverse=True)
        self.weight = np.bincount(inverse.ravel(), rows.weight)
        self.positive = np.bincount(self.orbit.ravel(), rows.positive.ravel(), minlength=K)
        self.constant, self.quadratic = self._orbit_values()

    def _orbit_values(self) -> tuple[np.ndarray, np.ndarray]:
        """theta_k = constant_k + x^T quadratic_k x for the class vectors x stacked to length D."""
        m, p = self.m, self.problem.views
        width = m + 2
        constant = np.zeros(len(self.names))
        Q = np.zeros((len(self.names), m * width, m * width))
        for index, (kind, c, k) in enumerate(self.names):
            view, instance = c * width, c * width + 1
            n = self.problem.counts[c]
            if kind in {"one", "s", "a"}:
                constant[index] = 1.0
            if kind == "s" and p > 1:
                Q[index, view, view] = -p / (p - 1)
            if kind == "a" and n > 1:
                Q[index, view, view] = -1.0
                Q[index, instance, instance] = -n / (n - 1)
            if kind == "b":
                for coordinate in range(2, width):
                    i, j = c * width + coordinate, k * width + coordinate
                    Q[index, i, j] = Q[index, j, i] = 0.5
        return constant, Q

    def free_coordinates(self) -> np.ndarray:
        """False where a coordinate must stay 0: no view part of one view, and so on."""
        free = np.ones((self.m, self.m + 2), dtype=bool)
        free[:, 0] = self.problem.views > 1
        free[:, 1] = np.array(self.problem.counts) > 1
        return free

    def theta(self, x: np.ndarray) -> np.ndarray:
        return self.constant + np.einsum("kij,i,j->k", self.quadratic, x, x, optimize=True)

    def derivatives(self, x: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        """Loss, gradient and Hessian in x, ignoring that the class vectors have length 1."""
        tau = self.problem.tau
        theta = self.theta(x)
        with np.errstate(divide="ignore"):
            logits = theta / tau + np.log(self.number)
        top = logits.max(1)
        exponentials = np.exp(logits - top[:, None])
        sums = exponentials.sum(1)
        softmax = exponentials / sums[:, None]
        value = self.weight @ (top + np.log(sums)) - self.positive @ theta / tau
        g = (self.weight @ softmax - self.positive) / tau
        H = np.diag(self.weight @ softmax) - (softmax.T * self.weight) @ softmax
        J = 2 * self.quadratic @ x
        hessian = 2 * np.tensordot(g, self.quadratic, 1) + J.T @ (H / tau**2) @ J
        return float(value), J.T @ g, hessian

    def gram(self, x: np.ndarray) -> np.ndarray:
        return self.theta(x)[self.orbit]


def _normalise(x: np.ndarray, free: np.ndarray) -> np.ndarray:
    vectors = np.where(free, x.reshape(free.shape), 0.0)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).ravel()


def newton(averaged: Averaged, x: np.ndarray, steps: int = 600) -> np.ndarray:
    """Saddle-free Newton on the product of spheres, with Levenberg damping.

    A step must lower the loss or, where the loss no longer shows a difference, the gradient in the
    norm of the inverse Hessian: at small tau the forces between classes are of size exp(-2/tau),
    far below the rounding of the loss.
    """
    free = averaged.free_coordinates()
    x = _normalise(x, free)
    damping, stalled = 1e-3, 0
    value, g, H = _on_spheres(averaged, x, free)
    lowest = value
    curvature, basis = _absolute_eigen(H)
    for _ in range(steps):
        move = -basis @ ((basis.T @ g) / (curvature + damping))
        trial = _normalise(x + move, free)
        new_value, new_g, new_H = _on_spheres(averaged, trial, free)
        # Valleys between stiff walls are curved on the spheres: come back to the valley's floor.
        for _ in range(2):
            new_curvature, new_basis = _absolute_eigen(new_H)
            stiff = new_curvature > 1e-3 * new_curvature[-1]
            back = (new_basis.T @ new_g)[stiff] / new_curvature[stiff]
            trial = _normalise(trial - new_basis[:, stiff] @ back, free)
            new_value, new_g, new_H = _on_spheres(averaged, trial, free)
        rounding = 1e-14 * max(1.0, abs(value))
        better = new_value < value - rounding
        if not better and new_value < lowest + rounding:
            new_curvature, new_basis = _absolute_eigen(new_H)
            old_size = ((basis.T @ g) ** 2 / curvature).sum()
            better = ((new_basis.T @ new_g) ** 2 / new_curvature).sum() < 0.99 * old_size
        if better:
            x, value, g, H = trial, new_value, new_g, new_H
            curvature, basis = _absolute_eigen(H)
            lowest = min(lowest, value)
            damping, stalled = max(damping / 10, 1e-16), 0
        else:
            damping = min(damping * 10, 1e6)
            stalled += 1
        if stalled > 25:
            break
    return x


def _absolute_eigen(H: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    eigenvalues, basis = np.linalg.eigh(H)
    order = np.argsort(np.abs(eigenvalues))
    return np.maximum(np.abs(eigenvalues), 1e-16)[order], basis[:, order]


def _on_spheres(
    averaged: Averaged, x: np.ndarray, free: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Loss, Riemannian gradient and Hessian at class vectors of length 1."""
    value, gradient, hessian = averaged.derivatives(x)
    vectors = x.reshape(free.shape)
    width = free.shape[1]
    radial = (gradient.reshape(free.shape) * vectors).sum(1)
    tangent = np.diag(free.ravel().astype(float))
    for c in range(averaged.m):
        part = slice(c * width, (c + 1) * width)
        tangent[part, part] -= np.outer(vectors[c], vectors[c])
    return (
        value,
        tangent @ gradient,
        tangent @ (hessian - np.diag(np.repeat(radial, width))) @ tangent,
    )


def from_gram(G: np.ndarray, problem: Problem) -> np.ndarray:
    """Class vectors whose averaged Gram matrix is the average of G over orbits."""
    orbit, names = _orbits(problem)
    mean = np.bincount(orbit.ravel(), G.ravel(), minlength=len(names)) / np.maximum(
        np.bincount(orbit.ravel(), minlength=len(names)), 1
    )
    classes, instances = problem.labels()
    G = mean[orbit]
    m = len(problem.counts)
    of_class = np.eye(m)[:, classes] / np.array([[n * problem.views] for n in problem.counts])
    B = of_class @ G @ of_class.T
    eigenvalues, basis = np.linalg.eigh(B)
    C = basis * np.sqrt(np.maximum(eigenvalues, 0.0))
    same = instances[:, None] == instances[None, :]
    q = (np.where(same, G, 0.0).sum(1) @ of_class.T) / problem.views
    view, instance = np.maximum(1 - q, 0.0), np.maximum(q - np.diag(B), 0.0)
    return np.column_stack([np.sqrt(view), np.sqrt(instance), C]).ravel()
