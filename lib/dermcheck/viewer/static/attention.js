/**
 * Counts the seconds that somebody looks at a photograph: while the page is in front and, at least once a minute, a
 * key is pressed or the pointer is moved. A photograph left open over lunch has not been looked at for an hour.
 */
const MOST_IDLE_MS = 60000;
const SIGNS = ['pointermove', 'pointerdown', 'keydown', 'wheel'];

export class Attention {
  constructor(seconds = 0) {
    this.milliseconds = seconds * 1000;
    this.last = performance.now();
    this.isInFront = document.visibilityState === 'visible';
    this.note = () => this.#count();
    SIGNS.forEach(type => document.addEventListener(type, this.note, { capture: true, passive: true }));
    document.addEventListener('visibilitychange', this.note);
  }

  #count() {
    const now = performance.now();
    const passed = now - this.last;
    if (this.isInFront && passed < MOST_IDLE_MS) this.milliseconds += passed;
    this.last = now;
    this.isInFront = document.visibilityState === 'visible';
  }

  /** The seconds until now. */
  get seconds() {
    this.#count();
    return Math.round(this.milliseconds / 100) / 10;
  }

  stop() {
    this.#count();
    SIGNS.forEach(type => document.removeEventListener(type, this.note, { capture: true }));
    document.removeEventListener('visibilitychange', this.note);
  }
}
