"use strict";
// The what-if part of the page: controls in, numbers from originModel out. Nothing is fetched and nothing evaluated.
(() => {
  const { ingredients: laws, names, asked } = JSON.parse(document.getElementById("what-if-data").textContent);
  const ingredients = { ...laws, names };
  const form = document.getElementById("controls"), at = (id) => document.getElementById(id);
  const field = (name) => form.elements[name];
  let added = [];

  const SUPERSCRIPT = Object.fromEntries([..."-0123456789"].map((c, i) => [c, "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[i]]));
  const grouped = (v, places) => v.toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  const scientific = (v, digits = 3) => {
    const [m, e] = v.toExponential(digits - 1).split("e"), power = [...String(Number(e))].map((c) => SUPERSCRIPT[c]).join("");
    const mantissa = m.includes(".") ? m.replace(/0+$/, "").replace(/\.$/, "") : m;
    return mantissa === "1" ? `10${power}` : `${mantissa}×10${power}`;
  };
  const factor = (v) => {
    if (!(v >= 1e-2 && v < 999_999.5)) return `${scientific(v)} times`;
    if (v >= 99.95) return `${grouped(v, 0)}×`;
    return `${grouped(v, Math.max(0, 2 - Math.floor(Math.log10(Number(v.toPrecision(3))))))}×`;
  };
  const percent = (v, places = 1) => `${(100 * v).toFixed(places).replace("-", "−")}%`;
  const TITLES = Object.fromEntries([...form.querySelectorAll("[name=index]")].map((i) => [i.value, i.parentElement.textContent.trim()]));

  const write = (s) => {
    field("reference").value = s.reference;
    field("index").value = s.index;
    field("budget").value = Math.log10(s.budget);
    for (const name of ["first", "last", "growth", "moe"]) if (field(name)) field(name).value = s[name];
    if (field("swiglu")) field("swiglu").checked = s.swiglu;
    budget = s.budget;
  };
  // The slider sets whole tenths of a decade; a budget that was asked for stays exact until it moves.
  let budget = asked.budget;
  field("budget").addEventListener("input", () => { budget = 10 ** (Math.round(field("budget").value * 10) / 10); });

  const read = () => {
    const number = (name, least, most, whole) => {
      const v = Number(field(name).value);
      const said = field(name).closest("label").firstChild.textContent.trim();
      if (field(name).value === "" || !Number.isFinite(v) || v < least || v > most || (whole && v % 1))
        throw new originModel.Refusal(`${said}: give a ${whole ? "year" : "number"} from ${least} to ${most}`);
      return v;
    };
    const { first_year: start, last_year: end } = ingredients;
    const first = number("first", start, end - 1, true), last = number("last", first + 1, end, true);
    return {
      reference: field("reference").value, index: field("index").value, budget, first, last,
      growth: number("growth", 1.01, 100), swiglu: Boolean(field("swiglu")?.checked),
      moe: field("moe") ? number("moe", 0.01, 1000) : 1, added: [...given, ...added],
    };
  };
  // what was added on the terminal: a gain that is the same at both ends of two knots is a constant
  const given = ingredients.added.map((a) => (a.gain.length === 2 && a.gain[0] === a.gain[1] ? { name: a.name, gain: a.gain[0] } : a));

  const row = (cells, colour) => {
    const tr = document.createElement("tr");
    cells.forEach((text, i) => {
      const td = tr.insertCell();
      if (i) td.className = "n";
      else if (colour) td.append(Object.assign(document.createElement("span"), { className: "swatch", style: `background:${colour}` }));
      td.append(text);
    });
    return tr;
  };
  const NS = "http://www.w3.org/2000/svg";
  const node = (tag, attributes, text) => {
    const made = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(attributes)) made.setAttribute(k, v);
    if (text !== undefined) made.textContent = text;
    return made;
  };

  const drawPath = (points, until) => {
    const [w, h, left, right, top, bottom] = [560, 210, 74, 14, 24, 26];
    const logs = points.map((p) => Math.log10(p.gain));
    const low = Math.min(0, ...logs), high = Math.max(...logs, low + 0.3), span = points.at(-1).year - points[0].year || 1;
    const x = (year) => left + ((year - points[0].year) / span) * (w - left - right);
    const y = (log) => h - bottom - ((log - low) / (high - low)) * (h - top - bottom);
    const ends = `from ${factor(points[0].gain)} in ${points[0].year} to ${factor(points.at(-1).gain)} in ${points.at(-1).year}`;
    const svg = node("svg", { viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": `Each year’s algorithms at that year’s budget, ${ends}` });
    const step = Math.max(1, Math.ceil((high - low) / 5));
    for (let k = Math.ceil(low); k <= high; k += step) {
      svg.append(node("line", { x1: left, x2: w - right, y1: y(k), y2: y(k), class: "grid" }));
      svg.append(node("text", { x: left - 8, y: y(k) + 4, "text-anchor": "end" }, `${k >= 5 || k < 0 ? scientific(10 ** k) : grouped(10 ** k, 0)}×`));
    }
    const place = (p, i) => `${x(p.year).toFixed(1)},${y(logs[i]).toFixed(1)}`;
    const out = points.map((p) => p.budget < until[0] || p.budget > until[1]);
    points.slice(1).forEach((p, i) => svg.append(node("polyline", { points: `${place(points[i], i)} ${place(p, i + 1)}`, class: out[i] || out[i + 1] ? "line out" : "line" })));
    points.forEach((p, i) => svg.append(node("circle", { cx: x(p.year), cy: y(logs[i]), r: 3.5, ...(out[i] ? { class: "out" } : {}) })));
    const every = Math.max(1, Math.ceil(points.length / 7));
    points.forEach((p, i) => { if (i % every === 0) svg.append(node("text", { x: x(p.year), y: h - 6, "text-anchor": "middle" }, p.year)); });
    svg.append(node("text", { x: left, y: 13 }, "each year’s algorithms at that year’s budget (hollow, dashed: extrapolated)"));
    at("path").replaceChildren(svg);
  };

  const command = (s) => {
    const quoted = (t) => (/^[\w.-]+$/.test(t) ? t : `'${t.replaceAll("'", "'\\''")}'`);
    const out = ["isoloss origin", `--reference ${s.reference}`, `--index ${s.index}`, `--budget ${Number(s.budget.toPrecision(4)).toExponential().replace("+", "")}`, `--years ${s.first}:${s.last}`, `--compute-growth ${s.growth}`];
    if (s.swiglu) out.push("--swiglu");
    if (field("moe") && s.moe !== asked.moe) out.push(`--moe ${s.moe}`);
    for (const a of s.added) out.push(`--add ${quoted(`${a.name}=${typeof a.gain === "number" ? a.gain : "FILE.csv"}`)}`);
    return out.join(" ");
  };

  const show = () => {
    at("budget-told").textContent = `${scientific(budget)} FLOP`;
    try {
      const s = read(), found = originModel.account(ingredients, s), growth = originModel.growth(ingredients, s);
      at("total").textContent = factor(found.total);
      at("total-said").textContent = `seen from the ${field("reference").selectedOptions[0].textContent}, ${TITLES[s.index]}, at ${scientific(s.budget)} FLOP: ${grouped(found.perYear, 3)}× a year, ${percent(found.share)} of the log from steps that depend on scale. Growing budgets by ${s.growth}× a year adds a log rate of ${percent(growth.logRate, 0)} a year (${percent(growth.simpleRate, 0)} compounding).`;
      const colour = (i) => `var(--arm-${[1, 2, 3, 4, 5, 6, 7, 0][i % 8]})`;
      at("bar").replaceChildren(...found.steps.map((p, i) => Object.assign(document.createElement("i"), { style: `flex:${Math.max(0, p.share)} 0 0;background:${colour(i)}`, title: `${p.name}: ${factor(p.factor)}` })));
      at("bar").setAttribute("aria-label", `Shares of the log: ${found.steps.map((p) => `${p.name} ${percent(p.share)}`).join(", ")}`);
      at("step-table").tBodies[0].replaceChildren(...found.steps.map((p, i) => row([p.name, String(p.year), factor(p.factor), percent(p.share), scientific(p.at)], colour(i))));
      at("index-table").tBodies[0].replaceChildren(...Object.keys(TITLES).map((index) => {
        try {
          const a = originModel.account(ingredients, s, index), g = originModel.growth(ingredients, { ...s, index });
          return row([TITLES[index], factor(a.total), `${grouped(a.perYear, 3)}×`, percent(a.share), percent(g.logRate, 0)]);
        } catch (error) {
          if (!(error instanceof originModel.Refusal)) throw error;
          return row([TITLES[index], "undefined", "–", "–", "–"]);
        }
      }));
      const path = originModel.path(ingredients, s);
      drawPath(path, ingredients.measured);
      at("command").textContent = command(s);
      at("refusal").hidden = true;
      at("found").classList.remove("stale");
    } catch (error) {
      if (!(error instanceof originModel.Refusal)) throw error;
      at("refusal").textContent = error.message;
      at("refusal").hidden = false;
      at("found").classList.add("stale");
    }
  };

  const list = () => {
    at("added").replaceChildren(...added.map((a) => {
      const li = document.createElement("li"), drop = Object.assign(document.createElement("button"), { type: "button", textContent: "remove" });
      drop.addEventListener("click", () => { added = added.filter((b) => b !== a); list(); show(); });
      li.append(`${a.name}: ${typeof a.gain === "number" ? factor(a.gain) : `${a.gain.length} rows`}`, drop);
      return li;
    }));
  };
  at("add").addEventListener("click", async () => {
    try {
      const name = field("add-name").value.trim();
      const file = field("add-file").files[0], text = file ? await file.text() : field("add-table").value.trim();
      if (!name) throw new originModel.Refusal("Name: say what you add");
      if ([...given, ...added, ...ingredients.factors].some((a) => a.name === name)) throw new originModel.Refusal(`${name}: is there already: choose another name`);
      const gain = Number(field("add-gain").value);
      if (!text && !(gain > 0)) throw new originModel.Refusal(`${name}: needs a positive gain, or a table of budget,gain`);
      added = [...added, text ? { name, ...originModel.readTable(name, text) } : { name, gain }];
      for (const f of ["add-name", "add-gain", "add-table", "add-file"]) field(f).value = "";
      list();
      show();
    } catch (error) {
      if (!(error instanceof originModel.Refusal)) throw error;
      at("refusal").textContent = error.message;
      at("refusal").hidden = false;
    }
  });
  at("reset").addEventListener("click", () => { added = []; write(asked); list(); show(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", (event) => { if (!event.target.name.startsWith("add-")) show(); });
  write(asked);
  show();
})();
