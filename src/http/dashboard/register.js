// Registers an instance by hand: a form, and the same request to copy.

import { h, redraw } from './view.js';
import { api } from './api.js';
import { ask, field } from './dialogs.js';
import { command, go, place } from './parts.js';

const CHECKS = [['', 'none'], ['http', 'HTTP'], ['tcp', 'TCP'], ['grpc', 'gRPC'], ['ttl', 'TTL (heartbeats)']];

/** What the form says, as the API takes it; empty fields are left out. */
function draft(fields) {
  const text = (name) => fields[name]?.trim() || undefined;
  const words = (name) => text(name)?.split(/[\s,]+/).filter(Boolean);
  const pairs = words('metadata')?.map((pair) => pair.split(/=(.*)/s).slice(0, 2));
  const check = fields.check && { type: fields.check, ...(fields.check === 'http' ? { path: text('path') ?? '/' } : {}) };
  const port = text('port');
  return {
    service_id: text('service_id'), service_name: text('service_name'), host: text('host'), port: port && /^\d+$/.test(port) ? Number(port) : port,
    version: text('version'), zone: text('zone'), ttl: text('ttl'), tags: words('tags'), metadata: pairs && Object.fromEntries(pairs), checks: check ? [check] : undefined,
  };
}

export function register(name = '') {
  ask({
    title: 'Register an instance',
    verb: 'Register',
    wide: true,
    novalidate: true,
    sent: null,
    body: (dialog, fault) => {
      const input = (event) => { dialog.sent = draft(Object.fromEntries(new FormData(event.currentTarget.closest('form')))); redraw(); };
      const one = (label, key, props, about) => field(label, key, fault(key), { oninput: input, ...props }, about);
      return [
        h('div', { class: 'fields' },
          one('Service', 'service_name', { initial: name, required: true }),
          one('Instance id', 'service_id', { required: true }, 'Unique in the registry.'),
          one('Host', 'host', { initial: '127.0.0.1', required: true }),
          one('Port', 'port', { inputmode: 'numeric', required: true }),
          one('Version', 'version', { placeholder: '1.0.0' }),
          one('Zone', 'zone', {}),
          one('Lease (ttl)', 'ttl', { placeholder: '5m' }, 'It is removed without a heartbeat or passing check for this long.'),
          one('Tags', 'tags', { placeholder: 'edge blue' }),
          one('Check', 'check', { options: CHECKS, onchange: input }),
          dialog.sent?.checks?.[0]?.type === 'http' && one('Path of the check', 'path', { placeholder: '/health' }),
          one('Metadata', 'metadata', { placeholder: 'team=core' }, 'name=value, separated by spaces.')),
        h('details', null, h('summary', null, 'The same with curl'), command(`curl ${location.origin}/services/register -d '${JSON.stringify(dialog.sent ?? draft({ service_name: name, host: '127.0.0.1' })).replaceAll("'", "'\\''")}'`)),
      ];
    },
    act: async (fields, dialog) => {
      const sent = draft(fields);
      const { warnings } = await api.register(sent);
      dialog.after = () => go(place('services', sent.service_name, sent.service_id));
      return warnings && [h('p', null, `${sent.service_id} is registered.`), h('ul', null, warnings.map((one) => h('li', null, one)))];
    },
  });
}
