/** Light or dark: as the system says, or as was chosen in this browser. */
import { preferences } from './drafts.js';

export const THEMES = ['system', 'light', 'dark'];
const light = window.matchMedia('(prefers-color-scheme: light)');

/** What was chosen. */
export function chosenTheme() {
  const chosen = preferences.get('theme', 'system');
  return THEMES.includes(chosen) ? chosen : 'system';
}

/** What is shown: light or dark. */
export function theme() {
  const chosen = chosenTheme();
  if (chosen !== 'system') return chosen;
  return light.matches ? 'light' : 'dark';
}

export function chooseTheme(chosen) {
  preferences.set('theme', chosen);
}

/** Call back when the system changes from one to the other; returns what ends that. */
export function onThemeChange(handler) {
  light.addEventListener('change', handler);
  return () => light.removeEventListener('change', handler);
}
