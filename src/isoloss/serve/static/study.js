"use strict";
// One study: rungs across, arms down, each cell by status. All text is only ever text.
(() => {
  const at = (id) => document.getElementById(id), id = location.pathname.split("/")[2];
  const { count, left, meter, total } = runs;
  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const amount = (v) => {
    if (v < 1e5) return count(v);
    const [m, e] = v.toExponential(1).split("e"), power = `10${[...String(Number(e))].map((d) => RAISED[d]).join("")}`, short = m.replace(/\.0$/, "");
    return short === "1" ? power : `${short}×${power}`;
  };
  const items = (list, lines) => list.replaceChildren(...lines.map((l) => Object.assign(document.createElement("li"), { textContent: l })));
  const draw = (s) => {
    document.title = at("name").textContent = s.study;
    at("report").href = `/study/${encodeURIComponent(id)}/report`;
    at("report").hidden = !s.ended;
    const rate = s.rate ? `, ${s.rate.runs_per_minute.toPrecision(2)} runs a minute${s.open ? `, about ${left(s.rate.seconds_left)} left of what is queued` : ""}` : "";
    at("said").textContent = `${s.state[0].toUpperCase()}${s.state.slice(1)}: ${count(s.ended)} of ${count(s.ended + s.open)} runs done${s.last_round ? "" : ", more rounds to come"}${rate}.`;
    meter(s.runs, at("meter"));
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
        const all = total(cell.runs), open = (cell.runs.running ?? 0) + (cell.runs.queued ?? 0);
        const told = document.createElement("span");
        told.textContent = open ? `${count(all - open)} of ${count(all)}` : count(all);
        if (cell.runs.failed) told.append(Object.assign(document.createElement("b"), { className: "bad", textContent: ` ${count(cell.runs.failed)} failed` }));
        td.append(told, meter(cell.runs));
      }
      return row;
    }));
    at("trouble").hidden = !s.failures.length;
    items(at("failures"), s.failures.map((f) => `${f.arm} at ${amount(f.rung)}: ${f.error}`));
    at("who").hidden = !s.drivers.length;
    items(at("drivers"), s.drivers.map((d) => `machine ${d.machine.slice(0, 8)}, process ${d.process}: ${count(d.claims)} ${d.claims === 1 ? "run" : "runs"}${d.alive ? "" : ", not heard of lately"}`));
  };
  runs.follow(`/api/study/${encodeURIComponent(id)}`, draw);
})();
