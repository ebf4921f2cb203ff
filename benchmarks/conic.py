"""The orbit program written for a conic solver (cvxpy with Clarabel): a second way to solve it."""

from __future__ import annotations

import warnings

import cvxpy as cp
import numpy as np

from uncollapse.theory._program import Program


def solve_conic(program: Program) -> tuple[float, float]:
    """The minimal loss by exponential and semidefinite cones, and the solver's own seconds."""
    G, p, tau = program.blocks, program.views, program.temperature
    size, M = program.size, program.multiplicity
    view, instance, member = (cp.Variable(G, nonneg=True) for _ in range(3))
    means = cp.Variable((G, G), PSD=True)
    constraints = [view + instance + member + cp.diag(means) == 1]
    constraints += [view == 0] if p == 1 else []
    constraints += [instance[g] == 0 for g in range(G) if size[g] == 1]
    constraints += [member[g] == 0 for g in range(G) if M[g] == 1]
    s = 1 - view * (p / max(p - 1, 1))
    a = 1 - view - cp.multiply(program.kappa, instance)
    q = (1 + (p - 1) * s) / p if program.include else s

    terms = program.terms
    loss = 0
    for t, g in enumerate(terms.block):
        parts = [(np.log(p - 1), s[g] / tau)] if p > 1 else []
        parts += [(0.0, cp.Constant(1 / tau))] if program.include else []
        if terms.own[t] > 1:
            parts.append((np.log(p * (terms.own[t] - 1)), a[g] / tau))
        for h in range(G):
            if terms.others[t, h] > 0:
                inner = means[g, h] - (member[g] / (M[g] - 1) if g == h else 0)
                parts.append((np.log(p * terms.others[t, h]), inner / tau))
        log_d = cp.log_sum_exp(cp.hstack([weight + cosine for weight, cosine in parts]))
        loss += terms.weight[t] * log_d
        loss -= (terms.supervised[t] * a[g] + terms.self_supervised[t] * q[g]) / tau
    with warnings.catch_warnings():
        # The time to build the program is not counted.
        warnings.filterwarnings("ignore", message="Objective contains too many subexpressions")
        problem = cp.Problem(cp.Minimize(loss), constraints)
        problem.solve(solver=cp.CLARABEL)
    return float(problem.value), float(problem.solver_stats.solve_time)
