"use strict";
// Unpacks what the page holds, draws its figures when near the screen, and saves them. Nothing is fetched or evaluated.
const page = (() => {
  const unpack = async () => {
    const text = atob(document.getElementById("packed").textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"))).json();
  };
  const data = unpack();
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = new Map();
  let printing = false;

  // A small box beside the pointer; what it says comes from data and is only ever text.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  const place = (x, y) => {
    const { offsetWidth: w, offsetHeight: h } = tip, gap = 14;
    tip.style.left = `${Math.max(4, x + gap + w > innerWidth ? x - gap - w : x + gap)}px`;
    tip.style.top = `${Math.max(4, y + gap + h > innerHeight ? y - gap - h : y + gap)}px`;
  };
  const showTip = (event, ...content) => {
    tip.replaceChildren(...content);
    tip.hidden = false;
    place(event.clientX, event.clientY);
  };
  const hideTip = () => { tip.hidden = true; };
  const tooltip = (_, event, item, value) => {
    if (!value || typeof value !== "object") return hideTip();
    const list = document.createElement("dl");
    for (const [name, said] of Object.entries(value)) {
      const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
      dt.textContent = name;
      dd.textContent = String(said);
      list.append(dt, dd);
    }
    showTip(event, list);
  };

  // Figures: one definition, compiled for light; in the dark its colours are others. Data are left as they are.
  const DATA = new Set(["values", "domain"]);
  const recoloured = (v, by, key) => {
    if (DATA.has(key)) return v;
    if (Array.isArray(v)) return v.map((inner) => recoloured(inner, by));
    if (v && typeof v === "object") return Object.fromEntries(Object.entries(v).map(([k, inner]) => [k, recoloured(inner, by, k)]));
    return typeof v === "string" && Object.hasOwn(by, v) ? by[v] : v;
  };
  const paint = async (box) => {
    const { figures, dark: night } = await data, { body } = figures[box.dataset.figure];
    views.get(box)?.finalize();
    // what stands below stays where it is while the figure is drawn anew, or a click in that moment would miss
    box.style.minHeight = `${box.offsetHeight}px`;
    // in an element of its own: Vega would write over the words that stand for the figure
    const inside = document.createElement("div");
    inside.setAttribute("aria-hidden", "true");
    box.replaceChildren(inside);
    // ast, expr: expressions are walked by an interpreter; the page's policy lets no text be evaluated
    const flow = vega.parse(dark.matches && !printing ? recoloured(body, night) : body, null, { ast: true });
    const view = new vega.View(flow, { container: inside, renderer: "svg", hover: true, tooltip, expr: vegaInterpreter.expressionInterpreter });
    await view.runAsync();
    views.set(box, view);
    box.style.minHeight = "";
    view.addEventListener("click", (_, item) => {
      const target = item?.datum?.anchor;
      if (target) location.hash = target;
    });
    if (!("drawn" in document.body.dataset)) document.body.dataset.drawn = Math.round(performance.now());
  };
  // One at a time for each box: who scrolls and clicks at once would else get a view that is already gone.
  const painting = new Map();
  const draw = (box) => {
    const drawn = (painting.get(box) ?? Promise.resolve()).then(() => paint(box));
    painting.set(box, drawn.catch(() => undefined));
    return drawn;
  };
  const once = (box) => painting.get(box) ?? draw(box);
  const boxes = [...document.querySelectorAll(".plot")];
  // What is in sight at once, what is near it when there is time.
  const later = window.requestIdleCallback ?? ((f) => setTimeout(f, 50));
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting, boundingClientRect: at } of entries) if (isIntersecting) {
      near.unobserve(target);
      if (at.top < innerHeight && at.bottom > 0) once(target); else later(() => once(target));
    }
  }, { rootMargin: "600px" });
  boxes.forEach((b) => near.observe(b));
  const redraw = () => Promise.all([...views.keys()].map(draw));
  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    printing = true;
    for (const d of document.querySelectorAll("details.comparison, details.fold, #checklist")) d.open = true;
    near.disconnect();
    boxes.forEach(draw);
  });
  addEventListener("afterprint", () => { printing = false; redraw(); });

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
    const { figures } = await data, figure = figures[button.dataset.of], kind = button.dataset.save;
    if (kind === "csv") {
      const lines = [figure.columns, ...(figure.values[0] ?? []).map((_, i) => figure.values.map((column) => column[i]))];
      return save(`${figure.name}.csv`, new Blob([lines.map((r) => r.map(quoted).join(",") + "\n").join("")], { type: "text/csv" }));
    }
    const box = document.getElementById(`figure-${button.dataset.of}`);
    await once(box);
    const view = views.get(box);
    if (kind === "svg") return save(`${figure.name}.svg`, new Blob([await view.toSVG()], { type: "image/svg+xml" }));
    (await view.toCanvas(2)).toBlob((blob) => save(`${figure.name}.png`, blob));
  });

  // A link to something that is folded away unfolds it; a menu closes once it has been used.
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  const menu = document.querySelector("details.menu");
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href^='#']");
    if (menu?.open && (link || !menu.contains(event.target))) menu.open = false;
    if (link && link.hash === location.hash) unfold();
  });
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    hideTip();
    if (menu?.open) { menu.open = false; menu.querySelector("summary").focus(); }
  });
  unfold();

  // New rows for a named table of every figure that has one.
  const feed = async (name, rows) => {
    for (const [number, figure] of (await data).figures.entries()) {
      const table = figure.body.data.find((t) => t.name === name);
      if (!table) continue;
      table.values = rows;
      figure.values = figure.columns.map((column) => rows.map((row) => row[column] ?? null));
      await views.get(document.getElementById(`figure-${number}`))?.data(name, rows).runAsync();
    }
  };
  return { data, showTip, hideTip, feed };
})();
