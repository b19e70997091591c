// Dialogs: the browser's own, which keep the focus and close with Escape. One at a time.

import { h, redraw } from './view.js';
import { button } from './parts.js';

let current = null;

/**
 * Opens a dialog: `{ title, body(state, fault), verb, danger, act(fields, state) }`. Without a verb it only closes. What
 * `act` gives is shown in place of the form; nothing closes the dialog. Then `after` of the state is called.
 */
export function ask(dialog) {
  current = { busy: false, error: null, errors: [], done: null, back: document.activeElement, ...dialog };
  redraw(true);
}

export const isOpen = () => current !== null;

function close() {
  const { back, after } = current;
  current = null;
  redraw(true);
  if (after) after();
  else if (back?.isConnected) back.focus({ preventScroll: true });
}

async function submit(event) {
  event.preventDefault();
  const dialog = current;
  if (!dialog.verb || dialog.done) return close();
  if (dialog.busy) return;
  Object.assign(dialog, { busy: true, error: null, errors: [] });
  redraw(true);
  try {
    const said = await dialog.act(Object.fromEntries(new FormData(event.target)), dialog);
    if (dialog !== current) return;
    dialog.busy = false;
    // What happened is said where it was asked for.
    if (said) dialog.done = said;
    else return close();
  } catch (error) {
    Object.assign(dialog, { busy: false, error: error.message, errors: error.errors ?? [] });
  }
  redraw(true);
}

/** The open dialog, if there is one. */
export function dialogs() {
  const dialog = current;
  if (!dialog) return null;
  const { title, body, verb, danger, busy, error, done, wide } = dialog;
  const known = new Set();
  const content = done ?? body(dialog, (name) => {
    known.add(name);
    return dialog.errors.find((one) => one.field === name)?.message;
  });
  const others = dialog.errors.filter((one) => !known.has(one.field));
  return h('dialog', { key: 'dialog', class: wide ? 'wide-dialog' : '', 'aria-labelledby': 'dialog-title', onclose: () => current === dialog && close(), mounted: (dom) => dom.showModal() },
    h('form', { onsubmit: submit, novalidate: dialog.novalidate ?? null },
      h('h2', { id: 'dialog-title' }, title),
      h('div', { class: 'prose' }, content),
      h('div', { role: 'alert', class: 'error' }, error && !dialog.errors.length && error, others.map((one) => h('p', null, h('b', null, one.field), ' ', one.message))),
      h('div', { class: 'actions end' },
        !done && verb && button('Cancel', close),
        h('button', { class: danger && !done ? 'danger' : 'primary', disabled: busy }, done || !verb ? 'Close' : busy ? 'Working …' : verb))));
}

/** A field of a dialog's form, with what the daemon says is wrong with it. */
export function field(label, name, fault, props = {}, about = null) {
  const { options, rows, ...more } = props;
  const id = `field-${name}`;
  const all = { id, name, 'aria-invalid': fault ? 'true' : null, 'aria-describedby': fault || about ? `${id}-about` : null, autocomplete: 'off', spellcheck: 'false', ...more };
  const input = options ? h('select', all, options.map(([value, text]) => h('option', { value }, text ?? value))) : rows ? h('textarea', { ...all, rows }) : h('input', all);
  return h('div', { class: 'field' }, h('label', { for: id }, label), input,
    (fault || about) && h('p', { id: `${id}-about`, class: fault ? 'error' : 'muted about' }, fault ?? about));
}

/** Asks for the reason that the daemon keeps. */
export const reason = (example) => field('Reason', 'reason', null, { required: true, maxlength: 200, placeholder: example });
