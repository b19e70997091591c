// The page around the views: place, keys, colours, connection, polls.

import { h, redraw, show } from './view.js';
import { api, hasToken, login } from './api.js';
import { store, stream } from './store.js';
import { ask, dialogs, isOpen } from './dialogs.js';
import { button, go, icon } from './parts.js';
import { ago, clock, number, span } from './words.js';
import { loginView } from './login.js';
import { services } from './services.js';
import { service } from './service.js';
import { events } from './events.js';
import { watchers } from './watchers.js';
import { migration } from './migration.js';
import { broker } from './broker.js';
import { queue } from './queue.js';
import { gateway } from './gateway.js';
import { system } from './system.js';

const VIEWS = {
  services: { view: services, one: service, name: 'Services', key: 's', icon: 'M4 5h16v4H4zM4 10.5h16v4H4zM4 16h16v3.5H4z' },
  events: { view: events, name: 'Events', key: 'e', icon: 'M3 12h4l3-7 4 14 3-7h4' },
  watchers: { view: watchers, name: 'Watchers', key: 'w', icon: 'M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 9.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6' },
  migration: { view: migration, name: 'Migration', key: 'm', icon: 'M4 8h11l-3-3M20 16H9l3 3' },
  broker: { view: broker, one: queue, name: 'Broker', key: 'b', icon: 'M4 6c0-1.7 3.6-3 8-3s8 1.3 8 3-3.6 3-8 3-8-1.3-8-3ZM4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6M4 12c0 1.7 3.6 3 8 3s8-1.3 8-3' },
  gateway: { view: gateway, name: 'Gateway', key: 'r', icon: 'M4 12h6M10 12l6-6h4M10 12l6 6h4M10 12h10' },
  system: { view: system, name: 'System', key: 'y', icon: 'M4 7h10M18 7h2M4 17h2M10 17h10M14 4.5v5h4v-5zM6 14.5v5h4v-5z' },
};
const THEMES = ['auto', 'light', 'dark'];
const KEYS = {
  '/': 'filter', 'g then s e w m b r y': 'Services, Events, Watchers, Migration, Broker, Gateway routes, System',
  '↑ ↓ j k': 'move in a list', 'Home End PgUp PgDn': 'further', Enter: 'open', Esc: 'close', t: 'colours: automatic, light, dark', '?': 'these keys',
};

const state = { locked: false, who: null, theme: 'auto', info: null };

function path() {
  const parts = location.hash.replace(/^#\/?/, '').split('/').filter(Boolean).map((part) => { try { return decodeURIComponent(part); } catch { return part; } });
  return VIEWS[parts[0]] ? parts : ['services'];
}

function viewOf(parts) {
  const { view, one } = VIEWS[parts[0]];
  return one && parts[1] && (parts[0] !== 'broker' || parts[1] === 'queue') ? one : view;
}

// Polls of the shown view: what the stream does not carry.
const polled = new Map(); // name -> { key, timer, answer }

async function run(name, poll) {
  clearTimeout(poll.timer);
  if (!document.hidden && !state.locked) {
    try {
      poll.answer = { value: await poll.act(), error: null, at: Date.now() };
    } catch (error) {
      poll.answer = { value: poll.answer?.value ?? null, error, at: poll.answer?.at ?? 0 };
    }
    if (polled.get(name) !== poll) return;
    redraw();
  }
  poll.timer = setTimeout(run, poll.ms, name, poll);
}

function follow(wanted) {
  const names = new Set(['info']);
  for (const [name, key, act, ms] of [['info', '', api.info, 10_000], ...wanted]) {
    names.add(name);
    if (polled.get(name)?.key === key) continue;
    clearTimeout(polled.get(name)?.timer);
    const poll = { key, act, ms, timer: 0, answer: null };
    polled.set(name, poll);
    run(name, poll);
  }
  for (const [name, poll] of polled) {
    if (names.has(name)) continue;
    clearTimeout(poll.timer);
    polled.delete(name);
  }
}

/** Asks again now: after an action, so that its result is seen at once. */
export function refresh() {
  for (const [name, poll] of polled) run(name, poll);
}

function connection() {
  const { state: now } = store.connection;
  const word = { live: 'Live', connecting: 'Connecting', lost: 'Not live', paused: 'Paused', locked: 'Logged out' }[now];
  return h('span', { class: `connection ${now}` }, h('i', { 'aria-hidden': 'true' }), h('b', null, word), h('span', { class: 'muted tabular wide' }, store.revision > 0 && `rev ${number(store.revision)}`));
}

function banner() {
  const { state: now, reason, at, heard } = store.connection;
  if (now !== 'lost') return null;
  const wait = Math.max(0, Math.ceil((at - Date.now()) / 1000));
  return h('div', { class: 'banner', role: 'alert' }, h('span', null, h('b', null, 'Not live: '), `${reason}. `, heard > 0 && `You see the state of ${clock(heard)}, ${ago(heard)}. `), h('span', { class: 'attempt' }, wait ? `Next attempt in ${wait} s` : 'Connecting …'), button('Try now', () => stream.retry()));
}

function turn() {
  state.theme = THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length];
  try { localStorage.setItem('musterd.theme', state.theme); } catch { /* private windows keep nothing */ }
  paint();
  redraw(true);
}

function paint() {
  if (state.theme === 'auto') delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
}

function logout() {
  login(null);
  Object.assign(state, { locked: true, who: null });
  stream.close('locked');
}

function help() {
  ask({ title: 'Keys', body: () => h('dl', { class: 'keys' }, Object.entries(KEYS).map(([keys, what]) => [h('dt', null, keys.split(' ').map((one) => (one === 'then' ? ' then ' : [h('kbd', null, one), ' ']))), h('dd', null, what)])) });
}

const half = { auto: 'M12 4a8 8 0 0 1 0 16z', light: null, dark: 'M12 4a8 8 0 0 1 0 16 8 8 0 0 1 0-16' };

function page() {
  const parts = path();
  const view = viewOf(parts);
  if (!state.locked) follow(view.polls?.(parts) ?? []);
  const answers = Object.fromEntries([...polled].map(([name, poll]) => [name, poll.answer]));
  const info = answers.info?.value;
  const stale = store.connection.state === 'lost' || store.connection.state === 'paused';
  document.title = `${parts.at(-1) === parts[0] ? VIEWS[parts[0]].name : parts.at(-1)} · musterd`;
  return [
    h('a', { key: 'skip', class: 'skip', href: '#main', onclick: (event) => { event.preventDefault(); document.getElementById('main').focus(); } }, 'Skip to the content'),
    h('header', { key: 'top', class: 'top' }, h('a', { class: 'brand', href: '#/services' }, h('img', { src: 'ui/mark.svg', alt: '', width: 24, height: 24 }), 'musterd'),
      h('span', { class: 'muted wide where' }, location.host, info && ` · version ${info.version} · up ${span((info.uptime_seconds ?? 0) * 1000)}`, store.readOnly && ' · read only'), h('span', { class: 'grow' }), connection(),
      state.who?.name && [h('span', { class: 'wide muted' }, state.who.name), button('Log out', logout)],
      h('button', { type: 'button', class: 'quiet', onclick: turn, title: `Colours: ${state.theme}`, 'aria-label': `Colours: ${state.theme}` }, h('svg', { class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, h('circle', { cx: 12, cy: 12, r: 8 }), half[state.theme] && h('path', { class: 'solid', d: half[state.theme] }))),
      button('?', help, 'quiet wide', { 'aria-label': 'Keys' })),
    h('nav', { key: 'side', class: 'side', 'aria-label': 'Views' },
      Object.entries(VIEWS).map(([id, one]) => h('a', { href: `#/${id}`, 'aria-current': id === parts[0] ? 'page' : null }, icon(one.icon), h('span', null, one.name),
        id === 'services' && store.totals.unhealthy > 0 && h('span', { class: 'badge' }, number(store.totals.unhealthy), h('span', { class: 'hidden' }, ' unhealthy instances')))),
      h('span', { class: 'grow' }), h('a', { class: 'wide foot', href: 'docs' }, h('span', null, 'API')), h('a', { class: 'wide foot', href: 'metrics' }, h('span', null, 'Metrics'))),
    h('div', { key: 'body', class: 'body' }, banner(),
      h('main', { id: 'main', key: parts.slice(0, 2).join('/'), tabindex: -1, class: stale ? 'stale' : '' }, state.locked ? loginView(entered) : view.render({ path: parts, answers }))),
    dialogs(),
  ];
}

function entered(who) {
  Object.assign(state, { locked: false, who });
  stream.retry();
  refresh();
}

let before = '';
function moved() {
  const parts = path();
  const to = parts.slice(0, 2).join('/');
  if (to !== before && before.startsWith('services/')) service.leave();
  if (to !== before) scrollTo(0, 0);
  before = to;
  redraw(true);
}

let typed = 0;
function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || isOpen()) return;
  if (event.target.matches('input,select,textarea')) {
    if (event.key === 'Escape' && event.target.id === 'filter') event.target.blur();
    return;
  }
  const to = Date.now() - typed < 1000 && Object.keys(VIEWS).find((id) => VIEWS[id].key === event.key);
  typed = 0;
  if (to) go(to);
  else if (event.key === 'g') typed = Date.now();
  else if (event.key === '/') {
    event.preventDefault();
    document.getElementById('filter')?.focus();
  } else if (event.key === '?') help();
  else if (event.key === 't') turn();
}

async function start() {
  try { state.theme = THEMES.includes(localStorage.getItem('musterd.theme')) ? localStorage.getItem('musterd.theme') : 'auto'; } catch { /* private windows keep nothing */ }
  paint();
  login(null, () => { if (!state.locked) logout(); redraw(true); });
  addEventListener('hashchange', moved);
  addEventListener('keydown', key);
  // Ages and countdowns.
  setInterval(() => document.hidden || redraw(), 1000);
  moved();
  show(document.getElementById('app'), page);
  try { state.who = await api.whoami(); } catch (error) { if (error.status === 401) return; }
  if (!state.locked || hasToken()) stream.open();
}

start();
