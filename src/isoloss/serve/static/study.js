"use strict";
// One study: rungs across, arms down, each cell by status. All text is only ever text.
(() => {
  const at = (id) => document.getElementById(id), id = location.pathname.split("/")[2];
  const ORDER = ["finished", "diverged", "dropped", "failed", "running", "queued"];
  const count = (n) => n.toLocaleString("en");
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const amount = (v) => {
    if (v < 1e5) return count(v);
    const [m, e] = v.toExponential(1).split("e"), power = `10${[...String(Number(e))].map((d) => RAISED[d]).join("")}`, short = m.replace(/\.0$/, "");
    return short === "1" ? power : `${short}×${power}`;
  };
  const left = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172800 ? `${(s / 3600).toFixed(1)} h` : `${Math.round(s / 86400)} days`);
  const meter = (box, runs) => {
    const total = Object.values(runs).reduce((a, b) => a + b, 0) || 1;
    box.replaceChildren(...ORDER.filter((s) => runs[s]).map((s) => {
      const part = document.createElement("i");
      part.className = s;
      part.style.flex = `${runs[s] / total} 0 0`;
      return part;
    }));
    box.setAttribute("aria-label", ORDER.filter((s) => runs[s]).map((s) => `${runs[s]} ${s}`).join(", ") || "no runs");
  };
  const items = (list, lines) => list.replaceChildren(...lines.map((l) => Object.assign(document.createElement("li"), { textContent: l })));
  const draw = (s) => {
    document.title = at("name").textContent = s.study;
    at("report").href = `/study/${encodeURIComponent(id)}/report`;
    at("report").hidden = !s.ended;
    const rate = s.rate ? `, ${s.rate.runs_per_minute.toPrecision(2)} runs a minute${s.open ? `, about ${left(s.rate.seconds_left)} left of what is queued` : ""}` : "";
    at("said").textContent = `${s.state[0].toUpperCase()}${s.state.slice(1)}: ${count(s.ended)} of ${count(s.ended + s.open)} runs done${s.last_round ? "" : ", more rounds to come"}${rate}.`;
    meter(at("meter"), s.runs);
    const rungs = [...new Set(s.cells.map((c) => c.rung))].sort((a, b) => a - b), arms = [...new Set(s.cells.map((c) => c.arm))];
    const head = document.createElement("tr");
    head.append(...["arm", ...rungs.map(amount)].map((t, i) => Object.assign(document.createElement("th"), { scope: "col", textContent: t, className: i ? "n" : "" })));
    at("cells").tHead.replaceChildren(head);
    const by = new Map(s.cells.map((c) => [`${c.rung} ${c.arm}`, c]));
    at("cells").tBodies[0].replaceChildren(...arms.map((arm) => {
      const row = document.createElement("tr");
      row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: arm }));
      for (const rung of rungs) {
        const td = row.insertCell(), cell = by.get(`${rung} ${arm}`);
        if (!cell) continue;
        const total = Object.values(cell.runs).reduce((a, b) => a + b, 0), open = (cell.runs.running ?? 0) + (cell.runs.queued ?? 0);
        const told = document.createElement("span"), box = document.createElement("div");
        told.textContent = open ? `${count(total - open)} of ${count(total)}` : count(total);
        if (cell.runs.failed) told.append(Object.assign(document.createElement("b"), { className: "bad", textContent: ` ${count(cell.runs.failed)} failed` }));
        box.className = "meter";
        box.setAttribute("role", "img");
        meter(box, cell.runs);
        td.append(told, box);
      }
      return row;
    }));
    at("trouble").hidden = !s.failures.length;
    items(at("failures"), s.failures.map((f) => `${f.arm} at ${amount(f.rung)}: ${f.error}`));
    at("who").hidden = !s.drivers.length;
    items(at("drivers"), s.drivers.map((d) => `machine ${d.machine.slice(0, 8)}, process ${d.process}: ${count(d.claims)} ${d.claims === 1 ? "run" : "runs"}${d.alive ? "" : ", not heard of lately"}`));
  };
  let tag = "";
  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(`/api/study/${encodeURIComponent(id)}`);
        if (!answer.ok) throw new Error(String(answer.status));
        if (answer.headers.get("etag") !== tag) { tag = answer.headers.get("etag"); draw(await answer.json()); }
        at("pulse").textContent = "live";
        at("pulse").className = "pulse live";
      } catch {
        at("pulse").textContent = "no answer; trying again";
        at("pulse").className = "pulse";
      }
    }
    setTimeout(look, 2000);
  };
  look();
})();
