"""The table of docs/conventions.md, computed. Run this file to write it there."""

from pathlib import Path

import loss_definitions as definitions
import torch
from pytorch_metric_learning.losses import NTXentLoss, SupConLoss

from uncollapse import losses

PAGE = Path(__file__).parents[2] / "docs" / "conventions.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
ALPHA, TEMPERATURE = 0.5, 0.1


def fixed_batch():
    """21 unit vectors: 11 instances, classes of 5, 3, 2 and 1; two views each, the last one."""
    instances = torch.arange(22) // 2
    labels = torch.tensor([0] * 10 + [1] * 6 + [2] * 4 + [3] * 2)
    row, column = torch.arange(22.0, dtype=torch.float64)[:, None], torch.arange(1.0, 9.0)
    z = (
        torch.cos(column * (1 + labels[:, None]))
        + 0.8 * torch.cos(column**2 * (1 + instances[:, None]))
        + 0.3 * torch.cos(column**3 * (1 + row))
    )
    z = torch.nn.functional.normalize(z, dim=1)
    return z[:-1], labels[:-1], instances[:-1]


def in_form(z, labels, temperature):
    """L_in, equation 3 of Khosla et al. 2020: the mean over positives inside the logarithm."""
    values = []
    for i in range(len(z)):
        others = [k for k in range(len(z)) if k != i]
        positives = [j for j in others if labels[j] == labels[i]]
        if positives:
            log_mean = definitions.log_sum_exp([z[i] @ z[j] / temperature for j in positives])
            log_mean = log_mean - torch.tensor(float(len(positives))).log()
            denominator = definitions.log_sum_exp([z[i] @ z[k] / temperature for k in others])
            values.append(denominator - log_mean)
    return torch.stack(values).mean()


def supcl_rows(z, labels, instances):
    reasons = {
        ("exclude", "anchors", "drop"): "our default",
        ("exclude", "anchors", "zero"): "the last sample, which has a positive in neither term, "
        "counts as 0 in both means: `ssem_imagenet_loss`",
        ("exclude", "pairs", "drop"): "large classes weigh more: they have more pairs",
        ("include", "anchors", "drop"): "exp(1/tau) is in each denominator, and a view with itself "
        "is a pair of L_self",
        ("include", "pairs", "drop"): "both: `ssem_cifar_loss`",
    }
    for (self_pairs, reduction, policy), reason in reasons.items():
        conventions = {"self_pairs": self_pairs, "reduction": reduction}
        ours = losses.supcl_loss(
            z,
            labels,
            instances,
            alpha=ALPHA,
            temperature=TEMPERATURE,
            anchors_without_positives=policy,
            **conventions,
        )
        definition = definitions.supcl(
            z,
            labels.tolist(),
            instances.tolist(),
            ALPHA,
            TEMPERATURE,
            self_pairs,
            reduction,
            policy,
        )
        yield f"SupCL, {self_pairs}, {reduction}, {policy}", ours, definition, None, reason


def published_rows(z, labels, instances):
    y, i = labels.tolist(), instances.tolist()
    supcon = losses.supcon_loss(z, labels, instances, temperature=TEMPERATURE)
    zero = losses.supcon_loss(
        z, labels, instances, temperature=TEMPERATURE, anchors_without_positives="zero"
    )
    supcon_zero = definitions.supcon(z, y, i, TEMPERATURE, "zero")
    metric = SupConLoss(temperature=TEMPERATURE)(z, labels)
    yield (
        *("SupCon, L_out (Khosla et al., eq. 2)", supcon),
        *(definitions.supcon(z, y, i, TEMPERATURE), metric),
        "own views are positives beside the class; no alpha",
    )
    yield (
        *("SupCon as SupContrast computes it", zero * TEMPERATURE / 0.07),
        *(supcon_zero * TEMPERATURE / 0.07, None),
        "times tau / base_temperature, which stays 0.07; an anchor without positives counts as 0. "
        "Ours: `supcon_loss(..., anchors_without_positives='zero') * 0.1 / 0.07`",
    )
    yield (
        *("SupCon, L_in (Khosla et al., eq. 3)", None),
        *(in_form(z, y, TEMPERATURE), None),
        "the mean over positives inside the logarithm; solo-learn's SupCon is this up to a "
        "number that depends on class sizes only. Not offered: Khosla et al. found it worse",
    )
    yield (
        *("NT-Xent (Chen et al. 2020, eq. 1)",),
        losses.nt_xent_loss(z, instances, temperature=TEMPERATURE),
        definitions.nt_xent(z, i, TEMPERATURE),
        NTXentLoss(temperature=TEMPERATURE)(z, instances),
        "positives are views only",
    )
    yield (
        "SINCERE (Feeney and Hughes 2023)",
        losses.sincere_loss(z, labels, instances, temperature=TEMPERATURE),
        definitions.sincere(z, y, i, TEMPERATURE),
        None,
        "no other sample of the own class in the denominator",
    )
    yield (
        "class-conditional InfoNCE (Chen et al. 2022)",
        losses.class_conditional_info_nce_loss(z, labels, instances, temperature=TEMPERATURE),
        definitions.class_conditional_info_nce(z, y, i, TEMPERATURE),
        None,
        "own views against the own class only",
    )
    yield (
        "L_spread (Chen et al. 2022)",
        losses.l_spread_loss(z, labels, instances, alpha=ALPHA, temperature=TEMPERATURE),
        definitions.l_spread(z, y, i, ALPHA, TEMPERATURE),
        None,
        "half of SupCon's L_out, half of the row above",
    )


def table():
    """The lines between the marks of the page."""
    lines = [
        "| loss | uncollapse | its definition, as loops | pytorch-metric-learning | why |",
        "|---|---|---|---|---|",
    ]
    batch = fixed_batch()
    for name, *numbers, reason in [*supcl_rows(*batch), *published_rows(*batch)]:
        cells = ["-" if number is None else f"{float(number):.4f}" for number in numbers]
        lines.append(f"| {name} | {' | '.join(cells)} | {reason} |")
    return "\n".join(lines)


def main():
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}")


if __name__ == "__main__":
    main()
