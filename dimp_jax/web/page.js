import { drawPlot, moveTo, shareAt } from "./plot.js";

const POLL_MS = 300;
const byId = (id) => document.getElementById(id);
const [frame, video, plot] = ["frame", "video", "plot"].map(byId);
const inputs = ["x", "y", "w", "h"].map(byId);
let settings = null; // of the server
let clip = null; // as the server describes it
let picture = null; // its first frame
let job = null; // {id, scores, found} of what is tracked or was tracked last

function show(id, shown = true) { byId(id).hidden = !shown; }

function tell(id, text) {
  byId(id).textContent = text;
  show(id, text !== "");
}

// The answer as JSON; an Error with the server's words if it refuses.
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer: is dimp-jax demo still running?");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(content.error ?? `the server answered ${answer.status}`);
  return content;
}

const post = (path, content) => ask(path, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(content ?? {}),
});

// ---- 1. the clip

async function choose(getting) {
  for (const id of ["choose-error", "box-error", "work-error"]) tell(id, "");
  byId("use-demo").disabled = byId("file").disabled = true;
  try {
    const chosen = await getting();
    const image = new Image();
    image.src = `clips/${chosen.id}/first.jpg`;
    await image.decode();
    [clip, picture] = [chosen, image];
  } catch (error) {
    tell("choose-error", error.message);
    return;
  } finally {
    byId("use-demo").disabled = byId("file").disabled = false;
    show("upload", false);
    byId("file").value = "";
  }
  const rate = clip.frame_rate ? `, ${+clip.frame_rate.toFixed(2)} frames a second` : "";
  const count = clip.frames ? `, ${clip.frames} frames` : "";
  byId("clip").textContent = `${clip.name}: ${clip.width} x ${clip.height} pixels${count}${rate}`;
  [frame.width, frame.height] = [clip.width, clip.height];
  setBox(clip.box);
  show("draw");
  show("work", job !== null && job.running);
  show("result", false);
  video.removeAttribute("src");
  byId("draw").scrollIntoView({ block: "nearest" });
}

function upload(file) {
  if (file.size > settings.max_upload_mb * 1e6) {
    const size = (file.size / 1e6).toFixed(1);
    throw new Error(`${file.name} has ${size} MB, more than the ${settings.max_upload_mb} MB that are ` +
      "taken: cut it, or start dimp-jax demo with a larger --max-upload-mb");
  }
  show("upload");
  return new Promise((resolve, reject) => { // fetch tells nothing of its progress
    const request = new XMLHttpRequest();
    request.open("POST", `clips?name=${encodeURIComponent(file.name)}`);
    request.responseType = "json";
    request.upload.onprogress = (event) => { byId("upload").value = event.loaded / event.total; };
    request.onerror = () => reject(new Error("the upload was broken off: is dimp-jax demo running?"));
    request.onload = () => {
      if (request.status === 200) resolve(request.response);
      else reject(new Error(request.response?.error ?? `the server answered ${request.status}`));
    };
    request.send(file);
  });
}

byId("use-demo").addEventListener("click", () => choose(() => post("clips/demo")));
byId("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) choose(async () => upload(file));
});

// ---- 2. the box

const round = (value) => Math.round(value * 100) / 100;

function box() { // null: none, or not all of its numbers
  const values = inputs.map((input) => input.valueAsNumber);
  return values.some(Number.isNaN) ? null : values;
}

function setBox(values) {
  inputs.forEach((input, place) => { input.value = values ? round(values[place]) : ""; });
  drawFrame();
}

function drawFrame() {
  const canvas = frame.getContext("2d");
  canvas.drawImage(picture, 0, 0, frame.width, frame.height);
  const values = box();
  if (!values) return;
  const scale = 1 / shownScale();
  for (const [color, width] of [["#000", 5], ["#5ac8ff", 2.5]]) {
    canvas.strokeStyle = color;
    canvas.lineWidth = width * scale;
    canvas.strokeRect(...values);
  }
}

function shownScale() { // screen pixels an image pixel; the canvas may be wider than its picture
  const place = frame.getBoundingClientRect();
  return Math.min(place.width / frame.width, place.height / frame.height) || 1;
}

function pixelOf(event) { // of the image, within it
  const [place, shown] = [frame.getBoundingClientRect(), shownScale()];
  const edge = [place.width - frame.width * shown, place.height - frame.height * shown];
  const x = (event.clientX - place.left - edge[0] / 2) / shown;
  const y = (event.clientY - place.top - edge[1] / 2) / shown;
  return [Math.min(Math.max(x, 0), frame.width), Math.min(Math.max(y, 0), frame.height)];
}

let corner = null; // where the drag began
frame.addEventListener("pointerdown", (event) => {
  if (event.button !== 0) return;
  frame.setPointerCapture(event.pointerId);
  corner = pixelOf(event);
});
frame.addEventListener("pointermove", (event) => {
  if (!corner) return;
  const [x, y] = pixelOf(event);
  setBox([Math.min(x, corner[0]), Math.min(y, corner[1]), Math.abs(x - corner[0]), Math.abs(y - corner[1])]);
});
for (const name of ["pointerup", "pointercancel"]) {
  frame.addEventListener(name, () => { corner = null; });
}
frame.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const values = box();
  if (!step || !values) return;
  event.preventDefault();
  const first = event.shiftKey ? 2 : 0;
  values[first] += step[0];
  values[first + 1] += step[1];
  if (values[2] > 0 && values[3] > 0) setBox(values);
});
for (const input of inputs) input.addEventListener("input", drawFrame);
window.addEventListener("resize", () => {
  if (picture) drawFrame();
  if (job?.scores) drawPlot(plot, job);
  moveLine();
});

// ---- 3. tracking

byId("box").addEventListener("submit", async (event) => {
  event.preventDefault();
  tell("box-error", "");
  const values = box();
  if (!values || !(values[2] > 0 && values[3] > 0)) {
    tell("box-error", "no box yet: draw one around the object, or type its four numbers; width and " +
      "height must be above 0");
    return;
  }
  byId("track").disabled = true;
  try {
    job = { ...await post("jobs", { clip: clip.id, box: values }), running: true };
    await follow(job);
  } catch (error) {
    tell("box-error", error.message);
    await followRunning().catch(() => {}); // that of another tab may be why
  } finally {
    byId("track").disabled = false;
  }
});

async function followRunning() { // what was begun before a reload, or in another tab
  settings = await ask("settings");
  if (!settings.running || job?.running) return;
  job = { id: settings.running, running: true };
  await follow(job);
}

async function follow(current) {
  tell("work-error", "");
  show("work");
  show("result", false);
  show("latest", false);
  byId("cancel").disabled = false;
  byId("work").scrollIntoView({ block: "nearest" });
  let seen = 0;
  for (;;) {
    let now;
    try {
      now = await ask(`jobs/${current.id}`);
    } catch (error) {
      current.running = false;
      tell("work-error", error.message);
      return;
    }
    const total = now.total ?? 0;
    if (now.frames && total) byId("progress").value = Math.min(now.frames / total, 1);
    else byId("progress").removeAttribute("value");
    const rate = now.frames_per_second ? `, ${now.frames_per_second} frames a second` : "";
    byId("status").textContent = now.frames
      ? `${now.frames}${total ? ` of ${total}` : ""} frames${rate}`
      : now.ready ? "starting" : "compiling: once, and kept for the next start";
    if (now.frames > seen) {
      seen = now.frames;
      byId("latest").src = `jobs/${current.id}/latest.jpg?frame=${seen}`;
      show("latest");
    }
    if (["done", "cancelled", "failed"].includes(now.state)) {
      Object.assign(current, now, { running: false });
      byId("cancel").disabled = true;
      if (now.state === "failed") tell("work-error", now.error);
      else showResult(current);
      return;
    }
    await new Promise((resolve) => { setTimeout(resolve, POLL_MS); });
  }
}

byId("cancel").addEventListener("click", async () => {
  byId("cancel").disabled = true;
  try {
    await post(`jobs/${job.id}/cancel`);
  } catch (error) {
    tell("work-error", error.message);
  }
});

// ---- the result

function showResult(done) {
  show("work", false);
  show("result");
  const lost = done.found.filter((found) => !found).length;
  const cancelled = done.state === "cancelled" ? "Cancelled: what was tracked until then. " : "";
  const times = lost ? `; not found in ${lost} of them` : "; found in each";
  byId("notes").textContent = done.notes.join("; ");
  byId("summary").textContent = `${cancelled}${done.frames} frame${done.frames === 1 ? "" : "s"}${times}. ` +
    `${done.frames_per_second} frames a second, with decoding, drawing and encoding.`;
  tell("video-error", settings.video.plays ? "" : `The video is ${settings.video.codec}: download it.`);
  video.src = `jobs/${done.id}/video.mp4`;
  video.play().catch(() => {}); // where playing must be asked for, the person does it
  byId("download-video").href = video.src;
  for (const link of document.querySelectorAll("[data-format]")) {
    link.href = `jobs/${done.id}/boxes/${link.dataset.format}`;
  }
  drawPlot(plot, done);
  byId("result").scrollIntoView({ block: "start" });
}
video.addEventListener("error", () => {
  if (video.src) tell("video-error", "This browser cannot play the video: download it instead.");
});

function moveLine() {
  if (video.duration) moveTo(plot, video.currentTime / video.duration);
}
video.addEventListener("timeupdate", moveLine);
plot.addEventListener("click", (event) => {
  if (video.duration) video.currentTime = shareAt(plot, event) * video.duration;
});

// ---- the start

(async () => {
  try {
    settings = await ask("settings");
    byId("about").textContent = settings.tracker;
    byId("limit").textContent = `up to ${settings.max_upload_mb} MB`;
    await followRunning();
  } catch (error) {
    tell("choose-error", error.message);
  }
})();
