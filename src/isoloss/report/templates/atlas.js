"use strict";
// The atlas: a budget in, every innovation's gain, rank and share out. Nothing is fetched and nothing evaluated.
(async () => {
  const form = document.getElementById("setting");
  if (!form) return;
  const { rows, links, scales, names, command } = (await page.data).atlas;
  const { times, span, amount } = numbers;
  const table = document.getElementById("atlas-table"), body = table.tBodies[0], lines = [...body.rows];
  const field = (name) => form.elements[name], at = (id) => document.getElementById(id);
  const scaleOf = () => scales.find((s) => s.key === field("resource").value) ?? scales[0];
  let found = [], budget = 0;

  const option = (value, text) => Object.assign(document.createElement("option"), { value, textContent: text });
  const open = (scale, start = scale.start) => {
    const range = field("budget");
    Object.assign(range, { min: scale.low, max: scale.high });
    range.value = start;
    field("reference").replaceChildren(
      option("old", "each old algorithm"), option("new", "each new algorithm"),
      ...scale.references.map((arm) => option(`arm:${arm}`, arm)),
    );
  };

  const NS = "http://www.w3.org/2000/svg";
  const node = (tag, attributes) => {
    const made = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    return made;
  };
  const H = 26, PAD = 8;
  let W = 300;
  const strip = (row, s, scale) => {
    const [low, high] = scale.domain.map(Math.log), svg = node("svg", { viewBox: `0 0 ${W} ${H}`, "aria-hidden": "true" });
    const x = (v) => PAD + (Math.min(Math.max((Math.log(v) - low) / (high - low), 0), 1)) * (W - 2 * PAD);
    for (const t of scale.ticks) svg.append(node("line", { x1: x(t), x2: x(t), y1: 0, y2: H, class: t === 1 ? "one" : "grid" }));
    const bar = (ends, kind) => {
      const [a, b] = [ends[0] > 0 ? x(ends[0]) : PAD, Number.isFinite(ends[1]) ? x(ends[1]) : W - PAD];
      svg.append(node("line", { x1: a, x2: Math.max(b, a + 0.5), y1: H / 2, y2: H / 2, class: kind }));
      for (const [open, end, way] of [[!(Math.log(ends[0]) >= low), a, 5], [!(Math.log(ends[1]) <= high), b, -5]])
        if (open) svg.append(node("path", { d: `M${end + way},${H / 2 - 4}L${end},${H / 2}L${end + way},${H / 2 + 4}`, class: `${kind} tip` }));
    };
    if (s?.region === "extrapolated" && s.fan) bar(s.fan, "fan");
    if (s?.interval) bar(s.interval, `bar ${s.region}`);
    const mark = (v, kind, r) => svg.append(node("circle", { cx: x(v), cy: H / 2, r, class: kind }));
    if (scale.published.includes(row.resource)) {
      if (row.claimed) mark(row.claimed, "claimed", 5);
      if (row.later) svg.append(node("path", { d: `M${x(row.later)},${H / 2}m0,-6l6,6l-6,6l-6,-6z`, class: "later" }));
    }
    if (s && s.gain !== null) mark(s.gain, `ours ${s.region}`, 5.5);
    return svg;
  };

  const said = (row, s) => {
    if (!s) return row.options.length ? ["–", `measured in ${row.elsewhere.join(", ")}, or not from here`] : ["–", "not measured"];
    const out = `${s.out < 0.95 ? s.out.toFixed(1) : Math.round(s.out)} ${s.out >= 0.95 && s.out < 1.5 ? "decade" : "decades"} out`;
    if (s.region === "measured") return [times(s.gain), span(s.interval)];
    if (s.region === "extrapolated") return [times(s.gain), `${s.interval ? span(s.interval) + ", " : ""}extrapolated ${out}`];
    if (s.region === "withheld") return [s.interval ? span(s.interval) : "?", `withheld: ${out}`];
    return ["–", "no such budget"];
  };

  const draw = () => {
    const scale = scaleOf(), reference = field("reference").value.replace(/^arm:/, "");
    const strips = lines.find((line) => !line.hidden)?.cells[2];
    W = Math.max(strips ? strips.clientWidth - parseFloat(getComputedStyle(strips).paddingRight) : 300, 120);
    budget = 10 ** Number(field("budget").value);
    const told = amount(budget, scale.unit);
    at("budget-told").textContent = told;
    field("budget").setAttribute("aria-valuetext", told);
    found = atlasModel.standings(rows, links, { budget, reference, resource: scale.key });
    lines.forEach((line) => {
      const k = Number(line.dataset.row), s = found[k], row = rows[k], [gain, more] = said(row, s), cell = line.cells;
      line.dataset.region = s?.region ?? "none";
      cell[0].textContent = s?.rank ?? "";
      cell[2].replaceChildren(strip(row, s, scale));
      const strong = Object.assign(document.createElement("b"), { textContent: gain }), small = Object.assign(document.createElement("small"), { textContent: more });
      cell[3].replaceChildren(strong, " ", small);
      cell[3].title = s && s.via.length > 1 ? `read at ${amount(s.at, scale.unit)}, carried ${s.via.join(" → ")}` : "";
      cell[4].textContent = s?.share ? `${(100 * s.share).toFixed(s.share < 0.0995 ? 1 : 0)}%` : "";
      const apart = row.resource && !scale.published.includes(row.resource) ? "*" : "";
      cell[6].textContent = row.claimed ? times(row.claimed) + apart : "";
      cell[7].textContent = row.later ? times(row.later) + apart : "";
    });
    axis(scale);
    sentence(scale, told);
    sort();
    filter();
    feed(scale);
  };

  const axis = (scale) => {
    const [low, high] = scale.domain.map(Math.log);
    at("axis").replaceChildren(...scale.ticks.map((t) => {
      const tick = document.createElement("span");
      tick.textContent = `${t}×`;
      tick.style.left = `${(100 * (PAD + ((Math.log(t) - low) / (high - low)) * (W - 2 * PAD))) / W}%`;
      return tick;
    }));
  };

  const sentence = (scale, told) => {
    const count = (region) => found.filter((s) => s?.region === region).length;
    const gains = found.filter((s) => s && s.gain !== null).map((s) => s.gain).sort((a, b) => a - b);
    const parts = [[count("measured"), "measured"], [count("extrapolated"), "extrapolated"], [count("withheld"), "withheld, being more than two decades from any run"]];
    const middle = gains.length ? Math.sqrt(gains[(gains.length - 1) >> 1] * gains[gains.length >> 1]) : null;
    const top = found.findIndex((s) => s?.rank === 1);
    at("moving").textContent = `At ${told}${scale.title === scale.unit ? "" : ` of ${scale.title}`}: ${parts.filter(([n]) => n).map(([n, w]) => `${n} ${w}`).join(", ") || "nothing is known"}.` +
      (gains.length ? ` The median gain is ${times(middle)}; the largest, ${times(found[top].gain)}, is ${rows[top].name}.` : "");
  };

  // Sorting: numbers as they stand, what is not known last.
  const heads = [...table.tHead.rows[0].cells];
  const KEYS = {
    rank: (k) => found[k]?.rank, name: (k) => rows[k].name, share: (k) => found[k]?.share && -found[k].share, year: (k) => rows[k].year,
    trend: (k) => body.querySelector(`[data-row="${k}"]`).cells[5].textContent, claimed: (k) => rows[k].claimed && -rows[k].claimed, later: (k) => rows[k].later && -rows[k].later,
  };
  const WORTH = { measured: 0, extrapolated: 0, withheld: 1, undefined: 2, none: 3 };
  const sort = () => {
    const head = heads.find((h) => h.ariaSort && h.ariaSort !== "none") ?? heads[0], down = head.ariaSort === "descending" ? -1 : 1, key = KEYS[head.dataset.key];
    const worth = (line) => (head.dataset.key === "rank" ? WORTH[line.dataset.region] : 0);
    const known = (v) => v !== undefined && v !== null && v !== "";
    const ordered = [...lines].sort((a, b) => {
      const [x, y] = [key(Number(a.dataset.row)), key(Number(b.dataset.row))];
      if (worth(a) !== worth(b)) return worth(a) - worth(b);
      if (!known(x) || !known(y)) return known(y) - known(x) || a.dataset.row - b.dataset.row;
      return down * (typeof x === "string" ? x.localeCompare(y) : x - y) || a.dataset.row - b.dataset.row;
    });
    if (ordered.some((line, i) => body.rows[i] !== line)) body.append(...ordered);
  };
  heads.forEach((head) => head.querySelector("button")?.addEventListener("click", () => {
    const before = head.ariaSort;
    for (const other of heads) if (other.dataset.key) other.ariaSort = "none";
    head.ariaSort = before === "ascending" ? "descending" : "ascending";
    sort();
  }));

  const filter = () => {
    const scale = scaleOf(), asked = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const show = at("show").value, wanted = at("field")?.value ?? "";
    let count = 0, elsewhere = 0;
    for (const line of lines) {
      const k = Number(line.dataset.row), row = rows[k], text = line.textContent.toLowerCase();
      const here = row.options.some((o) => links[o].resource === scale.key) || scale.published.includes(row.resource) || (!row.options.length && !row.resource);
      const fits = { "": true, known: found[k]?.gain != null, measured: found[k]?.region === "measured", published: Boolean(row.claimed || row.later) }[show];
      line.hidden = !(here && fits && asked.every((w) => text.includes(w)) && (!wanted || JSON.parse(line.dataset.fields).includes(wanted)));
      count += !line.hidden;
      elsewhere += !here;
    }
    at("shown").textContent = `${count} of ${lines.length} innovations${elsewhere ? `; ${elsewhere} of another resource` : ""}`;
  };
  for (const id of ["filter", "show", "field"]) at(id)?.addEventListener("input", filter);

  // The figures below take the same numbers.
  const feed = (scale) => {
    const out = [];
    rows.forEach((row, k) => {
      const about = { title: row.name, year: row.year, part: row.part };
      if (scale.published.includes(row.resource))
        ["claimed", "later"].forEach((key, stage) => { if (row[key]) out.push({ ...about, who: names[key], stage, gain: row[key], low: null, high: null, region: "measured", said: times(row[key]) }); });
      const s = found[k];
      if (!s || s.gain === null) return;
      const [low, high] = s.interval ? [Math.max(s.interval[0], 1e-9), Math.min(s.interval[1], 1e9)] : [null, null];
      out.push({ ...about, who: names.ours, stage: 2, gain: s.gain, low, high, region: s.region, said: said(row, s).join(" ") });
    });
    if (scale === scales[0]) page.feed("gains", out);
  };

  let waiting = 0;
  const soon = () => { waiting ||= requestAnimationFrame(() => { waiting = 0; draw(); }); };
  const quoted = (word) => (/^[\w.+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
  const keep = () => {
    const spent = Number(budget.toPrecision(3)).toExponential().replace("+", ""), reference = field("reference").value.replace(/^arm:/, "");
    at("command").textContent = `${command} --at ${spent} --reference ${quoted(reference)} --resource ${quoted(scaleOf().key)}`;
  };
  field("budget").addEventListener("input", soon);
  addEventListener("resize", soon);
  form.addEventListener("change", (event) => {
    if (event.target === field("resource")) open(scaleOf());
    draw();
    keep();
  });
  at("headlines").addEventListener("click", () => { open(scaleOf()); draw(); keep(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  if (scales.length) { open(scaleOf()); draw(); keep(); }
  document.body.dataset.ready = "atlas";
})();
