"use strict";
// The queue: every study of the ledger, read again every other second. All text is only ever text.
(() => {
  const FIRST = 200, at = (id) => document.getElementById(id), body = at("studies").tBodies[0];
  const { count, left, meter } = runs;
  let held = [], limit = FIRST;
  const draw = () => {
    const focused = body.contains(document.activeElement) ? document.activeElement.href : "";
    const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = held.filter((s) => words.every((w) => `${s.study} ${s.study_id} ${s.state}`.toLowerCase().includes(w)));
    body.replaceChildren(...found.slice(0, limit).map((s) => {
      const row = document.createElement("tr"), name = document.createElement("a"), report = document.createElement("a");
      name.href = `/study/${encodeURIComponent(s.study_id)}`;
      name.textContent = s.study;
      report.href = `${name.href}/report`;
      report.textContent = "report";
      const head = document.createElement("th");
      head.scope = "row";
      head.append(name);
      row.append(head);
      const cell = (content, kind = "") => { const td = row.insertCell(); td.className = kind; td.append(content); };
      const state = document.createElement("span");
      state.className = `state ${s.state}`;
      state.textContent = s.state;
      cell(state);
      cell(meter(s.runs), "bar");
      cell(count(s.ended), "n");
      cell(count(s.open), "n");
      cell(s.runs.failed ? count(s.runs.failed) : "", "n bad");
      cell(s.rate ? s.rate.runs_per_minute.toPrecision(2) : "", "n");
      cell(s.rate && s.open ? left(s.rate.seconds_left) : "", "n");
      cell(s.ended ? report : "");
      return row;
    }));
    if (focused) [...body.querySelectorAll("a")].find((a) => a.href === focused)?.focus({ preventScroll: true }); // rows are new
    at("more").hidden = found.length <= limit;
    at("shown").textContent = found.length === held.length ? "" : `${count(found.length)} of ${count(held.length)}`;
    const sum = (f) => held.reduce((a, s) => a + f(s), 0), running = held.filter((s) => s.state === "running").length;
    at("said").textContent = held.length ? `${count(held.length)} ${held.length === 1 ? "study" : "studies"}, ${running} running: ${count(sum((s) => s.ended))} runs done, ${count(sum((s) => s.open))} to do` : "This ledger holds no study yet: isoloss run STUDY.toml";
  };
  at("filter").addEventListener("input", draw);
  at("more").firstElementChild.addEventListener("click", () => { limit += 500; draw(); });
  runs.follow("/api/queue", (seen) => {
    held = seen.studies;
    at("ledger").textContent = seen.ledger;
    draw();
  });
})();
