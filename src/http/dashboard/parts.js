// Small pieces that every view is made of.

import { h, redraw } from './view.js';
import { STATUSES, store } from './store.js';
import { ago, count, date, iso, number } from './words.js';

const path = (d) => () => h('path', { d });
// Each status has its own shape: colour alone does not tell them apart for everyone.
const SHAPES = {
  healthy: () => h('circle', { cx: 6, cy: 6, r: 4.5 }),
  unhealthy: path('M6 .8 11.6 11H.4Z'),
  starting: () => [h('path', { d: 'M6 1.5a4.5 4.5 0 1 0 0 9Z' }), h('circle', { cx: 6, cy: 6, r: 4, class: 'hollow' })],
  stopping: () => h('rect', { x: 1.5, y: 1.5, width: 9, height: 9, rx: 1 }),
  unknown: () => h('circle', { cx: 6, cy: 6, r: 4, class: 'hollow' }),
};

export const glyph = (status) => h('svg', { class: `glyph ${status}`, viewBox: '0 0 12 12', 'aria-hidden': 'true' }, (SHAPES[status] ?? SHAPES.unknown)());
export const status = (word, text = word) => h('span', { class: `status ${word}` }, glyph(word), text);
export const hidden = (...text) => h('span', { class: 'hidden' }, ...text);
export const muted = (...text) => h('span', { class: 'muted' }, ...text);
export const mono = (...text) => h('span', { class: 'mono' }, ...text);
export const chip = (text, title) => h('span', { class: 'chip', title: title ?? text }, text);
export const icon = (d, solid) => h('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, h('path', { d }), solid && h('path', { class: 'solid', d: solid }));
export const pill = (word, kind = '') => h('span', { class: `pill ${kind}` }, word);

export function since(at, prefix = '') {
  if (!at) return muted('–');
  return h('time', { datetime: iso(at), title: date(at) }, prefix, ago(at));
}

/** How many are in which status, as one bar. */
export function bar(counts, total, label) {
  let x = 0;
  const parts = STATUSES.toReversed().filter((one) => counts[one]).map((one) => {
    // One instance of thousands must still be seen.
    const width = Math.max((counts[one] / total) * 100, one === 'healthy' ? 0 : 3);
    const part = h('rect', { class: one, x: x.toFixed(2), y: 0, width: width.toFixed(2), height: 8 });
    x += width;
    return part;
  });
  const words = STATUSES.filter((one) => counts[one]).map((one) => `${counts[one]} ${one}`).join(', ') || 'none';
  return h('svg', { class: 'bar', viewBox: `0 0 ${(x || 100).toFixed(2)} 8`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label ? `${label}: ${words}` : words }, parts);
}

/** A share of a whole, as a line. */
export function meter(share, kind, wide = '') {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return h('svg', { class: `meter ${wide}`, viewBox: '0 0 100 4', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect', { class: 'track', width: 100, height: 4 }), h('rect', { class: kind, width: width.toFixed(1), height: 4 }));
}

export const button = (text, onclick, kind = '', more = {}) => h('button', { type: 'button', class: kind, onclick, ...more }, text);
export const link = (place, ...text) => h('a', { href: `#/${place}` }, ...text);

/** The name of a place, from its parts. */
export const place = (...parts) => parts.map(encodeURIComponent).join('/');
export const go = (to) => { location.hash = `#/${to}`; };

/** The head of a view: its title, what it is about, and its actions. */
export function title(name, about, actions = [], crumbs = null) {
  const shown = actions.filter(Boolean);
  return h('header', { class: 'title' },
    crumbs && h('nav', { class: 'crumbs', 'aria-label': 'Path' }, crumbs, ' ', h('span', { 'aria-hidden': 'true' }, '/')),
    h('h1', null, name), about && h('p', { class: 'muted' }, about),
    shown.length > 0 && !store.readOnly && h('div', { class: 'actions' }, shown));
}

const copied = new Map();
/** A command to copy. */
export function command(text) {
  const copy = () => navigator.clipboard?.writeText(text).then(() => {
    copied.set(text, true);
    redraw(true);
    setTimeout(() => { copied.delete(text); redraw(); }, 1500);
  });
  return h('div', { class: 'command' }, h('code', null, text), button(copied.has(text) ? 'Copied' : 'Copy', copy, 'quiet', { 'aria-label': `Copy ${text}` }));
}

export const empty = (heading, ...kids) => h('div', { class: 'empty' }, h('h2', null, heading), ...kids);
export const card = (heading, ...kids) => h('section', { class: 'card' }, heading && h('h2', null, heading), ...kids);
export const definitions = (pairs, kind = '') => h('dl', { class: kind }, pairs.filter(Boolean).map(([term, value]) => [h('dt', null, term), h('dd', null, value ?? muted('–'))]));

/** A small table of data; the first column is the head of its row. */
export function table(label, columns, rows, numeric = []) {
  const kind = (at) => (numeric.includes(at) ? 'number' : null);
  return h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': label }, h('table', { class: 'plain' },
    h('thead', null, h('tr', null, columns.map((one, at) => h('th', { scope: 'col', class: kind(at) }, one)))),
    h('tbody', null, rows.map((row) => h('tr', { key: row.key }, row.cells.map((cell, at) => h(at ? 'td' : 'th', { scope: at ? null : 'row', class: kind(at) }, cell)))))));
}

/** The state of a polled answer: what is shown until there is one, or when it is old. */
export function waiting(answer, what = 'Asking the daemon …') {
  const error = answer?.error;
  if (!error) return h('p', { class: 'muted' }, what);
  return h('p', { class: 'notice warn', role: 'status' }, error.status === 403 ? 'You have no right to see this: ' : '', error.message);
}
export const old = (answer) => answer?.error && answer.value && h('p', { class: 'notice warn', role: 'status' }, h('b', null, 'Not current. '), answer.error.message, ' What you see is from ', since(answer.at), '.');

/** A filter field; "/" moves the focus there. */
export function search(value, onvalue, placeholder, label) {
  return h('label', { class: 'search' }, hidden(label),
    h('input', { id: 'filter', type: 'search', value, oninput: (event) => { onvalue(event.target.value); redraw(true); }, placeholder, autocomplete: 'off', spellcheck: 'false' }),
    h('kbd', { 'aria-hidden': 'true' }, '/'));
}

export function select(label, value, options, onvalue) {
  return h('label', { class: 'sort' }, label, ' ', h('select', { value, onchange: (event) => { onvalue(event.target.value); redraw(true); }, updated: (dom) => { dom.value = value; } },
    options.map((one) => h('option', { value: one }, one))));
}

/** Tabs are links: each part of a view has an address. */
export const tabs = (label, current, parts) => h('nav', { class: 'tabs', 'aria-label': label }, parts.map(([to, text, n]) =>
  h('a', { href: `#/${to}`, 'aria-current': to === current ? 'page' : null }, text, n != null && h('span', { class: 'n' }, number(n)))));

export const shown = (n, all, word) => h('p', { class: 'hidden', role: 'status' }, n === all ? count(n, word) : `${number(n)} of ${count(all, word)}`);
