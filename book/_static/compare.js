// Two pictures of one size, one above the other: a slider moves the edge between them. Without scripts both are shown.
(() => {
  const prepare = (box) => {
    const [below, above] = box.querySelectorAll("img");
    if (!above) return;
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", min: 0, max: 100, value: 50 });
    slider.setAttribute("aria-label", box.dataset.label || "Compare two pictures");
    const frame = document.createElement("div");
    frame.className = "compare-frame";
    frame.append(below, above);
    const move = () => { above.style.clipPath = `inset(0 0 0 ${slider.value}%)`; };
    slider.addEventListener("input", move);
    box.replaceChildren(frame, slider);
    box.classList.add("ready");
    move();
  };
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".compare").forEach(prepare));
})();
