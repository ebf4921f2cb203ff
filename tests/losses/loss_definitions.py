"""The losses as loops over anchors and pairs, written from their definitions, never optimised.

Every function takes unit vectors (N, d) in float64, labels and instances as lists (label -1:
unlabelled) and returns a scalar that autograd can differentiate.
"""

import torch


def logits(z, temperature):
    return [[z[i] @ z[k] / temperature for k in range(len(z))] for i in range(len(z))]


def log_sum_exp(values):
    return torch.logsumexp(torch.stack(values), dim=0)


def mean_over_pairs(pair_losses, anchors, reduction, without_positives):
    """The mean of {anchor: [losses of its pairs]} in either order of averaging."""
    if reduction == "pairs":
        return torch.stack([loss for losses in pair_losses.values() for loss in losses]).mean()
    means = [torch.stack(losses).mean() for losses in pair_losses.values() if losses]
    counted = len(means) if without_positives == "drop" else len(anchors)
    return sum(means) / counted


def supcl_terms(z, labels, instances, temperature, self_pairs, reduction, without_positives):
    """(L_sup, L_self) of Lee et al. 2025; None where the batch has no pair."""
    n, s = len(z), logits(z, temperature)
    of_class, of_instance = {}, {}
    for i in range(n):
        others = [k for k in range(n) if self_pairs == "include" or k != i]
        log_denominator = log_sum_exp([s[i][k] for k in others])
        of_instance[i] = [log_denominator - s[i][j] for j in others if instances[j] == instances[i]]
        if labels[i] != -1:
            of_class[i] = [
                log_denominator - s[i][j]
                for j in range(n)
                if labels[j] == labels[i] and instances[j] != instances[i]
            ]
    return [
        mean_over_pairs(pairs, pairs.keys(), reduction, without_positives)
        if any(pairs.values())
        else None
        for pairs in (of_class, of_instance)
    ]


def supcl(z, labels, instances, alpha, temperature, self_pairs, reduction, without_positives):
    supervised, self_supervised = supcl_terms(
        z, labels, instances, temperature, self_pairs, reduction, without_positives
    )
    total = 0
    if alpha < 1:
        total = total + (1 - alpha) * supervised
    if alpha > 0:
        total = total + alpha * self_supervised
    return total


def is_positive(i, j, labels, instances):
    """Another sample of the class, or another view of the instance."""
    if i == j:
        return False
    return instances[i] == instances[j] or (labels[i] == labels[j] and labels[i] != -1)


def supcon(z, labels, instances, temperature, without_positives="drop"):
    """L_out, equation 2 of Khosla et al. 2020."""
    n, s = len(z), logits(z, temperature)
    pairs = {}
    for i in range(n):
        log_denominator = log_sum_exp([s[i][k] for k in range(n) if k != i])
        positives = [j for j in range(n) if is_positive(i, j, labels, instances)]
        pairs[i] = [log_denominator - s[i][j] for j in positives]
    return mean_over_pairs(pairs, range(n), "anchors", without_positives)


def nt_xent(z, instances, temperature):
    """Equation 1 of Chen et al. 2020 (SimCLR), mean over all ordered pairs of views."""
    n, s = len(z), logits(z, temperature)
    losses = []
    for i in range(n):
        for j in range(n):
            if i != j and instances[i] == instances[j]:
                losses.append(-s[i][j] + log_sum_exp([s[i][k] for k in range(n) if k != i]))
    return torch.stack(losses).mean()


def sincere(z, labels, instances, temperature, without_positives="drop"):
    """Feeney and Hughes 2023: the denominator holds the pair itself and all other classes."""
    n, s = len(z), logits(z, temperature)
    pairs = {}
    for i in range(n):
        positives = [j for j in range(n) if is_positive(i, j, labels, instances)]
        noise = [s[i][k] for k in range(n) if k != i and k not in positives]
        pairs[i] = [log_sum_exp([s[i][j], *noise]) - s[i][j] for j in positives]
    return mean_over_pairs(pairs, range(n), "anchors", without_positives)


def class_conditional_info_nce(z, labels, instances, temperature):
    """L_cNCE of Chen et al. 2022: an anchor's other views against the rest of its class."""
    n, s = len(z), logits(z, temperature)
    pairs = {}
    for i in range(n):
        if labels[i] == -1:
            continue
        rest = [s[i][k] for k in range(n) if k != i and labels[k] == labels[i]]
        views = [j for j in range(n) if j != i and instances[j] == instances[i]]
        pairs[i] = [log_sum_exp(rest) - s[i][j] for j in views]
    return mean_over_pairs(pairs, pairs.keys(), "anchors", "drop")


def l_spread(z, labels, instances, alpha, temperature):
    return (1 - alpha) * supcon(z, labels, instances, temperature) + (
        alpha * class_conditional_info_nce(z, labels, instances, temperature)
    )
