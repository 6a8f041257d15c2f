// A slider over the decision threshold: ROC, precision-recall and scores move together, the marked points stay. Several in
// a box of the class threshold-choice are shown one at a time, by a list of what stands before the colon of each caption.
// The counts stand in the page, so it works from file://. Without scripts the pictures in the page stay.
(() => {
  const SIDE = 200, LEFT = 46, TOP = 8, BOTTOM = 42;
  const MINUS = "\u2212";

  const svg = (parent, name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  };
  const make = (parent, name, properties = {}) => {
    const element = Object.assign(document.createElement(name), properties);
    parent.append(element);
    return element;
  };
  const x = (value) => LEFT + SIDE * value;
  const y = (value) => TOP + SIDE * (1 - value);
  const show = (value, digits = 4) => (Number.isFinite(value) ? value.toFixed(digits) : "—");

  // Axes from 0 to 1, with names.
  const panel = (parent, title, below, beside) => {
    const box = `0 0 ${LEFT + SIDE + 10} ${TOP + SIDE + BOTTOM}`;
    const drawing = svg(parent, "svg", { viewBox: box, role: "img", "aria-label": title });
    svg(drawing, "rect", { x: LEFT, y: TOP, width: SIDE, height: SIDE, class: "frame" });
    for (const tick of [0, 0.5, 1]) {
      svg(drawing, "text", { x: x(tick), y: TOP + SIDE + 14, "text-anchor": "middle" }, tick);
      svg(drawing, "text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, tick);
    }
    svg(drawing, "text", { x: x(0.5), y: TOP + SIDE + 32, "text-anchor": "middle" }, below);
    const turned = { "text-anchor": "middle", transform: `translate(11 ${y(0.5)}) rotate(-90)` };
    if (beside) svg(drawing, "text", turned, beside);
    return drawing;
  };
  const line = (drawing, across, up, name) => {
    const places = across.map((value, index) => [value, up[index]]).filter((pair) => pair.every(Number.isFinite));
    const points = places.map(([a, b]) => `${x(a).toFixed(1)},${y(b).toFixed(1)}`).join(" ");
    svg(drawing, "polyline", { points, class: `curve ${name}` });
  };
  // Shapes around the origin: the moving point, and the marks of those that stay.
  const MOVING = "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z";
  const MARKS = ["M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z", "M-4,-4h8v8h-8z", "M0,-5.5l5.5,5.5l-5.5,5.5l-5.5,-5.5z"];
  const mark = (number) => MARKS[number % MARKS.length];
  const place = (dot, across, up) => {
    dot.setAttribute("visibility", Number.isFinite(across + up) ? "visible" : "hidden");
    if (Number.isFinite(across + up)) dot.setAttribute("transform", `translate(${x(across)} ${y(up)})`);
  };

  const explore = (root, number) => {
    const data = JSON.parse(root.querySelector("script").textContent);
    const scores = data.thresholds.map((threshold, index) => {
      const tp = data.tp[index], fp = data.fp[index];
      return {
        threshold,
        sensitivity: tp / data.vessel,
        specificity: 1 - fp / data.background,
        precision: tp / (tp + fp),
        dice: (2 * tp) / (tp + fp + data.vessel),
      };
    });
    const column = (name) => scores.map((score) => score[name]);
    const names = ["sensitivity", "specificity", "precision", "dice"];

    const view = document.createElement("div");
    const control = make(view, "div", { className: "control" });
    const slider = { type: "range", id: `threshold-${number}`, min: 0.01, max: 0.99, step: 0.01 };
    make(control, "label", { htmlFor: slider.id, textContent: "Threshold (probability)" });
    const range = make(control, "input", slider);
    const chosen = make(control, "output");
    chosen.setAttribute("for", slider.id);
    const reset = make(control, "button", { type: "button", textContent: "the run's own" });

    const plots = make(view, "div", { className: "plots" });
    const roc = panel(plots, "ROC curve", `1 ${MINUS} specificity`, "sensitivity");
    line(roc, [1, ...scores.map((score) => 1 - score.specificity), 0], [1, ...column("sensitivity"), 0], "");
    const pr = panel(plots, "Precision-recall curve", "recall (sensitivity)", "precision");
    line(pr, column("sensitivity"), column("precision"), "");
    const over = panel(plots, "Sensitivity, specificity and Dice over the threshold", "threshold", "");
    ["sensitivity", "specificity", "dice"].forEach((name, index) => {
      line(over, column("threshold"), column(name), name);
      line(over, [0.2, 0.3], [0.3 - 0.1 * index, 0.3 - 0.1 * index], name);
      svg(over, "text", { x: x(0.33), y: y(0.3 - 0.1 * index) + 4 }, name === "dice" ? "Dice" : name);
    });
    data.points.forEach((point, index) => {
      place(svg(roc, "path", { d: mark(index), class: "fixed" }), 1 - point.specificity, point.sensitivity);
      place(svg(pr, "path", { d: mark(index), class: "fixed" }), point.sensitivity, point.precision);
    });
    const moving = [roc, pr].map((drawing) => svg(drawing, "path", { d: MOVING, class: "moving" }));
    const cursor = svg(over, "line", { y1: TOP, y2: TOP + SIDE, class: "cursor" });

    const table = make(make(view, "div", { className: "numbers" }), "table");
    const head = make(make(table, "thead"), "tr");
    for (const title of ["point", "sensitivity", "specificity", "precision", "Dice"]) make(head, "th", { scope: "col", textContent: title });
    const body = make(table, "tbody");
    const row = (title, shape, name) => {
      const cells = make(body, "tr");
      const label = make(cells, "th", { scope: "row" });
      const sign = svg(label, "svg", { viewBox: "-7 -7 14 14", class: "sign", "aria-hidden": "true" });
      svg(sign, "path", { d: shape, class: name });
      label.append(title);
      return names.map((name) => Object.assign(make(cells, "td"), { className: name }));
    };
    const fill = (cells, score) => cells.forEach((cell, index) => (cell.textContent = show(score[names[index]])));
    const ours = row("at this threshold", MOVING, "moving");
    data.points.forEach((point, index) => fill(row(point.title, mark(index), "fixed"), point));

    const move = (index) => {
      const score = scores[index];
      place(moving[0], 1 - score.specificity, score.sensitivity);
      place(moving[1], score.sensitivity, score.precision);
      cursor.setAttribute("x1", x(score.threshold));
      cursor.setAttribute("x2", x(score.threshold));
      fill(ours, score);
      chosen.textContent = show(score.threshold, 3);
      range.setAttribute("aria-valuetext", `${show(score.threshold, 3)}, sensitivity ${show(score.sensitivity, 3)}, specificity ${show(score.specificity, 3)}, Dice ${show(score.dice, 3)}`);
    };
    const nearest = (wanted) => scores.reduce(
      (best, score, index) => (Math.abs(score.threshold - wanted) < Math.abs(scores[best].threshold - wanted) ? index : best), 0);
    const start = () => {
      range.value = data.thresholds[data.start];
      move(data.start);
    };
    range.addEventListener("input", () => move(nearest(Number(range.value))));
    reset.addEventListener("click", start);
    start();
    root.querySelector("img").replaceWith(view);
  };

  // A list that shows one of several sliders.
  const choose = (box, number) => {
    const figures = [...box.querySelectorAll(".threshold-explorer")];
    if (figures.length < 2) return;
    const control = document.createElement("div");
    control.className = "control";
    box.prepend(control);
    make(control, "label", { htmlFor: `threshold-of-${number}`, textContent: box.dataset.label });
    const list = make(control, "select", { id: `threshold-of-${number}` });
    const title = (figure) => figure.querySelector("figcaption").textContent.split(":")[0];
    figures.forEach((figure, index) => make(list, "option", { value: index, textContent: title(figure) }));
    const update = () => figures.forEach((figure, index) => (figure.hidden = index !== Number(list.value)));
    list.addEventListener("change", update);
    update();
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll(".threshold-explorer").forEach(explore);
    document.querySelectorAll(".threshold-choice").forEach(choose);
  });
})();
