"use strict";
// Balanced classes: the closed forms of docs/theory.md, in the symbols of docs/notation.md.
// Tested against `uncollapse predict`; a change here or there without the other fails.
const THEORY = (() => {
  const ZERO = 1e-6; // A fraction of the norm below this is zero, as in predict.

  function numbers(s) {
    const inBatch = s.batch === "balanced" ? s.batchPerClass : s.perClass;
    const k = s.batch === "balanced" ? s.batchClasses : s.classes;
    const include = s.selfPairs === "include";
    return {
      m: s.classes, p: s.views, include, kappa: s.perClass / (s.perClass - 1),
      own: include ? s.views : s.views - 1,
      mates: s.views * (inBatch - 1),
      others: s.views * inBatch * (k - 1),
    };
  }

  const classRatio = (c, tau) => Math.exp(-c.m / ((c.m - 1) * tau));

  // alpha_c = 1 - (mates - others x/((m-1) kappa)) / (own + mates + others x)
  function alphaThreshold(c, tau) {
    const x = classRatio(c, tau);
    return 1 - (c.mates - c.others * x / ((c.m - 1) * c.kappa)) / (c.own + c.mates + c.others * x);
  }

  // The same, solved for tau: 0 where every temperature collapses, Infinity where none does.
  function temperatureThreshold(c, alpha) {
    const keep = 1 - alpha;
    const above = c.mates - keep * (c.own + c.mates);
    const below = c.others * (1 / ((c.m - 1) * c.kappa) + keep);
    const x = Math.min(1, Math.max(0, above / below));
    return x >= 1 ? Infinity : x <= 0 ? 0 : -c.m / ((c.m - 1) * Math.log(x));
  }

  // alpha_s = (1 - others x m/(m-1)) / (1 + (mates + others x)/(p-1)), self pairs excluded only
  function splittingThreshold(c, tau) {
    if (c.include || c.p === 1 || c.mates === 0) return NaN;
    const x = classRatio(c, tau);
    return (1 - c.others * x * c.m / (c.m - 1)) / (1 + (c.mates + c.others * x) / (c.p - 1));
  }

  function logAddExp(a, b) {
    const top = Math.max(a, b);
    return top === -Infinity ? top : top + Math.log1p(Math.exp(Math.min(a, b) - top));
  }

  // Root v >= 0 of log(e^fixed + e^(rising + rise v)) + slope v = target; 0 if it is negative.
  function increasingRoot(fixed, rising, rise, target, slope) {
    if (!(logAddExp(fixed, rising) < target)) return 0;
    let value = Math.min((target - fixed) / slope, (target - rising) / (slope + rise));
    for (let i = 0; i < 60; i++) {
      const exponent = rising + rise * value;
      const total = logAddExp(fixed, exponent);
      const step = (total + slope * value - target) / (slope + rise * Math.exp(exponent - total));
      value -= step;
      if (Math.abs(step) < 1e-14 * Math.abs(value)) break;
    }
    return Math.max(value, 0);
  }

  function optimum(c, alpha, tau) {
    const keep = 1 - alpha;
    const logOthers = Math.log(c.others) - c.m / ((c.m - 1) * tau);
    let view = 0;
    if (!c.include && c.p > 1) {
      const share = alpha / (c.p - 1);
      view = increasingRoot(
        Math.log(share * c.mates), Math.log(1 + share + 1 / (c.m - 1)) + logOthers,
        1 / tau + 1 / ((c.m - 1) * tau), Math.log(keep), (c.p / (c.p - 1) - 1) / tau);
    }
    const instance = increasingRoot(
      Math.log(c.kappa * keep * c.own), Math.log(c.kappa * keep + 1 / (c.m - 1)) + logOthers,
      1 / ((c.m - 1) * tau), Math.log(c.kappa * alpha * c.mates), c.kappa / tau);
    return { view, instance: view > 0 ? 0 : Math.min(instance, 1) };
  }

  const phaseOf = (o) => o.instance > ZERO ? "spread" : o.view > ZERO ? "view-splitting" : "collapse";

  function predict(s) {
    const c = numbers(s);
    const o = optimum(c, s.alpha, s.temperature);
    const [ac, tc] = [alphaThreshold(c, s.temperature), temperatureThreshold(c, s.alpha)];
    const as = splittingThreshold(c, s.temperature);
    // One view without self pairs has no self-supervised term; one instance no supervised one.
    const none = (c.p === 1 && !c.include) || c.mates === 0 && s.alpha === 1;
    return {
      phase: phaseOf(o),
      instance_variance: o.instance,
      view_variance: o.view,
      within_class_variance: o.instance + o.view,
      between_class_variance: Math.max(0, 1 - o.instance - o.view),
      alpha_threshold: none || !(ac < 1) ? null : ac,
      temperature_threshold: none || !(tc > 0 && tc < Infinity) ? null : tc,
      at_every_temperature: none ? null : tc === 0 ? "collapsed" : tc === Infinity ? "spread" : null,
      view_splitting_threshold: none || !(as > 0) ? null : as,
    };
  }

  // Why predict would refuse the setting, or null.
  function problem(s) {
    if (s.views === 1 && s.selfPairs === "exclude" && s.alpha > 0) return "oneView";
    if (s.batch === "balanced" && s.batchPerClass === 1 && s.alpha < 1) return "onePerClass";
    return null;
  }

  return { numbers, alphaThreshold, splittingThreshold, optimum, phaseOf, predict, problem };
})();
