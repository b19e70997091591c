// How times, sizes and numbers are written.

const UNITS = [[86400, 'd'], [3600, 'h'], [60, 'min'], [1, 's']];

/** A span of milliseconds: "3 min 20 s". */
export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const at = UNITS.findIndex(([unit]) => seconds >= unit);
  if (at < 0) return '0 s';
  const [size, unit] = UNITS[at];
  const next = UNITS[at + 1];
  const rest = next ? Math.floor((seconds % size) / next[0]) : 0;
  return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${next[1]}` : ''}`;
}
const short = (ms) => span(ms).split(' ').slice(0, 2).join(' ');

// Made once: toLocaleString makes a formatter at each call.
const times = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });
const dates = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });
const numbers = new Intl.NumberFormat('en-US');
const millis = (at) => (typeof at === 'number' ? at : Date.parse(at));
export const clock = (at) => times.format(millis(at));
export const date = (at) => dates.format(millis(at));
export const iso = (at) => new Date(millis(at)).toISOString();
export const number = (n) => numbers.format(n);
export const count = (n, word, words = `${word}s`) => `${number(n)} ${n === 1 ? word : words}`;
export const ago = (at) => {
  const ms = Date.now() - millis(at);
  return ms < 1500 ? 'now' : `${short(ms)} ago`;
};

export function bytes(n) {
  if (n < 1024) return `${n} B`;
  for (const [size, unit] of [[1 << 30, 'GiB'], [1 << 20, 'MiB'], [1024, 'KiB']]) if (n >= size) return `${(n / size).toFixed(n / size < 10 ? 1 : 0)} ${unit}`;
}
export const millisecondsOf = (ms) => (ms == null ? '–' : ms >= 1000 ? `${(ms / 1000).toFixed(2)} s` : `${ms < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`);

const PARTS = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 };
/** The milliseconds of "1m30s". */
export const duration = (text) => [...String(text ?? '').matchAll(/(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)/g)].reduce((sum, [, n, unit]) => sum + n * PARTS[unit], 0);

export const collator = new Intl.Collator('en', { numeric: true });
export const byName = (key) => (a, b) => collator.compare(key(a), key(b));
export const plain = (name) => name.replace('migration.', '').replaceAll('_', ' ');
