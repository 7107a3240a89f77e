"use strict";
// The arithmetic of the atlas, as isoloss.gains.portable and isoloss.gains.standings do it: gains at any budget, carried
// from arm to arm, ranked, and their shares. Works on plain data and touches no page.
const atlasModel = (() => {
  const DECADE = Math.log(10), FARTHEST = 2;
  const WORTH = { measured: 0, extrapolated: 1, withheld: 2, undefined: 3 };
  const number = (v) => (v === "inf" ? Infinity : v === "-inf" ? -Infinity : v);

  // Linear between knots; an infinite neighbour makes the whole piece infinite.
  const between = (at, values, x) => {
    let k = 0;
    while (k < at.length - 2 && at[k + 1] <= x) k++;
    const next = Math.min(k + 1, at.length - 1), here = number(values[k]), there = number(values[next]);
    if (x <= at[k]) return here;
    if (x >= at[next]) return there;
    if (!Number.isFinite(here) || !Number.isFinite(there)) return Number.isFinite(here) ? there : here;
    return here + ((x - at[k]) / (at[next] - at[k])) * (there - here);
  };
  const ends = (knots, x, low = "low", high = "high") => {
    const { at } = knots;
    if (!at.length || !knots[low].length || x < at[0] - 1e-9 || x > at.at(-1) + 1e-9) return null;
    return [Math.exp(between(at, knots[low], x)), Math.exp(between(at, knots[high], x))];
  };

  // The monotone cubic through an arm's rungs, and its inverse by bisection.
  const hermite = (t, y0, y1, d0, d1) => {
    const rise = y1 - y0, value = t >= 1 ? y1 : y0 + t * (d0 + t * (3 * rise - 2 * d0 - d1 + t * (d0 + d1 - 2 * rise)));
    return Math.min(Math.max(value, Math.min(y0, y1)), Math.max(y0, y1));
  };
  const piece = ({ log_c: x, log_q: y, slope }, j) => {
    const h = x[j + 1] - x[j];
    return [y[j], y[j + 1], slope[j] * h, slope[j + 1] * h];
  };
  const quality = (arm, x) => {
    const at = arm.log_c, n = at.length, held = Math.min(Math.max(x, at[0]), at[n - 1]);
    let j = 0;
    while (j < n - 2 && at[j + 1] <= held) j++;
    return hermite((held - at[j]) / (at[j + 1] - at[j]), ...piece(arm, j));
  };
  const reaching = (arm, q) => {
    const { log_c: x, log_q: y } = arm, n = x.length;
    if (q > y[0] || q < y[n - 1]) return null;
    let above = 0;
    for (const v of y) above += v > q;
    const j = Math.min(Math.max(above - 1, 0), n - 2), parts = piece(arm, j);
    let [low, high] = [0, 1];
    for (let i = 0; i < 60; i++) {
      const t = (low + high) / 2;
      if (hermite(t, ...parts) > q) low = t; else high = t;
    }
    return x[j] + (x[j + 1] - x[j]) * high;
  };

  const beyond = (x, { log_c }) => Math.max(0, log_c[0] - x, x - log_c.at(-1)) / DECADE;

  const at = (portable, index, budget) => {
    const x = Math.log(budget), sign = index === "old" ? 1 : -1;
    if (!portable.arms) {
      const knots = portable.measured[index], interval = ends(knots, x);
      if (interval) return { gain: Math.exp(between(knots.at, knots.gain, x)), interval, region: "measured", out: 0, fan: null };
      return { gain: null, interval: null, region: "undefined", out: Math.max(knots.at[0] - x, x - knots.at.at(-1)) / DECADE, fan: null };
    }
    const [own, other] = index === "old" ? portable.arms : [portable.arms[1], portable.arms[0]];
    if (x >= own.log_c[0] - 1e-9 && x <= own.log_c.at(-1) + 1e-9) {
      const there = reaching(other, quality(own, x));
      if (there !== null) return { gain: Math.exp(sign * (x - there)), interval: ends(portable.measured[index], x), region: "measured", out: 0, fan: null };
    }
    const above = own.reducible * Math.exp(-own.exponent * (x - own.centre)) + (own.floor - other.floor);
    if (!(above > 0)) return { gain: null, interval: null, region: "undefined", out: beyond(x, own), fan: null };
    const there = other.centre + (Math.log(other.reducible) - Math.log(above)) / other.exponent;
    const out = Math.max(beyond(x, own), beyond(there, other)), knots = portable.beyond[index];
    const far = out > FARTHEST;
    return {
      gain: far ? null : Math.exp(sign * (x - there)), interval: ends(knots, x), region: far ? "withheld" : "extrapolated",
      out, fan: ends(knots, x, "fan_low", "fan_high"),
    };
  };

  const worse = (carried, point) => ({
    region: WORTH[carried.region] >= WORTH[point.region] ? carried.region : point.region,
    out: Math.max(carried.out, point.out),
  });

  // The budgets at which the arms of one study match `arm` at `budget`, by the fewest links that have a gain.
  const carry = (links, arm, budget) => {
    const found = new Map([[arm, { budget, region: "measured", out: 0, via: [arm] }]]), queue = [arm];
    for (const here of queue) {
      const mine = found.get(here);
      for (const link of links) {
        const index = link.baseline === here ? "old" : "new", other = index === "old" ? link.candidate : link.baseline;
        if ((here !== link.baseline && here !== link.candidate) || found.has(other)) continue;
        const point = at(link.portable, index, mine.budget);
        if (point.gain === null) continue;
        const spent = index === "old" ? mine.budget / point.gain : mine.budget * point.gain;
        found.set(other, { budget: spent, ...worse(mine, point), via: [...mine.via, other] });
        queue.push(other);
      }
    }
    return found;
  };

  const read = (option, link, links, setting, known) => {
    let index = setting.reference === "new" ? "new" : "old", start = { budget: setting.budget, region: "measured", out: 0, via: [] };
    if (setting.reference !== "old" && setting.reference !== "new") {
      const near = links.filter((l) => l.card === link.card && l.resource === link.resource);
      if (!near.some((l) => l.baseline === setting.reference || l.candidate === setting.reference)) return null;
      if (!known.has(link.card)) known.set(link.card, carry(near, setting.reference, setting.budget));
      const arms = known.get(link.card);
      const reached = [[link.baseline, "old"], [link.candidate, "new"]].filter(([arm]) => arms.has(arm));
      if (!reached.length) return null;
      const [arm, i] = reached.reduce((a, b) => (arms.get(b[0]).via.length < arms.get(a[0]).via.length ? b : a));
      [start, index] = [arms.get(arm), i];
    }
    const point = at(link.portable, index, start.budget);
    return { index, at: start.budget, gain: point.gain, interval: point.interval, ...worse(start, point), fan: point.fan, option, via: start.via };
  };

  // Every innovation at a setting { budget, reference, resource }; `options` are indexes into `links`, in order of quoting.
  const standings = (rows, links, setting) => {
    const known = new Map();
    const found = rows.map(({ options }) => {
      let best = null;
      options.forEach((link, k) => {
        if (links[link].resource !== setting.resource) return;
        const s = read(k, links[link], links, setting, known);
        if (s && (!best || WORTH[s.region] < WORTH[best.region])) best = s;
      });
      return best && { ...best, rank: null, share: null };
    });
    const held = found.filter((s) => s && s.gain !== null).sort((a, b) => b.gain - a.gain);
    const total = held.reduce((sum, s) => sum + (s.gain > 1 ? Math.log(s.gain) : 0), 0);
    held.forEach((s, k) => { s.rank = k + 1; s.share = s.gain > 1 ? Math.log(s.gain) / total : null; });
    return found;
  };

  return { at, carry, standings };
})();
if (typeof module !== "undefined") module.exports = atlasModel;
