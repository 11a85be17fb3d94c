/** Undo and redo of changes to one label map, which OHIF 3.10 does not have. */
const MOST_STEPS = 50;

/**
 * Remembers of each change only the stretch of the label map that differs, so that a stroke on 24 megapixels
 * takes little memory.
 */
export class History {
  constructor(values) {
    this.values = values;
    this.known = values.slice();
    this.done = [];
    this.undone = [];
    this.paintedValues = null;
  }

  /** The values that some pixel has, besides 0. A large label map takes a while: it is looked at once a change. */
  painted() {
    if (!this.paintedValues) {
      const found = new Uint8Array(256);
      for (const value of this.values) found[value] = 1;
      this.paintedValues = new Set([...found.keys()].filter(value => value && found[value]));
    }
    return this.paintedValues;
  }

  /** Note what has changed since the last call, with the lesions {before, after}; returns whether anything has. */
  note(lesions = null) {
    const [from, to] = this.#changed();
    if (from === to && !lesions) return false;
    this.paintedValues = null;
    this.done.push({ from, before: this.known.slice(from, to), after: this.values.slice(from, to), lesions });
    if (this.done.length > MOST_STEPS) this.done.shift();
    this.undone = [];
    this.known.set(this.values.subarray(from, to), from);
    return true;
  }

  /** Go back one step; returns {lesions} as they were, null where they were the same; null if there is no step. */
  undo() {
    return this.#move(this.done, this.undone, 'before');
  }

  redo() {
    return this.#move(this.undone, this.done, 'after');
  }

  #move(source, target, side) {
    const step = source.pop();
    if (!step) return null;
    this.paintedValues = null;
    this.values.set(step[side], step.from);
    this.known.set(step[side], step.from);
    target.push(step);
    return { lesions: step.lesions?.[side] ?? null };
  }

  #changed() {
    const { values, known } = this;
    let from = 0;
    while (from < values.length && values[from] === known[from]) from += 1;
    let to = values.length;
    while (to > from && values[to - 1] === known[to - 1]) to -= 1;
    return [from, to];
  }
}
