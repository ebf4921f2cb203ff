"use strict";
const BOUNDS = {
  classes: [2, 10000, true], perClass: [2, 100000, true], views: [1, 16],
  batchPerClass: [1, 100000, true], batchClasses: [2, 10000, true],
  alpha: [0, 1], temperature: [0.01, 10, true],
};
const WHOLE = new Set(["classes", "perClass", "views", "batchPerClass", "batchClasses"]);
const state = {
  classes: 10, perClass: 50, views: 2, batch: "full", batchPerClass: 16, batchClasses: 10,
  alpha: 0.2, temperature: 0.1, selfPairs: "exclude", reduction: "anchors",
};
Object.assign(state, CALIBRATION?.start);
const CHOICES = {
  batch: ["full", "balanced"], selfPairs: ["exclude", "include"], reduction: ["anchors", "pairs"],
};
const byId = (id) => document.getElementById(id);
const show = (v, digits = 4) => new Intl.NumberFormat(document.documentElement.lang,
  { maximumSignificantDigits: digits }).format(v);

// A slider has 1000 steps: of alpha's cube root (thresholds lie near 0), of a logarithm, or plain.
function toSlider(name, v) {
  const [low, high, log] = BOUNDS[name];
  const part = name === "alpha" ? Math.cbrt(v)
    : log ? Math.log(v / low) / Math.log(high / low) : (v - low) / (high - low);
  return Math.round(1000 * part);
}
function fromSlider(name, position) {
  const [low, high, log] = BOUNDS[name], part = position / 1000;
  const v = name === "alpha" ? part ** 3
    : log ? low * (high / low) ** part : low + part * (high - low);
  return WHOLE.has(name) ? Math.round(v) : Number(v.toPrecision(3));
}
function clamp(name, v) {
  let [low, high] = BOUNDS[name];
  if (name === "temperature") [low, high] = [0.001, 1000];
  if (name === "batchPerClass") high = Math.min(high, state.perClass);
  if (name === "batchClasses") high = Math.min(high, state.classes);
  return Math.min(high, Math.max(low, WHOLE.has(name) ? Math.round(v) : v));
}
// `moved` is the slider that is being moved: its own position stays, or small steps would be lost.
function set(changes, moved) {
  for (const [name, v] of Object.entries(changes)) {
    if (name in BOUNDS && !Number.isFinite(v)) continue;
    state[name] = name in BOUNDS ? clamp(name, v) : v;
  }
  for (const name of ["batchPerClass", "batchClasses"]) state[name] = clamp(name, state[name]);
  draw(moved);
}

// The setting as the part of the address behind #, and back: whatever is not a setting is left out.
const fragment = () => new URLSearchParams(state).toString();
function fromFragment() {
  const given = new URLSearchParams(location.hash.slice(1)), changes = {};
  for (const [name, text] of given) {
    if (name in BOUNDS && text !== "") changes[name] = Number(text);
    else if (CHOICES[name]?.includes(text)) changes[name] = text;
  }
  set(changes);
}
let writing;
function keepFragment() {
  clearTimeout(writing); // browsers refuse more than a hundred changes of the address in some seconds
  writing = setTimeout(() => history.replaceState(null, "", `#${fragment()}`), 200);
}
async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page from a folder may not use the clipboard everywhere
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  byId("copied").textContent = TEXT.copied;
  setTimeout(() => { byId("copied").textContent = ""; }, 2000);
}

// Cividis, which colour-blind eyes read alike.
const CIVIDIS = [[0, 32, 77], [60, 77, 110], [124, 123, 120], [187, 175, 113], [255, 234, 70]];
function colour(v) {
  const at = Math.min(0.9999, Math.max(0, v)) * 4, i = Math.floor(at), f = at - i;
  return CIVIDIS[i].map((a, k) => Math.round(a + f * (CIVIDIS[i + 1][k] - a)));
}
const PLOT = { left: 64, top: 8, width: 508, height: 340, low: 0.01, high: 10 };
// alpha across, temperature up, as in the report and the docs.
const xOf = (alpha) => PLOT.left + PLOT.width * Math.cbrt(Math.max(0, alpha));
const yOf = (tau) => PLOT.top + PLOT.height * (1 - Math.log(tau / PLOT.low) / Math.log(PLOT.high / PLOT.low));
const tauAt = (part) => PLOT.low * (PLOT.high / PLOT.low) ** part;

function paint(c) {
  const canvas = byId("heat"), pen = canvas.getContext("2d");
  const [w, h] = [canvas.width, canvas.height], image = pen.createImageData(w, h);
  for (let j = 0; j < h; j++) for (let i = 0; i < w; i++) {
    const o = THEORY.optimum(c, ((i + 0.5) / w) ** 3, tauAt(1 - (j + 0.5) / h));
    const phase = THEORY.phaseOf(o);
    // Collapse is plain grey, view splitting hatched: distinguished without colour.
    const rgb = phase === "spread" ? colour(o.instance)
      : phase === "collapse" ? [205, 205, 205] : (i + j) % 5 ? [240, 240, 240] : [90, 90, 90];
    image.data.set([...rgb, 255], 4 * (j * w + i));
  }
  pen.putImageData(image, 0, 0);
}
function curve(f, c) {
  const points = [];
  for (let i = 0; i <= 200; i++) {
    const tau = tauAt(i / 200), alpha = f(c, tau);
    if (alpha >= 0 && alpha <= 1) points.push(`${xOf(alpha).toFixed(1)},${yOf(tau).toFixed(1)}`);
  }
  return points.join(" ");
}
function diagram(c) {
  paint(c);
  byId("alpha-c").setAttribute("points", curve(THEORY.alphaThreshold, c));
  byId("alpha-s").setAttribute("points", curve(THEORY.splittingThreshold, c));
  const inside = Math.min(PLOT.high, Math.max(PLOT.low, state.temperature));
  byId("here").setAttribute("transform", `translate(${xOf(state.alpha)},${yOf(inside)})`);
}
function axes() {
  const bottom = PLOT.top + PLOT.height;
  const ticks = [0, 0.001, 0.01, 0.05, 0.1, 0.2, 0.5, 1].map((a) =>
    `<path d="M${xOf(a)} ${bottom}v5"/><text x="${xOf(a)}" y="${bottom + 21}" text-anchor="middle">${show(a)}</text>`);
  for (const t of [0.01, 0.03, 0.1, 0.3, 1, 3, 10])
    ticks.push(`<path d="M${PLOT.left - 5} ${yOf(t)}h5"/><text x="${PLOT.left - 8}" y="${yOf(t) + 4}" text-anchor="end">${show(t)}</text>`);
  byId("ticks").innerHTML = ticks.join("");
}
function command() {
  const s = state, batch = s.batch === "balanced"
    ? ` --batch-per-class ${s.batchPerClass}` + (s.batchClasses < s.classes ? ` --batch-classes ${s.batchClasses}` : "") : "";
  return `uncollapse predict --classes ${s.classes} --per-class ${s.perClass} --views ${s.views}` +
    ` --alpha ${s.alpha} --temperature ${s.temperature} --self-pairs ${s.selfPairs}` +
    ` --reduction ${s.reduction}${batch}` + (CALIBRATION ? " --calibration calibration.json" : "");
}
function draw(moved) {
  for (const name of Object.keys(BOUNDS)) {
    const [number, slider] = [byId(name), byId(`${name}-slider`)];
    if (document.activeElement !== number || Number(number.value) !== state[name]) number.value = state[name];
    if (slider !== moved) slider.value = toSlider(name, Math.min(BOUNDS[name][1], Math.max(BOUNDS[name][0], state[name])));
    slider.setAttribute("aria-valuetext", show(state[name]));
  }
  for (const name of ["batch", "selfPairs", "reduction"]) byId(name).value = state[name];
  for (const name of ["batchPerClass", "batchClasses"])
    byId(`${name}-row`).hidden = state.batch !== "balanced";
  const problem = THEORY.problem(state), found = THEORY.predict(state);
  byId("problem").textContent = problem ? TEXT[problem] : "";
  byId("answer").hidden = Boolean(problem);
  byId("phase").textContent = problem ? "" : TEXT.phases[found.phase];
  byId("phase").dataset.phase = problem ? "" : found.phase;
  for (const name of ["instance", "view", "between_class"]) {
    const v = found[`${name}_variance`];
    byId(name).textContent = v.toFixed(4);
    byId(name).dataset.value = v;
    byId(`${name}-bar`).style.width = `${100 * v}%`;
  }
  for (const name of ["alpha_threshold", "temperature_threshold", "view_splitting_threshold"]) {
    byId(name).textContent = found[name] === null ? TEXT.none : show(found[name]);
    byId(name).dataset.value = found[name] === null ? "" : found[name];
  }
  const always = problem ? null : found.at_every_temperature;
  byId("always").textContent = always ? TEXT.always[always] : "";
  drawAdvice(problem, found);
  drawNetwork(problem);
  // An option and its value stay in one line.
  byId("command").replaceChildren(...command().split(/ (?=--)/).flatMap((part) => {
    const span = document.createElement("span");
    span.textContent = part;
    return [span, " "];
  }));
  byId("link").href = `#${fragment()}`;
  keepFragment();
  diagram(THEORY.numbers(state));
  byId("diagram").setAttribute("aria-label", `${TEXT.diagram} ${problem ? TEXT[problem] : TEXT.phases[found.phase]}`);
}
// The smallest single change that leaves collapse, and the next ones; a click makes it.
function drawAdvice(problem, found) {
  const changes = problem || found.phase === "spread" ? [] : ADVICE.advise(state);
  byId("advice").hidden = changes.length === 0;
  byId("changes").replaceChildren(...changes.map(({ lever, changed }) => {
    const [item, button] = ["li", "button"].map((tag) => document.createElement(tag));
    const instance = THEORY.predict(changed).instance_variance;
    button.type = "button";
    button.textContent = TEXT.apply;
    button.addEventListener("click", () => set(changed));
    const values = { what: TEXT.levers[lever], from: show(state[lever]), to: show(changed[lever]),
      instance: instance.toFixed(4) };
    item.append(TEXT.single.replace(/\{(\w+)\}/g, (_, name) => values[name]), " ", button);
    button.setAttribute("aria-label", `${TEXT.apply}: ${item.firstChild.textContent}`);
    return item;
  }));
}
function drawNetwork(problem) {
  byId("network").hidden = !CALIBRATION || Boolean(problem);
  if (byId("network").hidden) return;
  const found = NETWORK.predict(state, CALIBRATION);
  for (const [name, v] of Object.entries(found)) {
    byId(`network-${name}`).textContent = `${v.estimate.toFixed(2)} [${v.low.toFixed(2)}, ${v.high.toFixed(2)}]`;
    byId(`network-${name}`).dataset.value = v.estimate;
    byId(`network-${name}-bar`).style.width = `${100 * v.estimate}%`;
  }
  const other = NETWORK.differs(state, CALIBRATION).map((key) => TEXT.differs[key]);
  byId("network-note").textContent = [TEXT.network_note.replace("{level}", show(100 * CALIBRATION.confidence)), ...other].join(" ");
}
function listen() {
  for (const name of Object.keys(BOUNDS)) {
    byId(`${name}-slider`).addEventListener("input", (e) => set({ [name]: fromSlider(name, Number(e.target.value)) }, e.target));
    byId(name).addEventListener("change", (e) => set({ [name]: parseFloat(e.target.value) }));
  }
  for (const name of ["batch", "selfPairs", "reduction"])
    byId(name).addEventListener("change", (e) => set({ [name]: e.target.value }));
  byId("copy-command").addEventListener("click", () => copy(command()));
  byId("copy-link").addEventListener("click", () => copy(byId("link").href));
  addEventListener("hashchange", fromFragment);
  byId("diagram").addEventListener("click", (e) => {
    const at = byId("diagram").getBoundingClientRect(), scale = 584 / at.width;
    const x = ((e.clientX - at.left) * scale - PLOT.left) / PLOT.width;
    const y = 1 - ((e.clientY - at.top) * scale - PLOT.top) / PLOT.height;
    if (x >= 0 && x <= 1 && y >= 0 && y <= 1)
      set({ temperature: Number(tauAt(y).toPrecision(3)), alpha: Number((x ** 3).toPrecision(3)) });
  });
}
axes();
listen();
fromFragment();
