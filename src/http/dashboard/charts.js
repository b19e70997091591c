// Charts as plain SVG: coloured by the style sheet, with their meaning in words for screen readers.

import { h } from './view.js';
import { muted } from './parts.js';

const path = (points) => points.map(([x, y], at) => `${at ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`).join('');

/** Latencies of probes, newest at the right; failures are ticks. `results` has the newest first. */
export function spark(results, width = 96, height = 22) {
  if (!results?.length) return muted('no results yet');
  const all = results.slice(0, 60).toReversed();
  const top = Math.max(...all.map((one) => one.latency_ms), 1) * 1.1;
  const x = (at) => (all.length < 2 ? width / 2 : 3 + (at * (width - 6)) / (all.length - 1));
  const y = (value) => height - 3 - (value / top) * (height - 6);
  const points = all.map((one, at) => [x(at), y(one.latency_ms)]);
  const last = all.at(-1);
  const failed = all.filter((one) => !one.passed).length;
  const [lx, ly] = points.at(-1);
  return h('svg', { class: 'spark', width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': `${all.length} probes, ${failed} failed, the last took ${last.latency_ms.toFixed(1)} ms` },
    h('path', { class: 'area', d: `${path(points)}L${lx.toFixed(1)} ${height}L${points[0][0].toFixed(1)} ${height}Z` }),
    h('path', { class: 'line', d: path(points) }),
    all.map((one, at) => !one.passed && h('line', { class: 'failed', x1: x(at).toFixed(1), x2: x(at).toFixed(1), y1: height - 7, y2: height })),
    h('circle', { class: last.passed ? 'dot' : 'dot bad', cx: lx.toFixed(1), cy: ly.toFixed(1), r: 2 }));
}

/** A number per second as columns. */
export function columns(values, label, height = 48) {
  const top = Math.max(...values, 1);
  return h('svg', { class: 'columns', viewBox: `0 0 ${values.length} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    values.map((value, at) => {
      const tall = Math.max((value / top) * height, 1.5);
      return value > 0 && h('rect', { key: at, x: at, width: 0.75, y: (height - tall).toFixed(1), height: tall.toFixed(1) });
    }));
}

/** How close a value is to what is allowed: the thick mark is the threshold, the thin one the baseline. */
export function gauge({ value, threshold, baseline, label, state }) {
  const top = Math.max(threshold * 1.35, value ?? 0, 1e-9);
  const x = (v) => Math.min((v / top) * 100, 100);
  return h('svg', { class: `gauge ${state}`, viewBox: '0 0 100 10', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    h('rect', { class: 'track', width: 100, height: 6, y: 2 }),
    value != null && h('rect', { class: 'fill', width: Math.max(x(value), 0.8).toFixed(2), height: 6, y: 2 }),
    baseline != null && h('rect', { class: 'base', x: (x(baseline) - 0.3).toFixed(2), width: 0.6, height: 10 }),
    h('rect', { class: 'limit', x: (x(threshold) - 0.4).toFixed(2), width: 0.8, height: 10 }));
}

/** Lines over the same span, newest at the right; `limit` is dashed. */
export function lines({ series, limit, base, height = 72, label, slots = 30 }) {
  const all = series.flatMap((one) => one.values).filter((value) => value != null);
  if (all.length < 2) return h('div', { class: 'waiting muted' }, 'measuring …');
  const width = 320;
  const top = Math.max(...all, limit ?? 0) * 1.15 || 1;
  const n = Math.max(slots, ...series.map((one) => one.values.length));
  const x = (at, of) => ((n - of + at) * width) / Math.max(n - 1, 1);
  const y = (value) => height - (value / top) * (height - 2) - 1;
  const level = (kind, value) => value != null && h('line', { class: kind, x1: 0, x2: width, y1: y(value).toFixed(1), y2: y(value).toFixed(1) });
  return h('svg', { class: height < 50 ? 'lines low' : 'lines', viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    level('base', base), level('limit', limit),
    series.map((one) => h('path', { class: `line ${one.class}`, d: path(one.values.map((value, at) => [x(at, one.values.length), y(value ?? 0)])) })));
}
