"use strict";
// On a page that the server makes: says when there is a newer one. A page that is awaited replaces itself.
(() => {
  const key = { "/atlas": "atlas", "/origin": "origin" }[location.pathname] ?? location.pathname.split("/")[2];
  const waiting = Boolean(document.getElementById("pulse"));
  let mine, bar;
  if (!waiting) {
    const back = Object.assign(document.createElement("a"), { href: "/", textContent: "Queue" });
    Object.assign(back.style, { color: "var(--quiet)", textDecoration: "none", fontSize: ".9rem" });
    document.querySelector(".brand")?.after(back);
  }
  const offer = () => {
    if (bar) return;
    bar = document.createElement("div");
    bar.setAttribute("role", "status");
    Object.assign(bar.style, { position: "fixed", right: "1rem", bottom: "1rem", zIndex: 20, background: "var(--ink)", color: "var(--surface)", borderRadius: "10px", padding: ".6rem .7rem .6rem 1.1rem", display: "flex", gap: "1rem", alignItems: "center", fontSize: ".92rem" });
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Show it";
    Object.assign(button.style, { font: "inherit", fontWeight: 600, borderRadius: "6px", border: 0, padding: ".3rem .8rem", cursor: "pointer", background: "var(--surface)", color: "var(--ink)" });
    button.addEventListener("click", () => location.reload());
    bar.append("More runs have finished.", button);
    document.body.append(bar);
  };
  const look = async () => {
    if (!document.hidden) {
      try {
        // a page that is asked for is kept up to date: asking again says that somebody still looks
        const all = await (await fetch(`/api/pages?key=${encodeURIComponent(key)}`)).json(), now = all[key];
        if (waiting && now && now !== mine && mine !== undefined) location.reload();
        if (mine !== undefined && now && now !== mine) offer();
        mine ??= now ?? (waiting ? "" : undefined);
      } catch { /* away: asked again */ }
    }
    setTimeout(look, waiting ? 700 : 4000);
  };
  look();
})();
