"use strict";
// The queue: every study of the ledger, read again every other second. All text is only ever text.
(() => {
  const FIRST = 200, at = (id) => document.getElementById(id), body = at("studies").tBodies[0];
  let tag = "", held = [], limit = FIRST;
  const count = (n) => n.toLocaleString("en");
  const whole = (s, unit) => `${s} ${unit}`;
  const left = (s) => (s < 90 ? whole(Math.round(s), "s") : s < 5400 ? whole(Math.round(s / 60), "min") : s < 172800 ? whole((s / 3600).toFixed(1), "h") : whole(Math.round(s / 86400), "days"));
  const ORDER = ["finished", "diverged", "dropped", "failed", "running", "queued"];
  const bar = (runs) => {
    const made = document.createElement("div"), total = Object.values(runs).reduce((a, b) => a + b, 0);
    made.className = "meter";
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", ORDER.filter((s) => runs[s]).map((s) => `${runs[s]} ${s}`).join(", ") || "no runs");
    for (const s of ORDER) if (runs[s]) {
      const part = document.createElement("i");
      part.className = s;
      part.style.flex = `${runs[s] / total} 0 0`;
      made.append(part);
    }
    return made;
  };
  const draw = () => {
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
      cell(bar(s.runs), "bar");
      cell(count(s.ended), "n");
      cell(count(s.open), "n");
      cell(s.runs.failed ? count(s.runs.failed) : "", "n bad");
      cell(s.rate ? s.rate.runs_per_minute.toPrecision(2) : "", "n");
      cell(s.rate && s.open ? left(s.rate.seconds_left) : "", "n");
      cell(s.ended ? report : "");
      return row;
    }));
    at("more").hidden = found.length <= limit;
    at("shown").textContent = found.length === held.length ? "" : `${count(found.length)} of ${count(held.length)}`;
    const sum = (f) => held.reduce((a, s) => a + f(s), 0), running = held.filter((s) => s.state === "running").length;
    at("said").textContent = held.length ? `${count(held.length)} ${held.length === 1 ? "study" : "studies"}, ${running} running: ${count(sum((s) => s.ended))} runs done, ${count(sum((s) => s.open))} to do` : "This ledger holds no study yet: isoloss run STUDY.toml";
  };
  const look = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch("/api/queue");
        if (!answer.ok) throw new Error(String(answer.status));
        if (answer.headers.get("etag") !== tag) {
          tag = answer.headers.get("etag");
          const seen = await answer.json();
          held = seen.studies;
          at("ledger").textContent = seen.ledger;
          draw();
        }
        at("pulse").textContent = "live";
        at("pulse").className = "pulse live";
      } catch {
        at("pulse").textContent = "no answer; trying again";
        at("pulse").className = "pulse";
      }
    }
    setTimeout(look, 2000);
  };
  at("filter").addEventListener("input", draw);
  at("more").firstElementChild.addEventListener("click", () => { limit += 500; draw(); });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) tag = ""; });
  look();
})();
