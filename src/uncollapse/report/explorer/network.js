"use strict";
// What a network like those of a calibration shows: the model of docs/networks.md, for equal classes.
// Tested against `uncollapse predict --calibration`; a change here or there without the other fails.
const NETWORK = (() => {
  const STEPS = 40, FIRST = 1e-3, GAMMA = 1 - Math.SQRT1_2, LONGEST = 100, LEAST = 1e-5;
  // Quantiles of a normal deviate, each for an equal part of it.
  const NORMAL = [-1.645, -1.036, -0.674, -0.385, -0.126, 0.126, 0.385, 0.674, 1.036, 1.645];

  // log E exp(x u), u a coordinate of a uniform unit vector in r dimensions, and two derivatives.
  function logMeanExponential(x, r) {
    if (x < 1e-2) return [x * x / (2 * r), x / r, 1 / r];
    const t = x * x / 4;
    let term = 1, sum = 1, weighted = 0, log = 0;
    for (let k = 1; k < 5000; k++) {
      term *= t / (k * (r / 2 + k - 1));
      sum += term;
      weighted += k * term;
      if (k > x / 2 && term < 1e-16 * sum) break;
      if (sum > 1e200) { log += Math.log(1e200); term /= 1e200; sum /= 1e200; weighted /= 1e200; }
    }
    const slope = 2 * weighted / (sum * x);
    return [log + Math.log(sum), slope, 1 - slope * slope - (r - 1) / x * slope];
  }

  // Gradient and Hessian of tau L in x = (w, b, c).
  function derivatives([w, b, c], s, q, r) {
    const tau = s.temperature, far = -1 / (s.classes - 1);
    const [logG, slope, bend] = logMeanExponential(w / tau, r);
    const logs = [Math.log(s.own) + 1 / tau, Math.log(s.mates) + (b + c) / tau + logG,
      Math.log(s.others) + (c + far * b) / tau + logG];
    const most = Math.max(...logs), part = logs.map((v) => Math.exp(v - most));
    const total = part[0] + part[1] + part[2];
    const rates = [[1, 1, 1], [slope, 1, 1], [slope, far, 1]];
    const mean = [0, 1, 2].map((k) => rates.reduce((sum, rate, n) => sum + part[n] / total * rate[k], 0));
    const between = s.alpha + (1 - s.alpha) * (q + (1 - q) * far);
    const pull = [s.alpha, between, 1];
    const hessian = [0, 1, 2].map((k) => [0, 1, 2].map((l) =>
      rates.reduce((sum, rate, n) => sum + part[n] / total * (rate[k] - mean[k]) * (rate[l] - mean[l]), 0) / tau));
    hessian[0][0] += (part[1] + part[2]) / total * bend / tau;
    return [mean.map((v, k) => v - pull[k]), hessian];
  }

  function normed(y) {
    const most = Math.max(...y), x = y.map((v) => Math.exp(v - most));
    const total = x[0] + x[1] + x[2];
    return x.map((v) => v / total);
  }

  const cross = (a, b) =>
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

  // x of M x = v, by cross products of M's rows.
  function solved(rows, v) {
    const [a, b, c] = rows, [bc, ca, ab] = [cross(b, c), cross(c, a), cross(a, b)];
    const det = dot(a, bc);
    return [0, 1, 2].map((k) => (v[0] * bc[k] + v[1] * ca[k] + v[2] * ab[k]) / det);
  }

  // w and b after a time: two implicit stages a step, steps that grow.
  function flow(before, time, s, q, r) {
    let y = [before[0], before[1], 1 - before[0] - before[1]].map(Math.log), last = 0;
    const speed = -4 / s.temperature;
    for (let n = 0; n < STEPS; n++) {
      const now = FIRST ** (1 - n / (STEPS - 1)), h = time * (now - last);
      last = now;
      const x = normed(y), [slope, curve] = derivatives(x, s, q, r);
      const rows = curve.map((row, k) => row.map((value, l) => {
        const inner = value * x[l] - dot(row, x) * x[l];
        return (k === l ? 1 : 0) - GAMMA * h * speed * inner;
      }));
      const first = solved(rows, slope.map((v) => speed * v));
      const [again] = derivatives(normed(y.map((v, k) => v + h * first[k])), s, q, r);
      const second = solved(rows, again.map((v, k) => speed * v - 2 * first[k]));
      y = y.map((v, k) => v + 1.5 * h * first[k] + 0.5 * h * second[k]);
      const most = Math.max(...y);
      y = y.map((v) => v - most);
    }
    return normed(y);
  }

  function quantile(sorted, part) {
    const at = part * (sorted.length - 1), low = Math.floor(at), high = Math.min(low + 1, sorted.length - 1);
    return sorted[low] + (at - low) * (sorted[high] - sorted[low]);
  }

  // Estimate and ends of a variance, of which each draw deviates in logits.
  function three(values, calibration) {
    const moved = [];
    for (const value of values) {
      const v = Math.min(1 - LEAST, Math.max(LEAST, value)), logit = Math.log(v / (1 - v));
      for (const z of NORMAL) moved.push(1 / (1 + Math.exp(-logit - calibration.discrepancy * z)));
    }
    moved.sort((a, b) => a - b);
    const end = (1 - calibration.confidence) / 2;
    return { estimate: quantile(moved, 0.5), low: quantile(moved, end), high: quantile(moved, 1 - end) };
  }

  // As predict's `network`, from what is set on the page.
  function predict(state, calibration) {
    const inBatch = state.batch === "balanced" ? state.batchPerClass : state.perClass;
    const k = state.batch === "balanced" ? state.batchClasses : state.classes, m = state.classes;
    const s = {
      classes: m, alpha: state.alpha, temperature: state.temperature,
      own: state.selfPairs === "include" ? state.views : state.views - 1,
      mates: state.views * (inBatch - 1), others: state.views * inBatch * (k - 1),
    };
    const within = [], between = [];
    for (const [progress, agreement, dimension, unlearned] of calibration.draws) {
      const q = 1 - unlearned * (1 - (1 + (m - 1) * agreement) / m);
      const time = Math.min(LONGEST, progress * s.temperature / 0.1);
      const [w, b] = flow(calibration.before, time, s, q, dimension);
      within.push(w + (1 - agreement) * b);
      between.push(agreement * b);
    }
    return { within: three(within, calibration), between: three(between, calibration) };
  }

  // What none of the calibration's runs had: keys of TEXT.differs.
  function differs(state, calibration) {
    const [low, high] = calibration.temperatures, tau = state.temperature;
    return [
      state.classes === calibration.classes && calibration.equal ? null : "classes",
      tau < low * (1 - 1e-9) || tau > high * (1 + 1e-9) ? "temperature" : null,
      calibration.views.includes(state.views) ? null : "views",
    ].filter(Boolean);
  }

  return { predict, differs };
})();
