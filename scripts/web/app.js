// Stylize photos in the browser: ONNX Runtime Web runs a net in WebAssembly.

import * as ort from "./onnxruntime/ort.js";

ort.env.wasm.proxy = true; // in a worker, so that the page stays responsive
ort.env.wasm.numThreads = 1; // more need headers that plain servers do not send

// The least height and width that a net takes, in pixels.
const SMALLEST_SIDE = 16;

const find = (id) => document.getElementById(id);
const canvas = find("canvas");
const context = canvas.getContext("2d", { willReadFrequently: true });

// The photo that was chosen: its name and its pixels, upright.
let photo = null;

// What was made of it: pixels of the photo, the same stylized, and how to tell of it.
let picture = null;

// The net that was used last: its style, and the session that runs it.
let net = null;

// --- pixels --------------------------------------------------------------------------

// Return the size of a photo whose longer side is `longest` pixels or less.
function fitSize(width, height, longest) {
  const scale = Math.min(1, longest / Math.max(width, height));
  const shrink = (side) => Math.max(1, Math.round(side * scale));
  return [shrink(width), shrink(height)];
}

// Return the pixels of a photo of a size, over white.
function readPixels(bitmap, width, height) {
  const scratch = new OffscreenCanvas(width, height).getContext("2d");
  scratch.imageSmoothingQuality = "high";
  scratch.fillStyle = "white";
  scratch.fillRect(0, 0, width, height);
  scratch.drawImage(bitmap, 0, 0, width, height);
  return scratch.getImageData(0, 0, width, height);
}

// Return pixels as a net takes them: float32 RGB in [0, 1], [1, h, w, 3].
function toTensor({ data, width, height }) {
  const values = new Float32Array(3 * width * height);
  for (let i = 0; i < values.length; i++) {
    values[i] = data[4 * Math.floor(i / 3) + (i % 3)] / 255;
  }
  return new ort.Tensor("float32", values, [1, height, width, 3]);
}

// Return the pixels of a photo, mixed with what a net has made of them.
function mix(pixels, stylized, strength) {
  const mixed = new ImageData(pixels.width, pixels.height);
  mixed.data.set(pixels.data);
  for (let i = 0; i < stylized.length; i++) {
    const at = 4 * Math.floor(i / 3) + (i % 3);
    const from = pixels.data[at];
    const to = 255 * Math.min(1, Math.max(0, stylized[i]));
    mixed.data[at] = from + strength * (to - from); // is rounded
  }
  return mixed;
}

// --- the net -------------------------------------------------------------------------

// Load the net of a style, unless it is the one that was used last.
async function loadNet(style) {
  if (net?.style === style) return;
  const last = net;
  net = null;
  await last?.session.release();
  const response = await fetch(`nets/${encodeURIComponent(style)}.onnx`);
  if (!response.ok) throw new Error("the server has no net for this style");
  const session = await ort.InferenceSession.create(await response.arrayBuffer(), {
    executionProviders: ["wasm"],
  });
  net = { style, session };
}

// Return what a net makes of pixels: as `toTensor`, but not clipped.
async function stylize(pixels, style) {
  await loadNet(style);
  const { stylized } = await net.session.run({ images: toTensor(pixels) });
  return stylized.data;
}

// --- the page ------------------------------------------------------------------------

// Show pixels on the canvas, and say what they are.
function show(pixels, label) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  context.putImageData(pixels, 0, 0);
  canvas.ariaLabel = label;
  canvas.hidden = false;
  find("drop-hint").hidden = true;
}

function say(status, error = "") {
  find("status").textContent = status;
  find("error").textContent = error;
}

// Return the strength that was chosen, from 0 to 1.
const strength = () => find("strength").valueAsNumber / 100;

// Say what is chosen, where the controls do not.
function showChoices() {
  find("style-about").textContent = find("style").selectedOptions[0].dataset.about;
  find("size-value").value = `${find("size").value} px`;
  find("strength-value").value = `${find("strength").value} %`;
}

function showPicture() {
  show(mix(picture.pixels, picture.stylized, strength()), picture.label);
}

// Do work with all controls disabled; show what goes wrong.
async function whileBusy(work) {
  find("controls").disabled = true;
  find("easel").ariaBusy = "true";
  try {
    await work();
  } catch (error) {
    say("", error.message);
  }
  find("controls").disabled = false;
  find("stylize").disabled = photo === null;
  find("download").disabled = picture === null;
  find("easel").ariaBusy = "false";
}

// Read a file and show it; if it is no image, leave all as it was.
async function choosePhoto(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    throw new Error(`${file.name} is no image that this browser can read.`);
  }
  photo = { name: file.name, bitmap };
  picture = null;
  const { width, height } = bitmap;
  const size = fitSize(width, height, find("size").valueAsNumber);
  show(readPixels(bitmap, ...size), `The photo ${file.name}`);
  say(`${file.name}: ${width} × ${height} pixels`);
}

// Stylize the photo with what was chosen, and show the picture.
async function makePicture() {
  const { bitmap, name } = photo;
  const size = fitSize(bitmap.width, bitmap.height, find("size").valueAsNumber);
  if (Math.min(...size) < SMALLEST_SIDE) {
    throw new Error(
      `${size.join(" × ")} pixels are too few: each side needs ${SMALLEST_SIDE}.`,
    );
  }
  const style = find("style").value;
  say("Painting …");
  const start = performance.now();
  const pixels = readPixels(bitmap, ...size);
  const stylized = await stylize(pixels, style);
  const seconds = (performance.now() - start) / 1000;
  const label = `The photo ${name} in the style ${style}`;
  const stem = name.replace(/\.[^.]*$/, "");
  picture = { pixels, stylized, label, file: `${stem}-${style}.png` };
  showPicture();
  canvas.scrollIntoView({ block: "nearest" });
  say(`${size.join(" × ")} pixels in ${seconds.toFixed(1)} s`);
}

function download() {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = picture.file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // it is read later
  }, "image/png");
}

function choose() {
  const [file] = find("file").files;
  if (file) whileBusy(() => choosePhoto(file));
}

find("file").addEventListener("change", choose);
find("form").addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(makePicture);
});
find("style").addEventListener("input", showChoices);
find("size").addEventListener("input", showChoices);
find("strength").addEventListener("input", () => {
  showChoices();
  if (picture) showPicture();
});
find("download").addEventListener("click", download);

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", (event) => {
  event.preventDefault(); // or the browser would leave the page for the photo
  document.body.classList.remove("dragging");
  if (find("controls").disabled) return;
  find("file").files = event.dataTransfer.files;
  choose();
});

showChoices();
find("controls").disabled = false;
say("Choose a photo to begin.");
