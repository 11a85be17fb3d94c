/**
 * DermCheck in OHIF: one ES module, loaded at run time, that is extension and mode. No build step.
 *
 * OHIF imports it by the address that its configuration names under `extensions` and `modes`. It brings a
 * handler for photographs, a panel, and the keys; everything that reaches into OHIF is in ohif.js.
 */
import { ID, Viewer, addMetaData, makeMode, outliveFailedLoads, photographHandler } from './ohif.js';
import { listenToKeys } from './keys.js';
import { Panel } from './panel.js';
import { Workplace } from './workplace.js';

window.modes.length = 0; // the stock modes, made for CT and MR, would offer their own buttons for photographs

/** What is on the page now; null outside of our mode. */
let open = null;

function enter(managers) {
  const viewer = new Viewer(managers);
  const workplace = new Workplace(viewer);
  const panel = new Panel(workplace);
  const stops = [listenToKeys(workplace, panel), viewer.onPhotograph(photograph => workplace.show(photograph))];
  open = { viewer, workplace, panel, stops };
  window.dermcheck = open; // for browser tests, and for whoever looks for a fault in the console
  workplace.start();
}

function leave() {
  open.stops.forEach(stop => stop());
  open.workplace.stop();
  open.panel.stop();
  open.viewer.stop();
  open = null;
}

const extension = {
  id: ID,
  preRegistration: () => {
    addMetaData();
    outliveFailedLoads();
  },
  getSopClassHandlerModule: photographHandler,
  // A run-time module cannot import React: one hand-made element, whose ref fills it with our own DOM.
  getPanelModule: () => [{
    name: 'panel',
    iconName: 'tab-patient-info',
    iconLabel: 'DermCheck',
    label: 'DermCheck',
    component: () => ({
      $$typeof: Symbol.for('react.element'),
      type: 'div',
      key: null,
      _owner: null,
      props: { style: { height: '100%' } },
      ref: element => element && open?.panel.attach(element),
    }),
  }],
};

export default { ...extension, modeFactory: context => makeMode(context, enter, leave) };
