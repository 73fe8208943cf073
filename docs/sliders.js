/* Figures that follow sliders, on the documentation site: PACT's clip, its gradient and its error,
   computed in the reader's browser. The pages say what is drawn; tests/test_docs.py compares each
   number with the package. A figure is <div class="sliders" data-figure="…" data-values="…">. */
"use strict";
(() => {
  // PACT, Eq. 1 to 3
  const levelsOf = (k) => 2 ** k - 1;
  function roundHalfEven(z) {
    const low = Math.floor(z), rest = z - low;
    return rest < 0.5 || (rest === 0.5 && low % 2 === 0) ? low : low + 1;
  }
  const clip = (x, alpha) => Math.min(Math.max(x, 0), alpha);
  function pact(x, alpha, k) {
    const n = levelsOf(k), step = alpha / n;
    return roundHalfEven(clip(x, alpha) / step) * step;
  }
  const slopeAlpha = (x, alpha) => (x >= alpha ? 1 : 0);
  const slopeInput = (x, alpha) => (x >= 0 && x < alpha ? 1 : 0);

  // errors against ReLU over samples, and the gradient that Eq. 3 gives their mean square
  const mean = (values, f) => values.reduce((sum, x) => sum + f(x), 0) / values.length;
  function errors(values, alpha, k) {
    const square = (x) => (pact(x, alpha, k) - Math.max(x, 0)) ** 2;
    return {
      clipping: mean(values, (x) => (x > alpha ? square(x) : 0)),
      rounding: mean(values, (x) => (x > alpha ? 0 : square(x))),
    };
  }
  const pull = (values, alpha) => -2 * mean(values, (x) => Math.max(x - alpha, 0));
  const sum = (e) => e.clipping + e.rounding;
  function range(from, to, n) {
    return Array.from({ length: n }, (_, i) => from + (i * (to - from)) / (n - 1));
  }

  // a small plotting function: SVG in the page's own colours
  const SVG = "http://www.w3.org/2000/svg";
  const WIDE = 330, HIGH = 210, LEFT = 44, RIGHT = WIDE - 8, TOP = 22, FLOOR = HIGH - 34;
  function node(parent, name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return parent.appendChild(made);
  }
  function axes({ xlim, ylim, log }) {
    const place = (v, [low, high], from, to) => from + ((v - low) / (high - low)) * (to - from);
    const scale = log ? (y) => Math.log10(Math.max(y, ylim[0])) : (y) => y;
    return {
      px: (x) => place(x, xlim, LEFT, RIGHT),
      py: (y) => place(scale(y), ylim.map(scale), FLOOR, TOP),
    };
  }
  function panel(parent, { title, xlabel, xticks, yticks, lines, dots, ...limits }) {
    const frame = { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": title };
    const svg = node(parent, "svg", frame), { px, py } = axes(limits), middle = (LEFT + RIGHT) / 2;
    const size = { x: LEFT, y: TOP, width: RIGHT - LEFT, height: FLOOR - TOP };
    node(svg, "rect", { class: "frame", ...size });
    node(svg, "text", { x: middle, y: 14, class: "title" }, title);
    node(svg, "text", { x: middle, y: HIGH - 6, class: "label" }, xlabel);
    for (const x of xticks) node(svg, "text", { x: px(x), y: FLOOR + 14, class: "tick" }, `${x}`);
    for (const y of yticks) {
      const text = limits.log ? y.toExponential(0) : `${y}`;
      node(svg, "line", { x1: LEFT, x2: RIGHT, y1: py(y), y2: py(y), class: "grid" });
      node(svg, "text", { x: LEFT - 5, y: py(y) + 4, class: "tick left" }, text);
    }
    for (const { points, kind } of lines) {
      const path = points.map(([x, y]) => `${px(x)},${py(y)}`).join(" ");
      node(svg, "polyline", { class: `curve ${kind}`, points: path });
    }
    for (const [x, y] of dots) node(svg, "circle", { cx: px(x), cy: py(y), r: 3.5, class: "dot" });
  }

  // the figures: each draws itself from { k, alpha, values } and says what it shows in numbers
  const along = (from, to, f, n = 601) => range(from, to, n).map((x) => [x, f(x)]);
  const short = (v) => (v === 0 ? "0" : Math.abs(v) < 1e-3 ? v.toExponential(2) : v.toPrecision(4));
  const figures = {
    transfer(at, { k, alpha }) {
      const n = levelsOf(k), step = alpha / n;
      const levels = Array.from({ length: n + 1 }, (_, q) => q * step);
      panel(at, {
        title: "y_q against x", xlabel: "x", xlim: [-1, 6.5], ylim: [-0.3, 6.5],
        xticks: [0, 2, 4, 6], yticks: [0, 2, 4, 6], dots: levels.map((v) => [v, v]),
        lines: [
          { kind: "faint", points: along(-1, 6.5, (x) => Math.max(x, 0)) },
          { kind: "first", points: along(-1, 6.5, (x) => pact(x, alpha, k)) },
        ],
      });
      panel(at, {
        title: "slopes: ∂y_q/∂x (solid), ∂y_q/∂α (dashed)", xlabel: "x",
        xlim: [-1, 6.5], ylim: [-0.1, 1.2], xticks: [0, 2, 4, 6], yticks: [0, 1], dots: [],
        lines: [
          { kind: "first", points: along(-1, 6.5, (x) => slopeInput(x, alpha)) },
          { kind: "second", points: along(-1, 6.5, (x) => slopeAlpha(x, alpha)) },
        ],
      });
      const few = levels.map(short);
      if (few.length > 8) few.splice(4, few.length - 5, "…");
      const text = `step ${short(step)}; ${levels.length} levels: ${few.join(", ")}`;
      return { step, levels: levels.length, text };
    },
    error(at, { k, alpha, values }) {
      const grid = range(0.05, 6, 120), found = grid.map((a) => [a, errors(values, a, k)]);
      const least = found.reduce((low, next) => (sum(next[1]) < sum(low[1]) ? next : low));
      const now = errors(values, alpha, k), slope = pull(values, alpha), best = least[0];
      panel(at, {
        title: "error: sum, clipping (dashed), rounding (dotted)", xlabel: "α", log: true,
        xlim: [0, 6], ylim: [1e-6, 2], xticks: [0, 2, 4, 6], yticks: [1e-6, 1e-4, 1e-2, 1],
        dots: [[alpha, sum(now)], [best, sum(least[1])]],
        lines: [
          { kind: "second", points: found.map(([a, e]) => [a, e.clipping]) },
          { kind: "third", points: found.map(([a, e]) => [a, e.rounding]) },
          { kind: "first", points: found.map(([a, e]) => [a, sum(e)]) },
        ],
      });
      panel(at, {
        title: "its gradient for α by Eq. 3", xlabel: "α", xlim: [0, 6], ylim: [-0.9, 0.1],
        xticks: [0, 2, 4, 6], yticks: [-0.8, -0.4, 0], dots: [[alpha, slope]],
        lines: [{ kind: "first", points: grid.map((a) => [a, pull(values, a)]) }],
      });
      const parts = `clipping ${short(now.clipping)} + rounding ${short(now.rounding)}`;
      const text = `error ${short(sum(now))} = ${parts}; gradient for α ${short(slope)}; ` +
        `least error at α = ${short(best)}`;
      return { ...now, best, slope, text };
    },
  };

  // the controls of a figure; what it computed stands in its data-shown, for tests
  let made = 0;
  function control(form, name, text, attributes) {
    const id = `sliders-${made++}`, label = form.appendChild(document.createElement("label"));
    label.htmlFor = id;
    label.textContent = text;
    const tag = attributes.options ? "select" : "input";
    const input = form.appendChild(Object.assign(document.createElement(tag), { id, name }));
    for (const option of attributes.options ?? []) input.add(new Option(option));
    if (tag === "input") Object.assign(input, { type: "range", ...attributes });
    return input;
  }
  function start(box) {
    const draw = figures[box.dataset.figure], samples = JSON.parse(box.dataset.values || "{}");
    const form = box.appendChild(document.createElement("form"));
    const bits = control(form, "bits", "bits k", { min: 1, max: 8, step: 1, value: 2 });
    const alpha = control(form, "alpha", "α", { min: 0.1, max: 6, step: 0.05, value: 3 });
    const names = Object.keys(samples);
    const values = names.length ? control(form, "values", "values", { options: names }) : null;
    const panels = box.appendChild(document.createElement("div"));
    const said = box.appendChild(document.createElement("output"));
    function update() {
      panels.replaceChildren();
      const drawn = values && samples[values.value];
      const setting = { k: +bits.value, alpha: +alpha.value, values: drawn };
      const shown = draw(panels, setting);
      said.textContent = `k = ${setting.k}, α = ${setting.alpha}: ${shown.text}.`;
      box.dataset.shown = JSON.stringify(shown);
    }
    form.addEventListener("input", update);
    form.addEventListener("submit", (event) => event.preventDefault());
    update();
  }
  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".sliders").forEach(start);
  });
  window.pactFigures = { pact, errors, pull, slopeAlpha, slopeInput };
})();
