// The score over the frames, as SVG: drawn for the width that there is, so that its text can be read.
const HEIGHT = 150;
const EDGE = { left: 34, right: 8, top: 8, bottom: 22 };
const FLOOR = HEIGHT - EDGE.bottom;

function element(name, attributes, text = "") {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  return made;
}

const widthOf = (plot) => plot.viewBox.baseVal.width - EDGE.left - EDGE.right;
const xOf = (plot, share) => EDGE.left + widthOf(plot) * share;

// [first, last] of the frames in a row in which the object was not found.
function lostRuns(found) {
  const runs = [];
  found.forEach((is, place) => {
    if (is) return;
    if (runs.at(-1)?.[1] === place - 1) runs.at(-1)[1] = place;
    else runs.push([place, place]);
  });
  return runs;
}

export function drawPlot(plot, { scores, found }) {
  plot.setAttribute("viewBox", `0 0 ${Math.max(plot.clientWidth, 200)} ${HEIGHT}`);
  const [last, highest] = [Math.max(scores.length - 1, 1), Math.max(1, ...scores)];
  const x = (frame) => xOf(plot, Math.min(Math.max(frame, 0), last) / last);
  const y = (score) => FLOOR - (FLOOR - EDGE.top) * Math.max(score, 0) / highest;
  const parts = lostRuns(found).map(([first, end]) => element("rect", {
    class: "lost", x: x(first - 0.5), width: x(end + 0.5) - x(first - 0.5), y: EDGE.top, height: FLOOR - EDGE.top,
  }));
  for (const score of [0, highest / 2, highest]) {
    parts.push(element("line", { class: "axis", x1: x(0), x2: x(last), y1: y(score), y2: y(score) }));
    parts.push(element("text", { x: EDGE.left - 6, y: y(score) + 4, "text-anchor": "end" }, score.toFixed(1)));
  }
  parts.push(element("text", { x: x(0), y: HEIGHT - 4 }, "frame 0"));
  parts.push(element("text", { x: x(last), y: HEIGHT - 4, "text-anchor": "end" }, String(scores.length - 1)));
  const points = scores.map((score, frame) => `${x(frame).toFixed(1)},${y(score).toFixed(1)}`);
  parts.push(element("polyline", { class: "score", points: points.join(" ") }));
  parts.push(element("line", { class: "now", x1: x(0), x2: x(0), y1: EDGE.top, y2: FLOOR }));
  plot.replaceChildren(...parts);
}

// Moves the line that says where the video is: a share of its length.
export function moveTo(plot, share) {
  for (const side of ["x1", "x2"]) plot.querySelector(".now")?.setAttribute(side, xOf(plot, share));
}

// The share of the video that a click on the plot means.
export function shareAt(plot, event) {
  const place = plot.getBoundingClientRect();
  const share = (event.clientX - place.left - EDGE.left) / widthOf(plot);
  return Math.min(Math.max(share, 0), 0.999);
}
