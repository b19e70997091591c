// The migration from direct calls to the broker: its phases, what it waits for, and how close each rule of the guard is.

import { h } from './view.js';
import { api } from './api.js';
import { store } from './store.js';
import { refresh } from './app.js';
import { button, card, command, meter, muted, old, pill, since, status, table, title, waiting } from './parts.js';
import { ask, field } from './dialogs.js';
import { gauge, lines } from './charts.js';
import { clock, count, date, duration, millisecondsOf, number, plain, span } from './words.js';

const CHANNELS = ['health', 'events', 'discovery'];
const MODES = ['direct', 'dual', 'queue'];
const RULES = {
  broker_away: ['Broker does not answer', null], register_latency: ['Register, p95', 'register'], discover_latency: ['Discover, p95', 'discover'],
  delivery_latency: ['Delivery, p95', 'delivery'], discovery_failures: ['Failed discoveries', null], canary_failures: ['Failed canary runs', null],
};
const STATES = {
  idle: ['Idle', 'No migration runs.'], running: ['Running', ''], paused: ['Paused', 'It stays in this phase until you resume it.'],
  rolling_back: ['Rolling back', 'Every channel goes back to direct.'], rolled_back: ['Rolled back', 'Every channel is direct again.'], completed: ['Completed', 'Every channel uses the broker.'],
};
const SAMPLES = 120;
const samples = new Map(); // rule -> its last values, one a second

async function report() {
  const answer = await api.migration();
  for (const rule of answer.guard.rules) {
    if (!samples.has(rule.name)) samples.set(rule.name, []);
    const kept = samples.get(rule.name);
    kept.push(rule.value);
    if (kept.length > SAMPLES) kept.shift();
  }
  return answer;
}

const act = (action, more) => async () => { await api.migrate({ action, ...more }); refresh(); };
const DIALOGS = {
  start: (m) => ({
    title: 'Start the migration?', verb: 'Start',
    body: (_, fault) => [h('p', null, 'Phases: ', m.phases.filter((one) => one.state !== 'skipped').map((one) => one.name).join(' → '), '.'), h('p', null, 'The daemon measures latencies first. A broken rule of the guard rolls everything back to direct.'),
      field('Who ends a phase', 'mode', fault('mode'), { options: [['auto', 'the daemon, once both ways agree (auto)'], ['step', 'you, phase by phase (step)']] }),
      field('Each phase lasts at least', 'soak', fault('soak'), { initial: m.phases.at(-1).soak, required: true })],
    act: ({ mode, soak }) => act('start', { mode, soak })(),
  }),
  advance: () => ({ title: 'Advance to the next phase?', verb: 'Advance', body: () => h('p', null, 'The rest of the soak is skipped. The daemon refuses if both ways do not agree.'), act: act('advance') }),
  pause: () => ({ title: 'Pause the migration?', verb: 'Pause', body: () => h('p', null, 'It stays in this phase with its present modes. The guard still rolls back.'), act: act('pause') }),
  rollback: () => ({
    title: 'Roll back to direct?', verb: 'Roll back', danger: true,
    body: () => h('p', null, 'Every channel becomes direct at once. Consumers are drained and the connection to the broker is closed. No event is lost: each subscriber continues at its cursor.'), act: act('rollback'),
  }),
  mode: (channel, now) => ({
    title: `Change the mode of ${channel}?`, verb: 'Change',
    body: (_, fault) => [h('p', null, `${channel} is ${now}. A manual change pauses a migration and cancels a pending return.`), field('Mode', 'mode', fault('mode'), { options: MODES.map((mode) => [mode]), initial: now })],
    act: async ({ mode }) => { await api.setMode(channel, mode); refresh(); },
  }),
};
const open = (what, ...more) => () => ask(DIALOGS[what](...more));

function step(one, share) {
  return h('svg', { class: 'step', viewBox: '0 0 28 28', 'aria-hidden': 'true' }, h('circle', { class: 'ring', cx: 14, cy: 14, r: 11 }),
    share != null && h('circle', { class: 'progress', cx: 14, cy: 14, r: 11, pathLength: 100, 'stroke-dasharray': `${(share * 100).toFixed(1)} 100` }),
    one.state === 'done' && h('path', { class: 'tick', d: 'm9 14.5 3.5 3.5L19 10.5' }), one.state === 'current' && h('circle', { class: 'core', cx: 14, cy: 14, r: 5 }), one.state === 'skipped' && h('path', { class: 'tick', d: 'M9 14h10' }));
}

function timeline(m) {
  const left = m.soak_left_ms;
  const said = (one, at) => {
    if (one.state === 'current') return left > 0 ? `${span(left)} left` : 'soak is over';
    const next = m.phases.slice(at + 1).find((each) => each.entered)?.entered;
    if (one.entered && next) return `took ${span(Date.parse(next) - Date.parse(one.entered))}`;
    return one.state === 'next' ? (duration(one.soak) ? `at least ${one.soak}` : '') : one.state;
  };
  return h('div', { class: 'timeline', role: 'group', 'aria-label': 'Phases' },
    h('ol', { class: 'phases' }, m.phases.map((one, at) => h('li', { key: one.name, class: one.state, 'aria-current': one.state === 'current' ? 'step' : null },
      step(one, one.state === 'current' && left != null ? 1 - left / Math.max(1, duration(one.soak)) : null), h('b', null, one.name), h('span', { class: 'muted' }, said(one, at))))),
    h('table', { class: 'lanes' }, h('caption', { class: 'hidden' }, 'Mode of each channel in each phase'), h('colgroup', null, h('col', { class: 'label' }), m.phases.map(() => h('col'))),
      h('thead', { class: 'hidden' }, h('tr', null, h('th', { scope: 'col' }, 'Channel'), m.phases.map((one) => h('th', { scope: 'col' }, one.name)))),
      h('tbody', null, CHANNELS.map((channel) => h('tr', null, h('th', { scope: 'row' }, channel), m.phases.map((one, at) => {
        const mode = one.channels[channel];
        const first = at === 0 || m.phases[at - 1].channels[channel] !== mode;
        return h('td', { class: `${mode} ${one.state}` }, h('span', { class: first ? 'mode' : 'hidden' }, mode));
      }))))));
}

function show(value, unit) {
  if (value == null) return '–';
  if (unit === 'share') return `${(value * 100).toFixed(1)} %`;
  return `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ${unit}`;
}

function rule(one, baseline) {
  const [label, base] = RULES[one.name] ?? [one.name, null];
  const p95 = baseline.find((each) => each.name === base)?.p95_ms;
  const share = one.value != null && one.threshold ? one.value / one.threshold : 0;
  const kind = one.state !== 'armed' || one.threshold == null ? 'off' : share > 1 ? 'bad' : share > 0.75 ? 'near' : 'ok';
  const said = one.state === 'off' ? 'not armed' : one.state === 'no data' || one.threshold == null ? 'too little data' : one.broken ? `broken in ${one.broken} of ${one.windows} windows` : `at ${Math.round(share * 100)} % of the threshold`;
  return h('div', { class: `rule ${kind}`, key: one.name },
    h('div', { class: 'line' }, h('b', null, label), muted(said, p95 != null && `, baseline ${show(p95, 'ms')}`), h('span', { class: 'tabular' }, h('b', null, show(one.value, one.unit)), one.threshold != null && muted(` of ${show(one.threshold, one.unit)}`))),
    one.threshold != null && gauge({ value: one.value, threshold: one.threshold, baseline: p95, state: kind, label: `${label}: ${show(one.value, one.unit)} of ${show(one.threshold, one.unit)}` }),
    base && one.threshold != null && (samples.get(one.name) ?? []).length > 1 && lines({ series: [{ class: 'a', values: samples.get(one.name) }], limit: one.threshold, base: p95, height: 34, label: `${label} over the last two minutes; dashed: threshold` }));
}

function channels(t) {
  const differ = (one) => one.missing + one.late + one.different;
  return [
    table('Channels', ['Channel', 'Mode', 'Sent', 'Behind', 'Differ', ''], CHANNELS.map((name) => {
      const one = t.channels[name];
      return { key: name, cells: [name, h('span', { class: `modeword ${one.mode}` }, one.mode), number(one.sent), one.mode === 'direct' || one.lag == null ? '–' : number(one.lag), [h('span', { class: differ(one) ? 'unhealthy' : '' }, number(differ(one))), one.compared > 0 && muted(` of ${number(one.compared)}`)],
        !store.readOnly && button('Set', open('mode', name, one.mode), 'small', { 'aria-label': `Set mode of ${name}` })] };
    }), [2, 3, 4]),
    CHANNELS.filter((name) => differ(t.channels[name])).map((name) => h('p', { class: 'unhealthy' }, `${name}: `, ['missing', 'late', 'different'].filter((kind) => t.channels[name][kind]).map((kind) => `${number(t.channels[name][kind])} ${kind}`).join(', '))),
    h('p', { class: 'facts' }, status(t.broker.state === 'up' ? 'healthy' : t.broker.state === 'away' ? 'unhealthy' : 'unknown', `broker ${t.broker.state}`), muted(`${t.broker.kind}, ${t.broker.url} `, since(t.broker.since, 'since '))),
    t.broker.error && h('p', { class: 'unhealthy' }, t.broker.error),
  ];
}

function canary(c) {
  if (!c.active && !c.runs) return h('p', { class: 'muted' }, 'Not running. While a migration runs, it registers, probes, discovers and deregisters an instance every few seconds.');
  const top = Math.max(...c.steps.map((one) => one.took_ms), 1);
  return [
    h('p', { class: 'facts' }, h('span', { class: c.failures ? 'starting' : 'healthy' }, `${number(c.runs - c.failures)} of ${count(c.runs, 'run')} passed`), muted(since(c.at, 'last '))),
    h('ol', { class: 'steps' }, c.steps.map((one) => h('li', { class: one.error ? 'unhealthy' : '' }, h('span', null, one.name), meter(Math.max(0.01, one.took_ms / top), one.error ? 'unhealthy' : 'healthy', 'full'), h('span', { class: 'tabular' }, one.error ?? millisecondsOf(one.took_ms))))),
  ];
}

function rollback(r, back) {
  const yes = (value, good, bad) => (value == null ? '…' : value ? good : bad);
  return h('section', { class: `card rollback ${r.stage === 'verified' ? '' : 'open'}` }, h('h2', null, 'Last rollback ', muted(r.rule === 'by hand' ? 'by hand, ' : `by the rule ${plain(r.rule)}, `, since(r.began))),
    h('p', null, r.reason),
    h('ul', { class: 'checks' },
      h('li', null, 'modes direct ', r.flipped_ms != null ? ['after ', h('b', null, millisecondsOf(r.flipped_ms))] : '…'),
      h('li', null, 'consumers drained: ', h('b', null, yes(r.drained, `yes, ${millisecondsOf(r.drain_ms)}`, 'no'))),
      h('li', null, 'canary over direct: ', h('b', null, yes(r.canary_passed, 'passed', 'failed'))),
      r.latencies.map((one) => h('li', null, `${one.name} p95 `, h('b', null, millisecondsOf(one.p95_ms)), ` of ${millisecondsOf(one.max_ms)}`))),
    r.notes.map((note) => h('p', { class: 'muted' }, note)),
    back && h('p', { class: 'muted' }, back.by_itself ? 'It returns to the broker automatically' : 'It returns to the broker when you start it', `, not before ${date(back.not_before)} (${back.returns} of ${back.returns_max})`, back.error && `: ${back.error}`));
}

const kind = (event) => (/roll|guard|fail|broken/.test(event) ? 'bad' : /complet|finish/.test(event) ? 'good' : '');

function history(m) {
  if (!m.history.length) return [h('p', { class: 'muted' }, 'Nothing has happened yet. What a start would do is shown above. In words:'), command('musterd migrate plan')];
  return h('ol', { class: 'history', tabindex: 0, 'aria-label': 'History, newest first' }, m.history.toReversed().slice(0, 50).map((one) => h('li', { key: `${one.at} ${one.event} ${one.phase}`, class: kind(one.event) },
    h('time', { class: 'tabular', title: date(one.at) }, clock(one.at)), h('div', null, h('b', null, plain(one.event)), one.phase && muted(` in ${one.phase}`), h('br'), h('span', null, one.text)))));
}

export const migration = {
  polls: () => [['migration', '', report, 1000], ['transport', '', api.transport, 2000]],
  render({ answers }) {
    const m = answers.migration?.value;
    if (!m) return h('section', { class: 'page' }, title('Migration'), waiting(answers.migration));
    const [name, words] = STATES[m.state] ?? [m.state, ''];
    const runs = m.state === 'running' || m.state === 'paused';
    const actions = [
      !runs && m.state !== 'rolling_back' && m.state !== 'completed' && button('Start …', open('start', m), 'primary', { key: 'start' }),
      m.state === 'paused' && button('Resume', act('resume'), 'primary', { key: 'resume' }),
      runs && button('Advance', open('advance'), '', { key: 'advance' }),
      m.state === 'running' && button('Pause', open('pause'), '', { key: 'pause' }),
      m.state !== 'rolling_back' && (runs || CHANNELS.some((one) => m.channels[one] !== 'direct')) && button('Roll back', open('rollback'), 'danger-quiet', { key: 'rollback' }),
    ];
    return h('section', { class: 'page' },
      title('Migration', [pill(`${name}${runs && m.phase ? `: ${m.phase}` : ''}`, m.state), ' ', words], actions),
      old(answers.migration), timeline(m),
      m.waits_for.length > 0 && h('div', { class: 'notice', role: 'status' }, h('b', null, m.state === 'paused' ? 'Paused: ' : 'Waits for: '), m.waits_for.join('; ')),
      m.rollback && (runs ? h('details', null, h('summary', null, 'Last rollback'), rollback(m.rollback, m.return)) : rollback(m.rollback, m.return)),
      h('div', { class: 'cards' },
        h('section', { class: 'card guard' }, h('h2', null, 'Guard ', muted('rolls back when a rule is broken in several windows in a row')),
          m.guard.rules.map((one) => rule(one, m.baseline)),
          h('p', { class: 'muted key' }, h('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, h('rect', { class: 'base', x: 4, width: 2, height: 10 })), ' baseline ', h('svg', { viewBox: '0 0 10 10', 'aria-hidden': 'true' }, h('rect', { class: 'limit', x: 4, width: 2, height: 10 })), ` threshold · migration.guard is ${m.guard.setting}`)),
        h('div', { class: 'column' }, card('Channels', old(answers.transport), answers.transport?.value ? channels(answers.transport.value) : waiting(answers.transport)), card('Canary', canary(m.canary))),
        card('History', history(m))));
  },
};
