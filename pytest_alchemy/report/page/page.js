
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const TEXTS = new Set(["what", "kind", "id", "name", "scope", "world", "worker", "test", "file", "reason", "hint"]);
  const OPEN = new Set(["leaked", "unrecoverable", "elsewhere", "unfinished", "kept"]); // still there
  const things = data.rows.map((row, index) => {
    const thing = { index };
    data.columns.forEach((column, place) => {
      const value = row[place];
      thing[column] = TEXTS.has(column) ? data.texts[value] : column === "errors" ? value.map((each) => data.texts[each]) : value;
    });
    thing.place = thing.file ? thing.file + (thing.line === null ? "" : ":" + thing.line) : "";
    thing.lane = thing.worker || "main";
    const ends = thing.destroy_ended_at;
    thing.lived = thing.created_at && ends && !OPEN.has(thing.what) ? ends - thing.created_at : 0;
    thing.creating = thing.created_at && thing.create_ended_at ? thing.create_ended_at - thing.created_at : 0;
    thing.destroying = thing.destroy_started_at && ends ? ends - thing.destroy_started_at : 0;
    thing.words = [thing.what, thing.kind, thing.id, thing.name, thing.scope, thing.test, thing.place, thing.worker, thing.reason, ...thing.errors].join("\n").toLowerCase();
    return thing;
  });
  const ORDER = Object.keys(data.signs);
  const whats = ORDER.filter((what) => things.some((thing) => thing.what === what));

  // -- small helpers ---------------------------------------------------------------------------------------------

  function make(tag, attributes = {}, ...inside) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  }
  function draw(tag, attributes = {}, ...inside) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...inside);
    return element;
  }
  function duration(ms) {
    if (!ms) return "";
    if (ms < 1) return "<1 ms";
    if (ms < 1000) return Math.round(ms) + " ms";
    if (ms < 60000) return (ms / 1000).toFixed(ms < 10000 ? 2 : 1) + " s";
    return Math.floor(ms / 60000) + " min " + Math.round((ms % 60000) / 1000) + " s";
  }
  function moment(ms) {
    return ms ? new Date(ms).toLocaleTimeString([], { hour12: false }) + "." + String(Math.floor(ms % 1000)).padStart(3, "0") : "";
  }
  function sign(what) {
    return make("span", { class: "sign", "aria-hidden": "true" }, data.signs[what]);
  }
  function facts(thing) {
    const list = make("dl");
    const rows = [
      ["why", thing.reason || (thing.what === "destroyed" ? "" : data.meanings[thing.what])], ["hint", thing.hint], ["name", thing.name], ["scope", thing.scope],
      ["world", thing.world], ["test", thing.test], ["made by", thing.place], ["worker", thing.worker],
      ["created", moment(thing.created_at) + (thing.creating ? ", took " + duration(thing.creating) : "")],
      [OPEN.has(thing.what) ? "destroy tried" : "destroyed", thing.destroy_started_at ? moment(thing.destroy_started_at) + ", took " + duration(thing.destroying) : ""],
      ...thing.errors.map((error, number) => ["attempt " + (number + 1), error]),
    ];
    for (const [term, text] of rows) if (text) list.append(make("dt", {}, term), make("dd", {}, make("bdi", {}, text)));
    return list;
  }

  // -- commands to copy ------------------------------------------------------------------------------------------

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
    } catch { // a page from a file, or no permission
      const area = make("textarea", { readonly: "" });
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", async () => {
      await copy(button.parentElement.querySelector("code").textContent);
      button.textContent = "Copied";
      button.focus();
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
  }

  // -- the table -------------------------------------------------------------------------------------------------

  const STEP = 200;
  const COLUMNS = [
    ["what", "state", (t) => ORDER.indexOf(t.what)], ["id", "resource", (t) => t.kind + " " + t.id], ["test", "test", (t) => t.test],
    ["place", "made by", (t) => t.place], ["worker", "worker", (t) => t.worker], ["created_at", "created", (t) => t.created_at],
    ["lived", "lived", (t) => t.lived], ["creating", "create", (t) => t.creating], ["destroying", "destroy", (t) => t.destroying],
  ];
  const NUMBERS = new Set(["created_at", "lived", "creating", "destroying"]);
  const wanted = { text: "", worker: "", whats: new Set(whats), sort: null, down: false, shown: STEP };
  const rows = document.getElementById("rows"), more = document.getElementById("more"), found = document.getElementById("found");

  function rowOf(thing) {
    const open = make("button", { type: "button", class: "open", "aria-expanded": "false" },
      sign(thing.what), make("span", { class: "state" }, thing.what));
    const cell = (label, inside, kind = "") => make("td", { "data-label": label, class: kind }, ...(inside ? [make("bdi", {}, inside)] : []));
    const row = make("tr", { class: "row " + thing.what, "data-index": thing.index }, make("td", { "data-label": "state" }, open),
      make("td", { "data-label": "resource" }, make("bdi", {}, thing.kind), " ", make("bdi", {}, make("strong", {}, thing.id))),
      cell("test", thing.test), cell("made by", thing.place, "mono"), cell("worker", thing.worker),
      cell("created", moment(thing.created_at), "number"), cell("lived", duration(thing.lived), "number"),
      cell("create", duration(thing.creating), "number"), cell("destroy", duration(thing.destroying), "number"));
    open.addEventListener("click", () => {
      const isOpen = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!isOpen));
      if (isOpen) row.nextElementSibling.remove();
      else row.after(make("tr", { class: "inner " + thing.what }, make("td", { colspan: COLUMNS.length }, facts(thing))));
    });
    return row;
  }
  function fitting() {
    const needles = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
    const fit = things.filter((thing) => wanted.whats.has(thing.what) && (!wanted.worker || thing.lane === wanted.worker)
      && needles.every((needle) => thing.words.includes(needle)));
    if (wanted.sort) {
      const [, , key] = COLUMNS.find(([name]) => name === wanted.sort);
      const turn = wanted.down ? -1 : 1;
      fit.sort((a, b) => { const x = key(a), y = key(b); return x < y ? -turn : x > y ? turn : a.index - b.index; });
    }
    return fit;
  }
  function fill() {
    const fit = fitting();
    rows.replaceChildren(...fit.slice(0, wanted.shown).map(rowOf));
    found.textContent = fit.length === things.length ? things.length + " resources" : fit.length + " of " + things.length + " resources";
    more.hidden = fit.length <= wanted.shown;
    more.textContent = "Show " + Math.min(STEP, fit.length - wanted.shown) + " more";
  }
  function refill() { wanted.shown = STEP; fill(); }

  for (const [name, label] of COLUMNS) {
    const button = make("button", { type: "button" }, label);
    const head = make("th", { scope: "col" }, button);
    button.addEventListener("click", () => {
      wanted.down = wanted.sort === name ? !wanted.down : NUMBERS.has(name) && name !== "created_at";
      wanted.sort = name;
      for (const other of head.parentElement.children) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", wanted.down ? "descending" : "ascending");
      refill();
    });
    document.getElementById("heads").append(head);
  }
  for (const what of whats) {
    const number = things.filter((thing) => thing.what === what).length;
    const chip = make("button", { type: "button", class: "chip " + what, "aria-pressed": "true" }, sign(what), what + " " + number);
    chip.addEventListener("click", () => {
      if (!wanted.whats.delete(what)) wanted.whats.add(what);
      chip.setAttribute("aria-pressed", String(wanted.whats.has(what)));
      refill();
    });
    document.getElementById("chips").append(chip);
  }
  const byName = new Intl.Collator("en", { numeric: true }).compare;
  const lanes = [...new Set(things.map((thing) => thing.lane))].sort(byName);
  const workers = document.getElementById("worker");
  for (const lane of lanes) workers.append(make("option", { value: lane }, lane));
  document.getElementById("worker-field").hidden = lanes.length < 2;
  workers.addEventListener("change", () => { wanted.worker = workers.value; refill(); });
  let typing = 0;
  document.getElementById("find").addEventListener("input", (event) => {
    wanted.text = event.target.value;
    clearTimeout(typing);
    typing = setTimeout(refill, 80);
  });
  more.addEventListener("click", () => { wanted.shown += STEP; fill(); });
  document.getElementById("resources").hidden = !things.length;
  fill();

  // -- the timeline ----------------------------------------------------------------------------------------------

  const drawn = things.filter((thing) => thing.created_at);
  const scroller = document.getElementById("scroller"), details = document.getElementById("details");
  if (!drawn.length) return;
  document.getElementById("timeline").hidden = false;
  const start = drawn.reduce((least, thing) => Math.min(least, thing.created_at), Infinity);
  const last = drawn.reduce((most, thing) => Math.max(most, thing.created_at, thing.destroy_ended_at, thing.create_ended_at), start);
  const span = Math.max(last - start, 1);
  const end = (thing) => OPEN.has(thing.what) ? start + span : thing.destroy_ended_at || thing.create_ended_at || thing.created_at;
  const AXIS = 26, LABEL = 20, GAP = 10, SIDE = 14, MOST_ROWS = 60;
  let zoom = 1, bars = [], names = [];

  /** Give each bar of a lane the first row that is free at its start. */
  function pack(lane) {
    const ends = [];
    for (const thing of lane) {
      let row = ends.findIndex((until) => until <= thing.created_at);
      if (row < 0) row = ends.length < MOST_ROWS ? ends.length : MOST_ROWS - 1;
      ends[row] = Math.max(ends[row] || 0, end(thing));
      thing.row = row;
    }
    return ends.length;
  }
  const groups = lanes.map((name) => drawn.filter((thing) => thing.lane === name).sort((a, b) => a.created_at - b.created_at || a.index - b.index)).filter((lane) => lane.length);
  const depths = groups.map(pack);

  function hatch(what, cross) {
    const lines = [draw("path", { class: "hatch", d: "M0 6 L6 0 M-1.5 1.5 L1.5 -1.5 M4.5 7.5 L7.5 4.5" })];
    if (cross) lines.push(draw("path", { class: "hatch", d: "M0 0 L6 6 M-1.5 4.5 L1.5 7.5 M4.5 -1.5 L7.5 1.5" }));
    return draw("pattern", { id: (cross ? "cross-" : "hatch-") + what, class: what, width: 6, height: 6, patternUnits: "userSpaceOnUse" }, ...lines);
  }
  function bar(thing, x, y, width, height, scale) {
    const group = draw("g", { class: "bar " + thing.what, tabindex: -1, role: "img", "data-index": thing.index });
    const label = [thing.what, thing.kind, thing.id, thing.test && "in " + thing.test, thing.reason].filter(Boolean).join(" ");
    group.setAttribute("aria-label", label);
    if (thing.what === "untracked") {
      const r = height / 2;
      group.append(draw("path", { class: "life", d: `M${x} ${y + r} l${r} ${-r} l${r} ${r} l${-r} ${r} z` }));
      return group;
    }
    group.append(draw("rect", { class: "life", x, y, width, height, rx: Math.min(2, height / 3) }));
    if (thing.what === "destroyed") {
      const phases = [[thing.created_at, thing.creating], [thing.destroy_started_at, thing.destroying]];
      for (const [from, took] of phases) {
        if (took * scale >= 1.5) group.append(draw("rect", { class: "phase", x: SIDE + (from - start) * scale, y: y + height * .25, width: took * scale, height: height / 2 }));
      }
    }
    if (["leaked", "unrecoverable", "elsewhere"].includes(thing.what)) {
      group.append(draw("path", { class: "end", d: `M${x + width + 2} ${y - 1} l7 ${height / 2 + 1} l-7 ${height / 2 + 1} z` }));
    }
    return group;
  }
  function axis(svg, width, height, scale) {
    const least = 90 / scale, power = 10 ** Math.floor(Math.log10(least));
    const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= least);
    for (let at = 0; at <= span; at += step) {
      const x = SIDE + at * scale;
      svg.append(draw("line", { class: "tick", x1: x, x2: x, y1: AXIS - 6, y2: height }));
      const shown = step < 1 ? at.toFixed(2) + " ms" : step < 1000 ? Math.round(at) + " ms" : +(at / 1000).toFixed(1) + " s";
      svg.append(draw("text", { x: x + 3, y: 14 }, shown));
    }
  }
  function paint() {
    const room = Math.max(280, scroller.clientWidth - 2);
    const width = Math.round(room * zoom), scale = (width - 2 * SIDE - 10) / span;
    const tall = depths.map((depth) => depth > 24 ? 6 : depth > 10 ? 9 : 14);
    const height = AXIS + groups.reduce((sum, _, index) => sum + LABEL + depths[index] * (tall[index] + 3) + GAP, 0);
    const svg = draw("svg", { width, height, role: "group", "aria-label": "One lane for each worker, one bar for each resource" });
    svg.append(draw("defs", {}, hatch("reaped"), hatch("unfinished"), hatch("unrecoverable", true), hatch("elsewhere", true)));
    const boxes = draw("g"), shapes = draw("g"), labels = draw("g");
    let top = AXIS;
    bars = []; names = [];
    groups.forEach((lane, index) => {
      const size = LABEL + depths[index] * (tall[index] + 3) + GAP;
      boxes.append(draw("rect", { class: "lane" + (index % 2 ? " odd" : ""), x: 0, y: top, width, height: size }));
      const name = draw("text", { class: "lane-name", x: SIDE, y: top + 15 }, `${lane[0].lane} · ${lane.length}`);
      names.push(name);
      labels.append(name);
      bars.push(lane.map((thing) => {
        const x = SIDE + (thing.created_at - start) * scale;
        const long = Math.max(2, (end(thing) - thing.created_at) * scale);
        const shape = bar(thing, x, top + LABEL + thing.row * (tall[index] + 3), long, tall[index], scale);
        shapes.append(shape);
        return shape;
      }));
      top += size;
    });
    svg.append(boxes);
    axis(svg, width, height, scale);
    svg.append(shapes, labels);
    scroller.replaceChildren(svg);
    const entry = bars.flat().find((shape) => !shape.classList.contains("destroyed")) || bars[0][0];
    entry.setAttribute("tabindex", 0);
    slide();
  }
  function slide() { for (const name of names) name.setAttribute("x", scroller.scrollLeft + SIDE); }

  const thingOf = (shape) => things[Number(shape.dataset.index)];
  function show(shape) {
    for (const other of scroller.querySelectorAll(".bar.on")) other.classList.remove("on");
    shape.classList.add("on");
    const thing = thingOf(shape);
    details.className = "details " + thing.what;
    details.replaceChildren(make("h3", {}, sign(thing.what), " ", make("span", { class: "state" }, thing.what), " ",
      make("bdi", {}, thing.kind), " ", make("bdi", {}, make("strong", {}, thing.id))), facts(thing));
  }
  function go(shape) {
    for (const other of scroller.querySelectorAll(".bar[tabindex='0']")) other.setAttribute("tabindex", -1);
    shape.setAttribute("tabindex", 0);
    shape.focus({ preventScroll: true });
    const box = shape.getBBox();
    if (box.x < scroller.scrollLeft || box.x > scroller.scrollLeft + scroller.clientWidth - 40) scroller.scrollLeft = box.x - 60;
    if (box.y < scroller.scrollTop || box.y > scroller.scrollTop + scroller.clientHeight - 40) scroller.scrollTop = box.y - 60;
  }
  function nearest(lane, thing) {
    return lane.reduce((best, shape) => Math.abs(thingOf(shape).created_at - thing.created_at) < Math.abs(thingOf(best).created_at - thing.created_at) ? shape : best);
  }
  scroller.addEventListener("scroll", slide);
  for (const kind of ["pointerover", "click", "focusin"]) {
    scroller.addEventListener(kind, (event) => {
      const shape = event.target.closest(".bar");
      if (shape) show(shape);
    });
  }
  scroller.addEventListener("keydown", (event) => {
    const shape = event.target.closest(".bar");
    if (!shape) return;
    const row = bars.findIndex((lane) => lane.includes(shape)), at = bars[row].indexOf(shape);
    const next = {
      ArrowRight: () => bars[row][at + 1], ArrowLeft: () => bars[row][at - 1], Home: () => bars[row][0], End: () => bars[row].at(-1),
      ArrowDown: () => bars[row + 1] && nearest(bars[row + 1], thingOf(shape)), ArrowUp: () => bars[row - 1] && nearest(bars[row - 1], thingOf(shape)),
    }[event.key];
    if (event.key === "Enter") {
      const find = document.getElementById("find");
      find.value = wanted.text = thingOf(shape).name || thingOf(shape).id;
      refill();
      find.scrollIntoView();
      find.focus();
    } else if (event.key === "+" || event.key === "-") {
      rescale(event.key === "+" ? zoom * 2 : zoom / 2);
      go(scroller.querySelector(`[data-index="${shape.dataset.index}"]`));
    } else if (!next) return;
    else if (next()) go(next());
    event.preventDefault();
  });
  function rescale(wish) {
    const middle = (scroller.scrollLeft + scroller.clientWidth / 2) / Math.max(1, scroller.scrollWidth);
    zoom = Math.min(64, Math.max(1, wish));
    paint();
    scroller.scrollLeft = middle * scroller.scrollWidth - scroller.clientWidth / 2;
  }
  for (const button of document.querySelectorAll("[data-zoom]")) {
    button.addEventListener("click", () => rescale({ in: zoom * 2, out: zoom / 2, fit: 1 }[button.dataset.zoom]));
  }
  for (const what of ORDER.filter((each) => drawn.some((thing) => thing.what === each))) {
    const sample = draw("svg", { width: 34, height: 14, "aria-hidden": "true" });
    sample.append(bar({ what, kind: "", id: "", created_at: 0, errors: [] }, 1, 1, what === "untracked" ? 12 : 23, 12, 0));
    document.getElementById("legend").append(make("li", {}, sample, what));
  }
  paint();
  let resizing = 0;
  window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(paint, 120); });
})();
