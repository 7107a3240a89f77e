"use strict";
// Numbers as people read them; the same words as isoloss.report.words.
const numbers = (() => {
  const NOTHING = "–", RAISED = Object.fromEntries([..."-0123456789"].map((c, i) => [c, "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"[i]]));
  const fixed = (v, places) => Math.abs(v).toLocaleString("en", { minimumFractionDigits: places, maximumFractionDigits: places });
  const scientific = (v, digits = 2) => {
    const [m, e] = v.toExponential(digits - 1).split("e"), power = `10${[...String(Number(e))].map((c) => RAISED[c]).join("")}`;
    const mantissa = m.includes(".") ? m.replace(/0+$/, "").replace(/\.$/, "") : m;
    return mantissa === "1" ? power : `${mantissa}×${power}`;
  };
  const decimals = (v, digits) => (v === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(Number(v.toPrecision(digits))))));
  const places = (v) => (v >= 0.5 && v < 1.995 ? 2 : v >= 1.995 && v < 9.95 ? 1 : decimals(v, 2));
  const far = (v) => v !== 0 && !(v >= 1e-3 && v < 999_500);
  const ratio = (v, p) => (far(v) ? scientific(v) : fixed(v >= 10 && p === undefined ? Number(v.toPrecision(2)) : v, p ?? places(v)));
  const times = (v) => (v === null ? NOTHING : v === Infinity ? "∞" : far(v) ? `${ratio(v)} times` : `${ratio(v)}×`);
  const span = (interval) => {
    if (!interval) return NOTHING;
    const [low, high] = interval;
    if (low <= 0 && high === Infinity) return "unbounded";
    if (high === Infinity) return `> ${ratio(low)}`;
    if (low <= 0) return `< ${ratio(high)}`;
    const alike = low >= 0.0995 && high < Math.min(9.95, 4 * low);
    const ends = interval.map((end) => ratio(end, alike ? places(low) : undefined));
    return ends[0] === ends[1] ? ends[0] : ends.join("–");
  };
  const amount = (v, unit) => {
    if ((unit === "B" || unit === "J") && v >= 1000) {
      const step = Math.min(Math.floor(Math.log10(v) / 3), 5), size = v / 1000 ** step;
      const told = size < 1e6 ? fixed(Number(size.toPrecision(2)), decimals(size, 2)).replace(/\.0+$/, "") : scientific(size);
      return `${told} ${" kMGTP"[step]}${unit}`;
    }
    return `${v >= 1e5 ? scientific(v) : fixed(Number(v.toPrecision(3)), 0)} ${unit}`.trim();
  };
  return { scientific, times, span, amount };
})();
if (typeof module !== "undefined") module.exports = numbers;
