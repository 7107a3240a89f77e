"use strict";
// The accounting itself, worked out again for any setting: pure functions of plain numbers, no page needed.
// A gain is a set of matching budgets: a step says which ln budget of its newer arm matches one of its older arm
// (`down`) and back (`up`), NaN where there is none. docs/attribution.md has the formulas.
const originModel = (() => {
  const sum = (values) => values.reduce((a, b) => a + b, 0);
  const amount = (v) => Number(v.toPrecision(3)).toExponential().replace("e+", "e");

  class Refusal extends Error {}

  const between = (old, young) => {
    const match = (from, to) => (x) => {
      const above = from.A * Math.exp(-from.alpha * x) + (from.E - to.E);
      return above > 0 ? (Math.log(to.A) - Math.log(above)) / to.alpha : NaN;
    };
    return { down: match(old, young), up: match(young, old) };
  };

  const logBalance = (m) => (x) => {
    const n = Math.log(m.n_scale) - m.n_exponent * x, d = Math.log(m.d_scale) - m.d_exponent * x;
    const top = Math.max(n, d);
    return Math.log(m.scale) + x + m.power * (top + Math.log(Math.exp(n - top) + Math.exp(d - top)));
  };
  // Kaplan's budget less ln M rises with Kaplan's budget, so its inverse is found by halving.
  const balance = (m) => {
    const gain = logBalance(m), down = (x) => x - gain(x);
    const up = (y) => {
      let [low, high] = [Math.log(1e6), Math.log(1e34)];
      if (y < down(low) || y > down(high)) return NaN;
      for (let k = 0; k < 100; k++) {
        const middle = (low + high) / 2;
        if (down(middle) < y) low = middle; else high = middle;
      }
      return (low + high) / 2;
    };
    return { down, up };
  };

  const constant = (gain) => ({ down: (x) => x - Math.log(gain), up: (y) => y + Math.log(gain) });

  const table = ({ name, budget, gain }) => {
    const order = budget.map((_, i) => i).sort((a, b) => budget[a] - budget[b]);
    const xs = order.map((i) => Math.log(budget[i])), gs = order.map((i) => Math.log(gain[i]));
    const ys = xs.map((x, i) => x - gs[i]);
    const read = (keys, values, key) => {
      const found = [];
      for (let i = 0; i + 1 < keys.length; i++) {
        const [a, b] = [keys[i], keys[i + 1]];
        if (key < Math.min(a, b) || key > Math.max(a, b)) continue;
        if (a === b) { found.push(values[i], values[i + 1]); continue; }
        found.push(values[i] + ((key - a) / (b - a)) * (values[i + 1] - values[i]));
      }
      if (!found.length) return NaN;
      if (Math.max(...found) - Math.min(...found) > 1e-9) throw new Refusal(`${name}: has several gains at ${amount(Math.exp(key))} FLOP: choose the old index`);
      return found[0];
    };
    return { down: (x) => read(xs, ys, x), up: (y) => read(ys, xs, y), domain: { old: [xs[0], xs.at(-1)], new: [Math.min(...ys), Math.max(...ys)] } };
  };

  // The steps from a reference to the newest algorithm of `last`, in the order of composition.
  const steps = (given, s) => {
    const whole = between(given.laws.lstm, given.laws.retro), m = balance(given.m);
    const carved = { down: (x) => m.up(whole.down(x)), up: (y) => whole.up(m.down(y)) };
    const maps = [carved, m]; // in the order of given.steps
    const all = Object.entries(given.steps).map(([name, year], i) => ({ name, year, kind: "scale-dependent", map: maps[i] }));
    for (const f of given.factors) {
      const moe = f.name === given.names.experts, swiglu = f.name === given.names.restored;
      if (swiglu ? !s.swiglu : !f.included) continue;
      all.push({ name: f.name, year: f.year, kind: "scale-invariant", map: constant(moe ? s.moe : f.gain), moe });
    }
    for (const a of s.added) {
      const map = typeof a.gain === "number" ? constant(a.gain) : table(a);
      all.push({ name: a.name, year: s.newest ?? s.last, kind: "added", map });
    }
    const skipped = { lstm: 0, kaplan: 1, retro: 2, dense: 2 }[s.reference];
    return all.slice(skipped).filter((p) => p.year <= s.last && (s.reference !== "dense" || p.kind === "added" || p.moe));
  };

  const check = (step, index, asked, answer) => {
    if (Number.isFinite(answer)) return;
    const d = step.map.domain?.[index];
    const where = d ? `is known from ${amount(Math.exp(d[0]))} to ${amount(Math.exp(d[1]))} FLOP (${index} index) and is asked at` : "has no gain at";
    throw new Refusal(`${step.name}: ${where} ${amount(Math.exp(asked))} FLOP: choose a budget inside, or a gain that reaches there`);
  };

  // ln gains of the steps at one budget: {log, at, index} each.
  const gains = (given, list, index, logC) => {
    if (index === "as-published") return list.map((p) => {
      if (p.name === given.names.transformer) {
        const whole = between(given.laws.lstm, given.laws.retro);
        return { log: whole.up(logC) - logC - logBalance(given.m)(logC), at: logC, index: "new" };
      }
      const answer = p.map.down(logC);
      check(p, "old", logC, answer);
      return { log: logC - answer, at: logC, index: "old" };
    });
    const found = [];
    let x = logC;
    for (const p of index === "old" ? list : [...list].reverse()) {
      const answer = index === "old" ? p.map.down(x) : p.map.up(x);
      check(p, index, x, answer);
      found.push({ log: index === "old" ? x - answer : answer - x, at: x, index });
      x = answer;
    }
    return index === "old" ? found : found.reverse();
  };

  const account = (given, s, index = s.index) => {
    if (s.last < since(given, s.reference)) throw new Refusal(`Seen from: this reference enters in ${since(given, s.reference)}: choose an older one or a later last year`);
    const list = steps(given, s), found = gains(given, list, index, Math.log(s.budget));
    const total = sum(found.map((f) => f.log));
    const share = (log) => (total === 0 ? 0 : log / total);
    const rows = list.map((p, i) => ({
      name: p.name, year: p.year, kind: p.kind, factor: Math.exp(found[i].log), share: share(found[i].log),
      at: Math.exp(found[i].at), index: found[i].index,
    }));
    const scale = sum(found.filter((_, i) => list[i].kind === "scale-dependent").map((f) => f.log));
    return { index, steps: rows, total: Math.exp(total), scale: Math.exp(scale), share: share(scale), perYear: Math.exp(total / (s.last - s.first)) };
  };

  // d ln G / d ln C at the budget, turned into a log rate a year by the growth of budgets.
  const growth = (given, s, half = 0.05) => {
    const at = (shift) => Math.log(account(given, { ...s, budget: s.budget * Math.exp(shift) }).total);
    const logRate = ((at(half) - at(-half)) / (2 * half)) * Math.log(s.growth);
    return { logRate, simpleRate: Math.expm1(logRate) };
  };

  // The year from which a reference is there to be compared with.
  const since = (given, reference) => {
    const [kaplan, chinchilla] = Object.values(given.steps);
    return { lstm: given.first_year, kaplan, retro: chinchilla, dense: Math.max(...given.factors.map((f) => f.year)) }[reference];
  };

  // Every year's algorithms at that year's budget; what was added comes in the last year.
  const path = (given, s) => {
    const out = [];
    for (let year = Math.max(s.first, since(given, s.reference)); year <= s.last; year++) {
      const budget = s.budget * s.growth ** (year - s.last);
      out.push({ year, budget, gain: account(given, { ...s, budget, last: year, newest: s.last }).total });
    }
    return out;
  };

  // A table with the columns budget and gain, as `--add NAME=FILE.csv` reads it.
  const readTable = (name, text) => {
    const lines = text.split(/\r?\n/).map((l) => l.trim()).filter(Boolean);
    const head = (lines.shift() ?? "").split(",").map((h) => h.trim().toLowerCase());
    const [b, g] = [head.indexOf("budget"), head.indexOf("gain")];
    if (b < 0 || g < 0) throw new Refusal(`${name}: needs a first line that names the columns budget and gain`);
    const rows = lines.map((l) => l.split(",")).map((c) => [Number(c[b] || NaN), Number(c[g] || NaN)]);
    const bad = rows.findIndex(([x, y]) => !(x > 0 && y > 0 && Number.isFinite(x) && Number.isFinite(y)));
    if (bad >= 0) throw new Refusal(`${name}: row ${bad + 1} needs a positive budget and gain`);
    if (rows.length < 2) throw new Refusal(`${name}: has ${rows.length} rows: give two or more`);
    if (new Set(rows.map((r) => r[0])).size < rows.length) throw new Refusal(`${name}: gives a budget twice: keep one row a budget`);
    return { budget: rows.map((r) => r[0]), gain: rows.map((r) => r[1]) };
  };

  return { account, growth, path, readTable, Refusal };
})();
if (typeof module !== "undefined") module.exports = originModel;
