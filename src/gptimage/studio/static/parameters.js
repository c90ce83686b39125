// The form of a model's parameters: what the model takes, with the library's names.

import { field, h, later, usd } from "./dom.js";
import { post, recall, remember, seen, StudioError } from "./api.js";

const FIRST = ["size", "n", "quality", "format", "background"];
const QUICK = ["square", "landscape", "portrait", "16:9", "og_image"];
const words = (name) => name === "n" ? "images (n)" : name.replaceAll("_", " ");

export class Parameters {
  /** `operation` is generate or edit; `changed` is called after every change. */
  constructor(operation, changed) {
    this.operation = operation;
    this.changed = changed;
    this.values = recall(`parameters.${operation}`, { quality: "low", size: operation === "edit" ? "same" : "square" });
    this.help = h("p", { class: "helpline", id: `help-${operation}` });
    this.first = h("div", { class: "fields" });
    this.more = h("div", { class: "fields" });
    this.model = h("select", { onchange: () => this.set("model", this.model.value) });
    for (const each of seen.catalogue.models) {
      const ends = each.shutdown ? ` (until ${each.shutdown})` : "";
      this.model.append(h("option", { value: each.id, text: each.id + ends }));
    }
    if (!seen.catalogue.models.some((each) => each.id === this.values.model)) this.values.model = seen.catalogue.default_model;
    this.model.value = this.values.model;
    this.node = h("div", { class: "stack" }, field("Model", this.model), this.first,
      h("details", {}, h("summary", { text: "More parameters" }), this.more));
    this.node.addEventListener("focusin", (event) => this.explain(event.target));
    this.build();
  }

  get rows() {
    const spec = seen.catalogue.models.find((each) => each.id === this.values.model) ?? seen.catalogue.models[0];
    return spec.parameters[this.operation].filter((row) => row.kind !== "image" && row.kind !== "images");
  }

  set(name, value) {
    if (value === "" || value === null || value === undefined) delete this.values[name]; else this.values[name] = value;
    remember(`parameters.${this.operation}`, this.values);
    if (name === "model" || name === "format") this.build();
    this.changed();
  }

  /** Take over parameters of a template or of an earlier request. */
  use(values) {
    for (const [name, value] of Object.entries(values)) this.values[name] = value;
    this.model.value = this.values.model;
    this.build();
    this.changed();
  }

  build() {
    const format = this.values.format ?? "png";
    this.controls = new Map();
    this.first.replaceChildren();
    this.more.replaceChildren();
    const place = (row) => (FIRST.indexOf(row.name) + 1) || FIRST.length + 1;
    const taken = this.rows.filter((each) => !each.formats.length || each.formats.includes(format));
    for (const row of taken.sort((one, other) => place(one) - place(other))) {
      if (row.kind === "choice" && !row.choices.includes(this.values[row.name])) delete this.values[row.name];
      const control = this.control(row);
      control.setAttribute("aria-describedby", this.help.id);
      this.controls.set(row.name, { row, control });
      const node = field(words(row.name), control, { wide: row.name === "size" });
      if (row.name === "size") node.append(this.sizes(control));
      (FIRST.includes(row.name) ? this.first : this.more).append(node);
    }
    this.explain(null);
  }

  control(row) {
    const value = this.values[row.name] ?? "";
    const attributes = { name: row.name, value };
    if (row.kind === "choice") {
      const select = h("select", { name: row.name, onchange: () => this.set(row.name, select.value) },
        h("option", { value: "", text: row.name === "format" ? "png" : "default" }),
        row.choices.filter((each) => row.name !== "format" || each !== "png").map((each) => h("option", { value: each, text: each })));
      select.value = value;
      return select;
    }
    const whole = row.kind === "whole";
    const input = h("input", { ...attributes, type: whole ? "number" : "text", min: row.least, max: row.most, autocomplete: "off",
      placeholder: row.name === "n" ? "1" : row.name === "partial_images" ? "2" : row.name === "size" ? "auto" : "",
      oninput: () => this.set(row.name, whole && input.value !== "" ? Number(input.value) : input.value.trim()) });
    return input;
  }

  sizes(input) {
    const list = h("datalist", { id: `sizes-${this.operation}` },
      Object.entries(seen.catalogue.sizes).map(([name, pixels]) => h("option", { value: name, label: pixels })));
    input.setAttribute("list", list.id);
    const names = this.operation === "edit" ? ["same", ...QUICK.slice(0, 4)] : QUICK;
    const chips = names.map((name) => h("button", { type: "button", class: "chip", text: name, title: seen.catalogue.sizes[name] ?? name,
      onclick: () => { input.value = name; input.dispatchEvent(new Event("input")); } }));
    const mark = () => { for (const each of chips) each.setAttribute("aria-pressed", String(each.textContent === input.value)); };
    input.addEventListener("input", mark);
    mark();
    return h("div", { class: "sizes" }, list, chips);
  }

  explain(target) {
    const found = [...this.controls.values()].find(({ control }) => control === target);
    this.help.classList.remove("error");
    for (const { control } of this.controls.values()) control.removeAttribute("aria-invalid");
    this.help.textContent = found ? `${found.row.help}.` : "Ctrl or ⌘ and Enter sends it, too.";
  }

  /** Show why a request would be refused, at the field it is about. */
  refuse(error) {
    const found = this.controls.get(error.field);
    found?.control.setAttribute("aria-invalid", "true");
    this.help.classList.add("error");
    this.help.textContent = error.message;
  }

  /** What is sent: what was chosen, and nothing the model does not take. */
  request() {
    const found = { model: this.values.model };
    for (const name of this.controls.keys()) if (this.values[name] !== undefined) found[name] = this.values[name];
    const still = !["gif", "svg"].includes(found.format) && (found.n ?? 1) === 1;
    if (found.partial_images === undefined && still) found.partial_images = 2;
    return found;
  }
}

/** The line with what a request may cost, kept up to date; its height never changes. */
export class EstimateLine {
  constructor(parameters) {
    this.parameters = parameters;
    this.about = h("span", {});
    this.node = h("p", { class: "estimate num", "aria-live": "polite" }, this.about);
    this.update = later(250, (...all) => this.ask(...all));
  }

  async ask(body, times, half = false) {
    this.asking?.abort();
    if (!body) { this.about.textContent = "What it may cost is shown here first."; return; }
    this.asking = new AbortController();
    try {
      const found = await post("api/estimate", body, { signal: this.asking.signal });
      if (found.refused) throw new StudioError(found.refused, found.field);
      const each = found.estimate_usd === null ? null : found.estimate_usd / (half ? 2 : 1);
      const most = half ? " at half price" : found.most_usd === null ? "" : ` · at most ${usd(found.most_usd * times)}`;
      this.about.replaceChildren(...(each === null ? ["The cost is not known beforehand: choose size and quality."]
        : ["About ", h("strong", { text: usd(each * times) }), `${most}${times > 1 ? ` for ${times}` : ""}`]));
      this.about.title = found.notes.join("; ");
      if (this.parameters.help.classList.contains("error")) this.parameters.explain(document.activeElement);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.about.textContent = "";
      this.parameters.refuse(error);
    }
  }
}

