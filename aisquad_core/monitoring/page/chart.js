// One curve over time: drawn by hand, read by eye, by arrow keys and by a screen reader.

import { clock } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 600;
const HEIGHT = 100;

function make(parent, name, className = "") {
  const element = document.createElement(name);
  if (className) element.className = className;
  parent.append(element);
  return element;
}

function draw(parent, name, className) {
  const element = document.createElementNS(SVG, name);
  element.setAttribute("class", className);
  element.setAttribute("aria-hidden", "true");
  parent.append(element);
  return element;
}

function set(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export class Chart {
  // `spell` says a value in words; `second` is a curve that is only looked at beside the first.
  constructor(figure, { title, spell, second = null }) {
    this.title = title;
    this.spell = spell;
    this.second = second;
    this.points = [];
    this.cursor = null;
    this.now = "–";
    const caption = make(figure, "figcaption");
    const heading = make(caption, "h3");
    heading.textContent = title;
    this.readout = make(caption, "output");
    this.readout.setAttribute("aria-live", "off");
    this.plot = make(figure, "div", "plot");
    this.svg = draw(this.plot, "svg", "");
    this.svg.removeAttribute("aria-hidden");
    set(this.svg, "viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
    set(this.svg, "preserveAspectRatio", "none");
    set(this.svg, "role", "img");
    set(this.svg, "tabindex", "0");
    this.area = draw(this.svg, "path", "area");
    this.base = draw(this.svg, "path", "base");
    set(this.base, "d", `M0 ${HEIGHT}H${WIDTH}`);
    this.limit = draw(this.svg, "path", "limit");
    this.other = draw(this.svg, "path", "second");
    this.curve = draw(this.svg, "path", "curve");
    this.line = draw(this.svg, "path", "cursor");
    const axis = make(figure, "div", "axis");
    axis.setAttribute("aria-hidden", "true");
    this.from = make(axis, "span");
    this.to = make(axis, "span");
    this.sum = make(figure, "p", "sum");
    this.svg.addEventListener("pointermove", (event) => this.point(event));
    this.svg.addEventListener("pointerleave", () => this.place(null));
    this.svg.addEventListener("blur", () => this.place(null));
    this.svg.addEventListener("keydown", (event) => this.step(event));
  }

  // `points` are `{time, value, other}`, oldest first; `top` is the value at the upper edge.
  show({ points, start, end, minutes, top, limit = null, now, sum }) {
    Object.assign(this, { points, start, end, minutes, top, now });
    const step = points.length > 1 ? (end - start) / 240 : 0;
    const gap = Math.max(3 * step, 15_000);
    const { curve, area } = this.path("value", gap);
    set(this.curve, "d", curve);
    set(this.area, "d", area);
    set(this.other, "d", this.second ? this.path("other", gap).curve : "");
    set(this.limit, "d", limit === null ? "" : `M0 ${this.y(limit)}H${WIDTH}`);
    this.from.textContent = clock(start, minutes);
    this.to.textContent = clock(end, minutes);
    if (this.sum.textContent !== sum) this.sum.textContent = sum;
    const keys = points.length ? " Arrow keys read single values." : "";
    set(this.svg, "aria-label", `${this.title}: now ${now}. ${sum}.${keys}`);
    this.place(this.cursor);
  }

  x(time) {
    return Math.round(((time - this.start) / (this.end - this.start)) * WIDTH * 10) / 10;
  }

  y(value) {
    return Math.round((1 - Math.min(value, this.top) / this.top) * HEIGHT * 10) / 10;
  }

  // A stretch without samples, as while no engine ran, stays empty.
  path(name, gap) {
    let curve = "";
    let area = "";
    let first = 0;
    this.points.forEach((point, index) => {
      const [x, y] = [this.x(point.time), this.y(point[name])];
      const before = this.points[index - 1];
      const after = this.points[index + 1];
      const begins = !before || point.time - before.time > gap;
      if (begins) first = x;
      curve += `${begins ? "M" : "L"}${x} ${y}`;
      area += begins ? `M${x} ${HEIGHT}V${y}` : `L${x} ${y}`;
      if (!after || after.time - point.time > gap) {
        if (begins) curve += "h1";
        area += `V${HEIGHT}H${first}Z`;
      }
    });
    return { curve, area };
  }

  point(event) {
    const box = this.svg.getBoundingClientRect();
    const time = this.start + ((event.clientX - box.left) / box.width) * (this.end - this.start);
    let nearest = null;
    this.points.forEach((point, index) => {
      const isNearer = nearest === null
        || Math.abs(point.time - time) < Math.abs(this.points[nearest].time - time);
      if (isNearer) nearest = index;
    });
    this.place(nearest);
  }

  step(event) {
    const last = this.points.length - 1;
    if (last < 0) return;
    const at = this.cursor ?? last + 1;
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (event.key === "Escape") this.place(null);
    if (!(event.key in steps)) return;
    event.preventDefault();
    this.readout.setAttribute("aria-live", "polite");
    this.place(Math.min(last, Math.max(0, steps[event.key])));
  }

  place(index) {
    this.cursor = index !== null && index < this.points.length ? index : null;
    if (this.cursor === null) {
      set(this.line, "d", "");
      this.readout.setAttribute("aria-live", "off");
      this.readout.className = "";
      if (this.readout.textContent !== this.now) this.readout.textContent = this.now;
      return;
    }
    const point = this.points[this.cursor];
    set(this.line, "d", `M${this.x(point.time)} 0V${HEIGHT}`);
    this.readout.className = "past";
    this.readout.textContent = `${this.spell(point)} at ${clock(point.time, this.minutes)}`;
  }
}
