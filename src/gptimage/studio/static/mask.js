// The mask: strokes and boxes over the first image, kept as a list so that each can be undone.

import { button, h, icon, iconButton } from "./dom.js";

const MAX = 4096;

export class MaskEditor {
  /** `changed` is called when there is a mask, or none any more. */
  constructor(changed) {
    this.changed = changed;
    this.ops = [];
    this.undone = [];
    this.tool = "paint";
    this.view = { scale: 1, x: 0, y: 0 };
    this.pointers = new Map();
    this.image = h("img", { alt: "The image to change", draggable: "false" });
    this.canvas = h("canvas", { "aria-hidden": "true" });
    this.paper = h("div", { class: "paper checker" }, this.image, this.canvas);
    this.area = h("div", { class: "canvas-area", tabindex: "0", role: "application",
      "aria-label": "Mask: paint over what may change. Keys: B paint, E erase, R box, I invert, Z undo, plus and minus zoom, arrows move." }, this.paper);
    this.size = h("input", { type: "range", min: "4", max: "240", value: "60", "aria-label": "Brush size in pixels of the image" });
    this.buttons = new Map([["paint", "brush", "Paint what may change (B)"], ["erase", "eraser", "Erase the mask (E)"], ["box", "box", "Mark a box (R)"],
      ["hand", "hand", "Move the image (H, or hold Space)"]].map(([tool, picture, label]) =>
      [tool, iconButton(picture, label, () => this.choose(tool))]));
    this.undoButton = iconButton("undo", "Undo (Z)", () => this.undo());
    this.redoButton = iconButton("redo", "Redo (Shift Z)", () => this.redo());
    this.tools = h("div", { class: "tools", role: "toolbar", "aria-label": "Mask" }, ...this.buttons.values(), h("span", { class: "bar" }),
      h("label", {}, icon("brush"), this.size), h("span", { class: "bar" }), this.undoButton, this.redoButton,
      iconButton("invert", "Invert the mask (I)", () => this.add({ tool: "invert" })),
      button("Clear", () => this.add({ tool: "clear" }), { kind: "tiny quiet" }), h("span", { class: "bar" }),
      iconButton("minus", "Zoom out (−)", () => this.zoom(1 / 1.3)), iconButton("plus", "Zoom in (+)", () => this.zoom(1.3)),
      iconButton("fit", "Show all of it (0)", () => this.fit()));
    for (const [name, run] of [["pointerdown", this.down], ["pointermove", this.move], ["pointerup", this.up], ["pointercancel", this.up]]) {
      this.area.addEventListener(name, (event) => run.call(this, event));
    }
    this.area.addEventListener("wheel", (event) => { event.preventDefault(); this.zoom(event.deltaY < 0 ? 1.12 : 1 / 1.12, event); }, { passive: false });
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.image.addEventListener("load", () => this.loaded());
    new ResizeObserver(() => this.fit()).observe(this.area);
    this.choose("paint");
    this.refresh();
  }

  /** Show another image, with an empty mask. */
  show(url) {
    this.ops = [];
    this.undone = [];
    this.image.src = url;
    this.refresh();
  }

  loaded() {
    const scale = Math.min(1, MAX / Math.max(this.image.naturalWidth, this.image.naturalHeight));
    this.canvas.width = Math.round((this.image.naturalWidth || 1024) * scale);
    this.canvas.height = Math.round((this.image.naturalHeight || 1024) * scale);
    this.paper.style.width = `${this.canvas.width}px`;
    this.paper.style.height = `${this.canvas.height}px`;
    this.size.max = Math.round(this.canvas.width / 4);
    this.size.value = Math.round(this.canvas.width / 14);
    this.fit();
    this.redraw();
  }

  choose(tool) {
    this.tool = tool;
    for (const [name, each] of this.buttons) each.setAttribute("aria-pressed", String(name === tool));
    this.area.style.cursor = tool === "hand" ? "grab" : "crosshair";
  }

  add(op) {
    this.ops.push(op);
    this.undone = [];
    this.redraw();
  }

  undo() { if (this.ops.length) { this.undone.push(this.ops.pop()); this.redraw(); } }
  redo() { if (this.undone.length) { this.ops.push(this.undone.pop()); this.redraw(); } }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.area;
    if (!width || !this.canvas.width) return;
    const scale = Math.min((width - 24) / this.canvas.width, (height - 24) / this.canvas.height);
    this.view = { scale, x: (width - this.canvas.width * scale) / 2, y: (height - this.canvas.height * scale) / 2 };
    this.look();
  }

  zoom(by, event) {
    const box = this.area.getBoundingClientRect();
    const x = event ? event.clientX - box.left : box.width / 2;
    const y = event ? event.clientY - box.top : box.height / 2;
    const scale = Math.max(0.02, Math.min(16, this.view.scale * by));
    const factor = scale / this.view.scale;
    this.view = { scale, x: x - (x - this.view.x) * factor, y: y - (y - this.view.y) * factor };
    this.look();
  }

  look() {
    this.paper.style.transform = `translate(${this.view.x}px, ${this.view.y}px) scale(${this.view.scale})`;
  }

  at(event) {
    const box = this.area.getBoundingClientRect();
    return [(event.clientX - box.left - this.view.x) / this.view.scale, (event.clientY - box.top - this.view.y) / this.view.scale];
  }

  down(event) {
    this.area.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, event);
    if (this.pointers.size === 2) { this.stroke = null; this.redraw(); return; }
    if (event.button === 1 || this.tool === "hand" || this.space) { this.panning = true; return; }
    const point = this.at(event);
    this.stroke = { tool: this.tool, size: Number(this.size.value), points: [point, point] };
    this.redraw(this.stroke);
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.pointers.size === 2) this.pinch(event);
    else if (this.panning) { this.view.x += event.clientX - before.clientX; this.view.y += event.clientY - before.clientY; this.look(); }
    else if (this.stroke) {
      const point = this.at(event);
      if (this.stroke.tool === "box") this.stroke.points[1] = point; else this.stroke.points.push(point);
      this.redraw(this.stroke);
    }
    this.pointers.set(event.pointerId, event);
  }

  /** Two fingers move and zoom. */
  pinch(event) {
    const other = [...this.pointers.values()].find((each) => each.pointerId !== event.pointerId);
    const before = this.pointers.get(event.pointerId);
    const far = (a, b) => Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY) || 1;
    this.view.x += (event.clientX - before.clientX) / 2;
    this.view.y += (event.clientY - before.clientY) / 2;
    this.zoom(far(event, other) / far(before, other), { clientX: (event.clientX + other.clientX) / 2, clientY: (event.clientY + other.clientY) / 2 });
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    this.panning = false;
    if (this.stroke) { const stroke = this.stroke; this.stroke = null; this.add(stroke); }
  }

  key(event) {
    const keys = { b: () => this.choose("paint"), e: () => this.choose("erase"), r: () => this.choose("box"), h: () => this.choose("hand"),
      i: () => this.add({ tool: "invert" }), z: () => event.shiftKey ? this.redo() : this.undo(), "+": () => this.zoom(1.3), "=": () => this.zoom(1.3),
      "-": () => this.zoom(1 / 1.3), 0: () => this.fit(), "[": () => { this.size.value -= 8; }, "]": () => { this.size.value = Number(this.size.value) + 8; },
      ArrowLeft: () => this.pan(40, 0), ArrowRight: () => this.pan(-40, 0), ArrowUp: () => this.pan(0, 40), ArrowDown: () => this.pan(0, -40) };
    const run = keys[event.key] ?? keys[event.key.toLowerCase()];
    if (!run) return;
    event.preventDefault();
    run();
  }

  pan(x, y) { this.view.x += x; this.view.y += y; this.look(); }

  redraw(current = null) {
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.globalCompositeOperation = "source-over";
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    for (const op of current ? [...this.ops, current] : this.ops) this.apply(context, op);
    this.refresh();
  }

  apply(context, op) {
    const { width, height } = this.canvas;
    context.globalCompositeOperation = { erase: "destination-out", invert: "xor" }[op.tool] ?? "source-over";
    context.fillStyle = context.strokeStyle = "#e2541b";
    if (op.tool === "clear") context.clearRect(0, 0, width, height);
    else if (op.tool === "invert") context.fillRect(0, 0, width, height);
    else if (op.tool === "box") {
      const [[left, top], [right, bottom]] = op.points;
      context.fillRect(Math.min(left, right), Math.min(top, bottom), Math.abs(right - left), Math.abs(bottom - top));
    } else {
      context.lineWidth = op.size;
      context.lineCap = context.lineJoin = "round";
      context.beginPath();
      op.points.forEach(([x, y], index) => index ? context.lineTo(x + 0.01, y) : context.moveTo(x, y));
      context.stroke();
    }
  }

  refresh() {
    this.undoButton.disabled = !this.ops.length;
    this.redoButton.disabled = !this.undone.length;
    const marked = this.ops.length > 0 && this.ops.at(-1).tool !== "clear";
    if (marked !== this.marked) { this.marked = marked; this.changed(marked); }
  }

  /** The mask as a PNG whose transparent parts may change; null when nothing is marked. */
  async blob() {
    const { width, height } = this.canvas;
    if (!this.marked || !width) return null;
    const pixels = this.canvas.getContext("2d").getImageData(0, 0, width, height);
    let any = false;
    for (let at = 0; at < pixels.data.length; at += 4) {
      const free = pixels.data[at + 3] > 127;
      any ||= free;
      pixels.data[at] = pixels.data[at + 1] = pixels.data[at + 2] = 0;
      pixels.data[at + 3] = free ? 0 : 255;
    }
    if (!any) return null;
    const mask = new OffscreenCanvas(width, height);
    mask.getContext("2d").putImageData(pixels, 0, 0);
    return mask.convertToBlob({ type: "image/png" });
  }
}
