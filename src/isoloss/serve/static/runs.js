"use strict";
// What the queue and a study's page share: following an address, and runs by status as numbers and as a bar.
const runs = (() => {
  const ORDER = ["finished", "diverged", "dropped", "failed", "running", "queued"], EVERY = 2000;
  const count = (n) => n.toLocaleString("en");
  const total = (by) => Object.values(by).reduce((a, b) => a + b, 0);
  const left = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 172800 ? `${(s / 3600).toFixed(1)} h` : `${Math.round(s / 86400)} days`);

  // Counts by status as one bar, whose words are the counts.
  const meter = (by, box = document.createElement("div")) => {
    const there = ORDER.filter((s) => by[s]), all = total(by);
    box.className = "meter";
    box.setAttribute("role", "img");
    box.setAttribute("aria-label", there.map((s) => `${by[s]} ${s}`).join(", ") || "no runs");
    box.replaceChildren(...there.map((s) => {
      const part = document.createElement("i");
      part.className = s;
      part.style.flex = `${by[s] / all} 0 0`;
      return part;
    }));
    return box;
  };

  // Asks every other second while somebody looks, draws what has changed, and says whether anybody answers.
  const follow = (path, draw) => {
    const pulse = document.getElementById("pulse");
    let tag = "", next;
    const say = (text, kind) => {
      if (pulse.textContent !== text) pulse.textContent = text; // said again it would be read out again
      pulse.className = kind;
    };
    const look = async () => {
      clearTimeout(next);
      if (document.hidden) return;
      try {
        const answer = await fetch(path);
        if (!answer.ok) throw new Error(String(answer.status));
        if (answer.headers.get("etag") !== tag) {
          tag = answer.headers.get("etag");
          draw(await answer.json());
        }
        say("live", "pulse live");
      } catch {
        say("no answer; trying again", "pulse");
      }
      clearTimeout(next);
      next = setTimeout(look, EVERY);
    };
    document.addEventListener("visibilitychange", look);
    look();
  };
  return { count, total, left, meter, follow };
})();
