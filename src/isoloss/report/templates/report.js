"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const themes = read("themes"), figures = read("figures"), curves = read("curves");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const mode = () => (dark.matches && !printing ? "dark" : "light");
  const views = new Map();
  let printing = false;

  // Figures: one definition, dressed for light or dark, drawn when near the screen.
  const draw = async (box) => {
    const number = box.dataset.figure, figure = figures[number];
    const spec = { ...figure.body, width: "container", autosize: { type: "fit-x", contains: "padding" }, config: themes[mode()] };
    const drawn = await vegaEmbed(box, spec, { actions: false, renderer: "svg", tooltip: { offsetX: 14 } });
    views.get(number)?.finalize();
    views.set(number, drawn.view);
    box.querySelector("svg")?.setAttribute("aria-hidden", "true");
  };
  const drawAll = (boxes) => Promise.all([...boxes].map(draw));
  if (window.vegaEmbed) {
    const boxes = document.querySelectorAll(".plot");
    const near = new IntersectionObserver((entries) => {
      for (const e of entries) if (e.isIntersecting) { near.unobserve(e.target); draw(e.target); }
    }, { rootMargin: "800px" });
    boxes.forEach((b) => near.observe(b));
    const redraw = () => drawAll([...boxes].filter((b) => views.has(b.dataset.figure)));
    dark.addEventListener("change", redraw);
    addEventListener("beforeprint", () => { printing = true; near.disconnect(); drawAll(boxes); });
    addEventListener("afterprint", () => { printing = false; redraw(); });
  }

  // Downloads: SVG and PNG from the drawn view, CSV from the figure's tidy rows.
  const save = (name, blob) => {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 5000);
  };
  const quoted = (v) => (v === null ? "" : /[",\n\r]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-save]");
    if (!button) return;
    const figure = figures[button.dataset.of], kind = button.dataset.save;
    if (kind === "csv") {
      const lines = [figure.columns, ...figure.rows].map((r) => r.map(quoted).join(","));
      return save(`${figure.name}.csv`, new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    }
    if (!views.has(button.dataset.of)) await draw(document.getElementById(`figure-${button.dataset.of}`));
    const view = views.get(button.dataset.of);
    if (kind === "svg") return save(`${figure.name}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    (await view.toCanvas(2)).toBlob((blob) => save(`${figure.name}.png`, blob));
  });

  // The runs table: sort, filter, and a training curve under a run.
  const table = document.getElementById("run-table");
  if (!table) return;
  const body = table.tBodies[0], rows = [...body.rows];
  const closeAll = () => {
    body.querySelectorAll("tr.curve").forEach((r) => r.remove());
    body.querySelectorAll("[aria-expanded=true]").forEach((b) => b.setAttribute("aria-expanded", "false"));
  };
  const key = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent;
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  [...table.tHead.rows[0].cells].forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const down = head.ariaSort === "ascending";
    closeAll();
    for (const other of table.tHead.rows[0].cells) other.ariaSort = "none";
    head.ariaSort = down ? "descending" : "ascending";
    rows.sort((a, b) => (down ? -1 : 1) * compare(key(a, i), key(b, i)));
    body.append(...rows);
  }));
  const filter = document.getElementById("filter"), purpose = document.getElementById("purpose"), shown = document.getElementById("shown");
  const apply = () => {
    closeAll();
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !(words.every((w) => text.includes(w)) && (!purpose.value || row.dataset.p === purpose.value));
      count += !row.hidden;
    }
    shown.textContent = `${count} of ${rows.length} runs`;
  };
  filter.addEventListener("input", apply);
  purpose.addEventListener("change", apply);
  apply();

  const NS = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, text) => {
    const node = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const spark = ([xs, ys]) => {
    const [w, h, pad] = [560, 150, 34], lx = xs.map(Math.log10), ly = ys;
    const range = (v) => [Math.min(...v), Math.max(...v)];
    const [[x0, x1], [y0, y1]] = [range(lx), range(ly)];
    const at = (i) => [pad + (lx[i] - x0) / (x1 - x0 || 1) * (w - 2 * pad), h - 24 - (ly[i] - y0) / (y1 - y0 || 1) * (h - 44)];
    const svg = make("svg", { viewBox: `0 0 ${w} ${h}`, class: "spark", role: "img", "aria-label": `Training loss falls from ${ys[0]} to ${ys.at(-1)}` });
    svg.append(make("polyline", { points: xs.map((_, i) => at(i).map((v) => v.toFixed(1)).join(",")).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2 }));
    const [first, last] = [at(0), at(xs.length - 1)];
    svg.append(make("text", { x: first[0], y: Math.max(first[1] - 6, 11) }, ys[0]), make("text", { x: last[0], y: last[1] - 6, "text-anchor": "end" }, ys.at(-1)));
    svg.append(make("text", { x: pad, y: h - 5 }, "training loss against training compute, logarithmic"));
    return svg;
  };
  body.addEventListener("click", (event) => {
    const button = event.target.closest("button.run");
    if (!button) return;
    const open = button.getAttribute("aria-expanded") === "true";
    closeAll();
    if (open) return;
    button.setAttribute("aria-expanded", "true");
    const row = document.createElement("tr"), cell = row.insertCell();
    row.className = "curve";
    cell.colSpan = button.closest("tr").cells.length;
    cell.append(`run ${button.dataset.run}`, spark(curves[button.dataset.run]));
    button.closest("tr").after(row);
  });
})();
