/** The keys. They come before OHIF's own, and never out of a field that is typed into. */
import { say } from './texts.js';

/** Key, what it does (a text), work. */
const KEYS = [
  ['Control+Enter', 'keySubmit', work => work.submit()],
  ['n', 'keyNext', work => work.next()],
  ['u', 'keyTakeBack', work => work.takeBack()],
  ['p', 'keyPredict', work => work.predict()],
  ['1 … 7', 'keyClasses', null],
  ['0', 'keyNoClass', work => work.diagnose(null)],
  ['b', 'keyBrush', work => work.useTool('CircularBrush')],
  ['e', 'keyEraser', work => work.useTool('CircularEraser')],
  ['v', 'keyMove', work => work.useTool('Pan')],
  ['[', 'keySmaller', work => work.scaleBrush(0.8)],
  [']', 'keyLarger', work => work.scaleBrush(1.25)],
  ['Control+z', 'keyUndo', work => work.undo()],
  ['Control+y', 'keyRedo', work => work.redo()],
  ['o', 'keyOutline', work => work.toggleOutline()],
  ['+', 'keyAddLesion', work => work.addLesion()],
  ['l', 'keyNextLesion', work => work.nextLesion()],
  ['?', 'keyHelp', (work, panel) => panel.toggleHelp()],
];
const SYNONYMS = { 'Control+Z': 'Control+y', ',': '[', '.': ']', 'Control+Shift+z': 'Control+y' };

export const keyTable = () => KEYS.map(([key, name]) => [key.replace('Control', say('control')), say(name)]);

export function listenToKeys(work, panel) {
  const handle = event => {
    if (event.altKey || event.repeat || event.isComposing) return;
    if (event.target.matches?.('input:not([type=range], [type=checkbox]), textarea, select')) return;
    const control = event.ctrlKey || event.metaKey;
    let key = (control ? 'Control+' : '') + event.key;
    key = SYNONYMS[key] ?? key;
    if (panel.helpIsOpen) {
      if (key !== '?' && key !== 'Escape') return; // nothing happens unseen behind it
      key = '?';
    }
    const chosen = /^[1-7]$/.test(key) && work.settings.classes[Number(key) - 1];
    const entry = KEYS.find(([name]) => name === key);
    if (!chosen && !entry) {
      // OHIF's own keys invert, turn and mirror what is shown, without a word; its dialogs keep theirs.
      if (!control && !event.target.closest?.('[role=dialog], [role=menu]')) event.stopImmediatePropagation();
      return;
    }
    event.preventDefault();
    event.stopImmediatePropagation();
    if (chosen) work.diagnose(chosen.name);
    else entry[2](work, panel);
  };
  document.addEventListener('keydown', handle, true);
  return () => document.removeEventListener('keydown', handle, true);
}
