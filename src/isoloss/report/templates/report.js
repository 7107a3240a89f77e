"use strict";
// The runs table: its rows are made from data as they are needed; sort, filter, and a run's training curve.
(async () => {
  const table = document.getElementById("run-table");
  if (!table) return;
  const { runs, curves } = await page.data, { ids, columns } = runs;
  const [FIRST, MORE] = [25, 200];
  const at = (id) => document.getElementById(id);
  const [filter, purpose, shown, more] = ["filter", "purpose", "shown", "more"].map(at);
  const purposes = columns.find((c) => c.name === "purpose").text, states = columns.find((c) => c.name === "status").text;
  const texts = ids.map((id, i) => [id, ...columns.map((c) => c.text[i])].join(" ").toLowerCase());
  let order = ids.map((_, i) => i), found = order, count = 0;

  const NS = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, text) => {
    const node = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const spark = ([xs, ys]) => {
    const [w, h, pad] = [420, 150, 12], lx = xs.map(Math.log10), ly = ys;
    const range = (v) => [Math.min(...v), Math.max(...v)];
    const [[x0, x1], [y0, y1]] = [range(lx), range(ly)];
    const point = (i) => [pad + (lx[i] - x0) / (x1 - x0 || 1) * (w - 2 * pad), h - 28 - (ly[i] - y0) / (y1 - y0 || 1) * (h - 50)];
    const svg = make("svg", { viewBox: `0 0 ${w} ${h}`, class: "spark", role: "img", "aria-label": `Training loss goes from ${ys[0]} to ${ys.at(-1)}` });
    svg.append(make("polyline", { points: xs.map((_, i) => point(i).map((v) => v.toFixed(1)).join(",")).join(" "), fill: "none", stroke: "currentColor", "stroke-width": 2 }));
    const [first, last] = [point(0), point(xs.length - 1)];
    svg.append(make("text", { x: first[0], y: Math.max(first[1] - 6, 11) }, ys[0]), make("text", { x: last[0], y: last[1] - 6, "text-anchor": "end" }, ys.at(-1)));
    svg.append(make("text", { x: pad, y: h - 5 }, "training loss against training compute, logarithmic"));
    return svg;
  };

  const cell = (row, column, i) => {
    const td = row.insertCell();
    if (column.key) td.className = "n";
    if (column.name !== "run") td.textContent = column.text[i];
    else if (curves[ids[i]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", className: "run", textContent: column.text[i] });
      button.dataset.run = ids[i];
      button.setAttribute("aria-expanded", "false");
      td.append(button);
    } else td.textContent = column.text[i];
  };
  const body = table.tBodies[0];
  const extend = (most) => {
    const until = Math.min(found.length, count + most), rows = document.createDocumentFragment();
    for (; count < until; count++) {
      const row = document.createElement("tr"), i = found[count];
      if (states[i] !== "finished") row.className = "bad";
      for (const column of columns) cell(row, column, i);
      rows.append(row);
    }
    body.append(rows);
    more.hidden = count >= found.length;
    more.textContent = `Show ${Math.min(MORE, found.length - count)} more`;
    shown.textContent = `${found.length.toLocaleString("en")} of ${ids.length.toLocaleString("en")} runs` + (more.hidden ? "" : `, the first ${count.toLocaleString("en")} shown`);
  };
  const apply = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = order.filter((i) => words.every((w) => texts[i].includes(w)) && (!purpose.value || purposes[i] === purpose.value));
    body.replaceChildren();
    count = 0;
    extend(FIRST);
  };

  const head = table.createTHead().insertRow();
  const heads = columns.map((column) => {
    const th = document.createElement("th"), button = Object.assign(document.createElement("button"), { type: "button", textContent: column.name });
    th.scope = "col";
    th.ariaSort = "none";
    if (column.key) th.className = "n";
    th.append(button);
    head.append(th);
    button.addEventListener("click", () => {
      const down = th.ariaSort === "ascending", sign = down ? -1 : 1;
      for (const other of heads) other.ariaSort = "none";
      th.ariaSort = down ? "descending" : "ascending";
      // what is not known comes last either way
      const by = column.key ? (a, b) => (column.key[a] === null) - (column.key[b] === null) || sign * (column.key[a] - column.key[b])
        : (a, b) => sign * column.text[a].localeCompare(column.text[b], "en");
      order = [...order].sort(by);
      apply();
    });
    return th;
  });
  filter.addEventListener("input", apply);
  purpose.addEventListener("change", apply);
  more.addEventListener("click", () => extend(MORE));
  apply();

  // A run's curve: beside the pointer while it is on the run's name, under the row once pressed.
  const titled = (id) => [Object.assign(document.createElement("div"), { textContent: `run ${id}` }), spark(curves[id])];
  const runAt = (event) => event.target.closest("button.run");
  body.addEventListener("pointerover", (event) => {
    const button = runAt(event);
    if (button && event.pointerType === "mouse") page.showTip(event, ...titled(button.dataset.run));
  });
  body.addEventListener("pointerout", (event) => { if (runAt(event)) page.hideTip(); });
  body.addEventListener("click", (event) => {
    const button = runAt(event);
    if (!button) return;
    const open = button.getAttribute("aria-expanded") === "true";
    body.querySelectorAll("tr.curve").forEach((r) => r.remove());
    body.querySelectorAll("[aria-expanded=true]").forEach((b) => b.setAttribute("aria-expanded", "false"));
    page.hideTip();
    if (open) return;
    button.setAttribute("aria-expanded", "true");
    const row = document.createElement("tr"), under = row.insertCell();
    row.className = "curve";
    under.colSpan = columns.length;
    under.append(...titled(button.dataset.run));
    button.closest("tr").after(row);
  });
})();
