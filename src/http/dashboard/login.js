// Asks for a token when the daemon requires one. It is kept in the memory of this page only.

import { h, redraw } from './view.js';
import { api, login } from './api.js';
import { card } from './parts.js';

const state = { busy: false, error: null };

export function loginView(onlogin) {
  const submit = async (event) => {
    event.preventDefault();
    const token = new FormData(event.target).get('token').trim();
    Object.assign(state, { busy: true, error: null });
    redraw(true);
    login(token);
    try {
      const who = await api.whoami();
      Object.assign(state, { busy: false });
      onlogin(who);
    } catch (error) {
      login(null);
      Object.assign(state, { busy: false, error: error.status === 401 ? 'The daemon does not know this token, or it has expired.' : error.message });
    }
    redraw(true);
  };
  return h('section', { class: 'page login' }, card(null,
    h('h1', null, 'Log in'),
    h('p', { class: 'muted' }, 'This daemon requires a token. It is kept in the memory of this page: after a reload you log in again.'),
    h('form', { onsubmit: submit },
      // For password managers, which need a name.
      h('input', { class: 'hidden', type: 'text', name: 'username', autocomplete: 'username', value: 'musterd', tabindex: -1, 'aria-hidden': 'true', readonly: true }),
      h('div', { class: 'field' }, h('label', { for: 'token' }, 'Token'),
        h('input', { id: 'token', name: 'token', type: 'password', autocomplete: 'current-password', required: true, 'aria-describedby': 'token-error', mounted: (dom) => dom.focus() })),
      h('p', { id: 'token-error', role: 'alert', class: 'error' }, state.error),
      h('div', { class: 'actions end' }, h('button', { class: 'primary', disabled: state.busy }, state.busy ? 'Asking …' : 'Log in'))),
    h('p', { class: 'muted' }, 'The first start of a daemon with a store writes an admin token to ', h('code', null, 'admin-token'), ' in the store’s folder; ', h('code', null, 'musterd token create'), ' makes more.')));
}
