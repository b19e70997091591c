// The daemon itself: what is full, what is configured and why, and whether its parts are ready.

import { h } from './view.js';
import { api } from './api.js';
import { store } from './store.js';
import { card, definitions, hidden, meter, mono, muted, old, search, select, shown, since, status, tabs, title, waiting } from './parts.js';
import { cell, grid } from './list.js';
import { bytes, number, span } from './words.js';

const state = { query: '', only: 'all keys' };
const PARTS = ['overview', 'configuration'];
const value = (n, unit) => (unit === 'bytes' ? bytes(n) : number(n));

function limit(one) {
  const share = one.max ? one.used / one.max : 0;
  const kind = share >= 0.95 ? 'unhealthy' : share >= 0.75 ? 'starting' : 'healthy';
  // The log is a ring: full is how it is meant to be.
  const ring = one.when_full.includes('forgotten');
  return h('li', { key: one.key },
    h('div', { class: 'line' }, h('b', null, one.name), h('span', { class: 'tabular' }, value(one.used, one.unit), muted(` of ${value(one.max, one.unit)}`))),
    meter(share, ring ? 'unknown' : kind, 'full'), hidden(`${Math.round(share * 100)} % used`),
    h('p', { class: 'muted' }, mono(one.key), `: when full, ${one.when_full}`));
}

function overview({ limits, ready, info, config }) {
  const about = info?.value;
  const level = config?.value?.settings.find((one) => one.key === 'log.level');
  return h('div', { class: 'cards two' },
    card('Limits', old(limits), limits?.value ? h('ul', { class: 'limits' }, limits.value.limits.map(limit)) : waiting(limits)),
    h('div', { class: 'column' },
      card('Daemon', about ? definitions([
        ['Version', about.version], ['Running', span(about.uptime_seconds * 1000)], ['Address', location.host], ['Epoch', mono(about.epoch)], ['Revision', number(about.revision)],
        level && ['Log level', [mono(level.value.replaceAll('"', '')), muted(` ${level.source}`)]],
        ['Dashboard', store.readOnly ? 'read only (http.dashboard)' : 'offers changes'],
      ]) : waiting(info), h('p', { class: 'muted' }, 'Change the log level at run time: edit the configuration file and send SIGHUP.')),
      card('Readiness', ready?.value ? h('ul', { class: 'parts' }, ready.value.checks.map((part) => h('li', { key: part.name }, status(part.ok ? 'healthy' : 'unhealthy', part.name), h('span', { class: 'muted' }, part.detail)))) : waiting(ready))));
}

function row(one) {
  const given = one.source !== 'default';
  return [
    cell('mono key', h('span', { title: one.key }, one.key)),
    cell(given ? 'mono given' : 'mono', h('span', { title: one.value }, one.value)),
    cell('wide muted', one.source, given && one.default != null && one.default !== one.value && ` (default ${one.default})`),
    cell('wide muted', h('span', { title: one.about }, one.about)),
  ];
}
const HEAD = [['Key'], ['Value'], ['Source', 'wide'], ['What it is for', 'wide']];

function configuration({ config }) {
  if (!config?.value) return waiting(config);
  const all = config.value.settings;
  if (!all.length) return h('p', { class: 'muted' }, 'The program that embeds this daemon made its configuration.');
  const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
  const list = all.filter((one) => (state.only === 'all keys' || one.source !== 'default') && words.every((word) => `${one.key} ${one.value} ${one.about}`.toLowerCase().includes(word)));
  return [
    h('div', { class: 'filters' }, search(state.query, (typed) => { state.query = typed; }, 'Filter: key, value, purpose', 'Filter keys'), select('Show', state.only, ['all keys', 'changed from the default'], (chosen) => { state.only = chosen; })),
    shown(list.length, all.length, 'key'),
    list.length ? h('div', { class: 'table settings' }, grid({ id: 'settings', items: list, keyOf: (one) => one.key, row, head: HEAD, height: 36, label: 'Configuration in effect' })) : h('p', { class: 'muted' }, 'No key fits.'),
  ];
}

export const system = {
  polls: () => [['limits', '', api.limits, 3000], ['ready', '', api.ready, 5000], ['config', '', api.config, 30_000]],
  render({ path, answers }) {
    const part = PARTS.includes(path[1]) ? path[1] : 'overview';
    const at = answers.limits?.at;
    return h('section', { class: part === 'configuration' ? 'page fill' : 'page' },
      title('System', at ? since(at, 'as of ') : null),
      tabs('Parts of System', `system/${part}`, [['system/overview', 'Overview'], ['system/configuration', 'Configuration', answers.config?.value?.settings.length]]),
      part === 'overview' ? overview(answers) : configuration(answers));
  },
};
