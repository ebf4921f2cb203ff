"use strict";
// The smallest single changes of a setting, as uncollapse predict advises them for balanced classes
// (theory/advice.py). Tested against `advise`; a change here or there without the other fails.
const ADVICE = (() => {
  const CLEAR = 0.01, MOST_VIEWS = 16, LOWEST = 1e-12, HIGHEST = 1 - 1e-9;

  const usable = (s) => s.views > 1 || s.selfPairs === "include" || s.alpha === 0;
  const reached = (s) => usable(s) && !THEORY.problem(s)
    && THEORY.optimum(THEORY.numbers(s), s.alpha, s.temperature).instance >= CLEAR;
  const first = (candidates) => candidates.find(reached) ?? null;

  // Between a setting that is not enough and one that is, on the line of `at`.
  function crossing(at, low, high) {
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (reached(at(middle))) high = middle; else low = middle;
    }
    return at(high);
  }

  function byAlpha(s) {
    if (s.alpha === 1 || s.views === 1 && s.selfPairs === "exclude") return null;
    const odds = (a) => Math.log(a / (1 - a)), back = (x) => 1 / (1 + Math.exp(-x));
    const at = (x) => ({ ...s, alpha: back(x) }), top = odds(HIGHEST);
    return reached(at(top)) ? crossing(at, odds(Math.max(s.alpha, LOWEST)), top) : null;
  }

  function byTemperature(s) {
    const near = { "1": s.temperature, "-1": s.temperature };
    const at = (log) => ({ ...s, temperature: Math.exp(log) });
    for (let octave = 0.125; octave < 7; octave += 0.125) for (const way of [-1, 1]) {
      const far = s.temperature * 2 ** (octave * way);
      if (far < 1e-3 || far > 1e3) continue;
      if (reached({ ...s, temperature: far })) return crossing(at, Math.log(near[way]), Math.log(far));
      near[way] = far;
    }
    return null;
  }

  // The first size that is enough, by doubling and halving back.
  function byBatchPerClass(s) {
    if (s.batch !== "balanced") return null;
    const at = (size) => ({ ...s, batchPerClass: size });
    let low = s.batchPerClass, high = low;
    while (high < s.perClass) {
      high = Math.min(2 * high, s.perClass);
      if (reached(at(high))) {
        while (high - low > 1) {
          const middle = Math.floor((low + high) / 2);
          if (reached(at(middle))) high = middle; else low = middle;
        }
        return at(high);
      }
      low = high;
    }
    return null;
  }

  // Fewer classes in a batch of the same size: the most that are few enough.
  function byBatchClasses(s) {
    if (s.batch !== "balanced") return null;
    const size = s.batchClasses * s.batchPerClass;
    for (let k = s.batchClasses - 1; k > 1; k--) {
      const inBatch = Math.floor(size / k), changed = { ...s, batchClasses: k, batchPerClass: inBatch };
      if (inBatch > s.perClass) return null;
      if (inBatch >= 2 && reached(changed)) return changed;
    }
    return null;
  }

  function byViews(s) {
    if (s.selfPairs === "include") return null;
    const far = (p) => Math.abs(Math.log2(p / s.views));
    const counts = Array.from({ length: MOST_VIEWS - 1 }, (_, k) => k + 2).filter((p) => p !== s.views);
    return first(counts.sort((a, b) => far(a) - far(b)).map((views) => ({ ...s, views })));
  }

  const SEARCH = {
    alpha: byAlpha, temperature: byTemperature, batchPerClass: byBatchPerClass,
    batchClasses: byBatchClasses, views: byViews,
  };

  // |difference| of alpha, |log2 of the ratio| of everything else.
  function sizeOf(lever, before, after) {
    if (lever === "alpha") return Math.abs(after.alpha - before.alpha);
    const measured = lever === "batchClasses" ? "batchPerClass" : lever;
    return Math.abs(Math.log2(after[measured] / before[measured]));
  }

  // Every lever that leaves collapse alone, the smallest change first; none where nothing is collapsed.
  function advise(s) {
    if (THEORY.problem(s) || reached(s)) return [];
    return Object.entries(SEARCH).flatMap(([lever, search]) => {
      const changed = search(s);
      return changed === null ? [] : [{ lever, changed, size: sizeOf(lever, s, changed) }];
    }).sort((a, b) => a.size - b.size);
  }

  return { advise };
})();
