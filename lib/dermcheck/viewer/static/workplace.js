/**
 * The clinician's work: see, predict, correct, submit, next.
 *
 * All that is known of a photograph is in `current`, which is replaced when another one appears: an answer
 * that arrives late for another photograph finds its own `current` gone and is dropped.
 */
import { Attention } from './attention.js';
import { drafts, outbox, preferences } from './drafts.js';
import { History } from './history.js';
import { Sender } from './sending.js';
import * as server from './server.js';
import { language, say } from './texts.js';

const UNDO_MS = 5000; // so long a submission can be taken back before it is sent
const NO_DIAGNOSIS = [255, 255, 255];
const MOST_LESIONS = 255;
const RENEW_MS = 60000; // so often the server hears which photographs are still in hand
const MOST_FAILURES = 3; // photographs in a row that cannot be loaded; then it is not they that are at fault

const firstLesion = diagnosis => [{ value: 1, diagnosis }];

export class Workplace {
  constructor(viewer) {
    this.viewer = viewer;
    this.current = null;
    this.settings = { classes: [], strategies: {}, user: null };
    this.queue = null;
    this.notices = [];
    this.upcoming = null;
    this.seen = new Set(); // offered in this session and left without a submission
    this.unshowable = new Set(); // found in this session to be of no kind that can be shown
    this.sender = new Sender(this);
    this.tool = 'CircularBrush';
    this.client = sessionStorage.getItem('dermcheck.client') ?? crypto.randomUUID();
    sessionStorage.setItem('dermcheck.client', this.client);
    const query = new URLSearchParams(window.location.search);
    this.wanted = query.get('image');
    this.ready = query.has('again') ? { image: this.wanted, again: true } : null; // a second reading, reloaded
    this.listeners = [];
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  changed() {
    this.listeners.forEach(listener => listener());
  }

  async start() {
    this.stopStrokes = this.viewer.onStroke(() => this.#edited());
    this.leave = () => {
      this.sender.sendLastOnes();
      this.#giveBack(...this.#inHand());
    };
    window.addEventListener('pagehide', this.leave);
    this.retry = setInterval(() => {
      this.sender.flush();
      this.#explainBlackScreen();
    }, 1000);
    this.renewal = setInterval(() => this.#renew(), RENEW_MS);
    while (!this.stopped && !this.settings.classes.length) {
      try {
        this.settings = await server.settings();
      } catch (error) {
        this.tell('error', error.message);
        await new Promise(done => setTimeout(done, 3000));
      }
    }
    this.#paint();
    this.changed();
    this.refreshQueue();
  }

  stop() {
    this.stopped = true;
    this.stopStrokes?.();
    clearInterval(this.retry);
    clearInterval(this.renewal);
    this.current?.attention.stop();
    this.#giveBack(...this.#inHand());
    window.removeEventListener('pagehide', this.leave);
  }

  /** The photographs that nobody else is to be handed: the one on the screen, and the next. */
  #inHand() {
    return [this.current?.image, this.offered].filter(Boolean);
  }

  /** Tell the server that they are still in hand, and not left for lunch. */
  async #renew() {
    if (document.visibilityState !== 'visible' || !this.#inHand().length) return;
    try {
      await server.keep(this.#inHand(), this.client, this.clinician);
    } catch (error) {
      console.error(error); // a courtesy: nobody is kept from anything
    }
  }

  /** Let others be handed photographs. */
  #giveBack(...images) {
    if (images.length) server.giveBack(images, this.client);
  }

  #explainBlackScreen() {
    if (this.current || this.explained || !this.viewer.showsNothing) return;
    this.explained = true;
    this.tell('error', say('notInStudy'));
  }

  get clinician() {
    return this.settings.user ?? preferences.get('clinician', '');
  }

  set clinician(name) {
    preferences.set('clinician', name.trim());
    this.refreshQueue();
  }

  get predictsByItself() {
    return preferences.get('predict', 'true') === 'true';
  }

  set predictsByItself(wanted) {
    preferences.set('predict', wanted);
    if (wanted && this.current && !this.current.answer) this.predict();
  }

  get waiting() {
    return outbox.all().length;
  }

  /** Say something in the panel; `action` is {label, run}. Errors stay until closed, the rest for a while. */
  tell(kind, sentence, action = null, milliseconds = 8000) {
    const notice = { kind, sentence, action };
    this.notices = [...this.notices.filter(other => other.sentence !== sentence), notice].slice(-4);
    this.changed();
    if (kind !== 'error') setTimeout(() => this.dismiss(notice), milliseconds);
    return notice;
  }

  dismiss(notice) {
    this.notices = this.notices.filter(other => other !== notice);
    this.changed();
  }

  // ---- one photograph -------------------------------------------------------------------------------

  /** A photograph has appeared on the screen. */
  async show(photograph) {
    const image = photograph.SOPInstanceUID;
    const wanted = this.wanted;
    this.wanted = null;
    if (wanted && wanted !== image) {
      if (await this.#go(photograph.StudyInstanceUID, wanted)) return; // OHIF shows the first of the study
    }
    const ready = this.ready?.image === image ? this.ready : null;
    this.ready = null;
    const current = {
      photograph, image, known: null, answer: null, lesions: firstLesion(null), active: 1, history: null,
      startedFrom: 'nothing', basedOn: null, dirty: false, predicting: false, visible: true,
      reason: ready?.reason ?? this.#remembered(image), again: Boolean(ready?.again), attention: new Attention(),
    };
    this.#turnFrom(this.current, image);
    this.current = current;
    if (this.offered === image) this.offered = null;
    this.viewer.takeAway();
    this.viewer.remember(photograph.StudyInstanceUID, image, current.again);
    this.changed();
    try {
      current.known = ready?.known ? await ready.known : await this.#ask(image, current.again);
    } catch (error) {
      this.tell('error', error.message);
    }
    if (current !== this.current) return;
    current.reason ||= current.known?.reason ?? '';
    sessionStorage.setItem('dermcheck.reason', JSON.stringify({ image, reason: current.reason }));
    await this.#open(current, ready);
  }

  /** Why a photograph was chosen, after a reload: the server has given it back by then. */
  #remembered(image) {
    const last = JSON.parse(sessionStorage.getItem('dermcheck.reason'));
    return last?.image === image ? last.reason : '';
  }

  /** Another photograph takes this one's place: others may be handed it, unless it is about to be stored. */
  #turnFrom(left, image) {
    left?.attention.stop();
    if (left && left.image !== image && !outbox.of(left.image)) this.#giveBack(left.image);
  }

  /** `again`: for a second reading, without the answers that are stored. */
  #ask(image, again) {
    return server.photograph(image, { client: this.client, clinician: this.clinician, second_reading: Boolean(again) });
  }

  async #open(current, ready) {
    const { known, image } = current;
    const draft = drafts.get(image) ?? outbox.of(image)?.submission ?? null;
    const source = draft ?? known?.label ?? null;
    let values = null;
    if (source) {
      try {
        values = await server.unpack(source.mask);
      } catch (error) {
        console.error(error);
        this.tell('error', say('damaged'));
      }
    }
    if (values && values.length !== current.photograph.Rows * current.photograph.Columns) {
      this.tell('error', say('otherSize'));
      values = null;
    }
    if (values) {
      if (source.lesions.length) current.lesions = source.lesions;
      current.startedFrom = draft ? draft.started_from : 'label';
      if (draft?.prediction) current.answer = { params: draft.prediction };
    }
    current.basedOn = known?.newest ?? null;
    if (draft && drafts.get(image)) {
      current.attention.milliseconds += 1000 * (draft.seconds ?? 0);
      current.basedOn = draft.based_on;
      current.dirty = true;
      this.tell('info', say('restored'));
    }
    if (known?.problem) this.tell('error', known.problem);
    this.#tellVisitors(known?.visitors ?? []);
    await this.#layOver(current, values);
    if (current !== this.current) return;
    current.active = current.lesions[0].value;
    this.viewer.select(current.active);
    if (!source && this.#predictsAtOnce(current)) await this.predict({ asked: false, answer: ready?.answer });
    this.changed();
    if (current === this.current && !this.upcoming) this.prefetch();
  }

  /** Whoever reads a photograph again is to judge alone first. */
  #predictsAtOnce({ again }) {
    return this.predictsByItself && !again;
  }

  #tellVisitors(visitors) {
    if (!visitors.length) return;
    const names = [...new Set(visitors.map(({ clinician }) => clinician || say('somebody')))];
    this.tell('warning', say('visitors', names.join(', '), Math.min(...visitors.map(({ minutes }) => minutes))));
  }

  async #layOver(current, values) {
    try {
      const outline = await this.viewer.layOver(current.photograph, values, this.#colours(current));
      if (!outline || current !== this.current) return;
      current.history = new History(outline.scalars);
      this.useTool(this.tool);
      this.setBrush(this.brush);
    } catch (error) {
      console.error(error);
      this.tell('error', say('notShown', error.message));
    }
  }

  /** Ask the models; their outline and diagnosis take the place of what is there, which can be undone. */
  async predict({ asked = true, answer = null } = {}) {
    const { current } = this;
    if (!current?.history || current.predicting) return;
    current.predicting = true;
    this.changed();
    try {
      current.answer = (await answer) ?? (await server.predict(current.image));
    } catch (error) {
      if (current === this.current) this.tell('error', error.message, { label: say('again'), run: () => this.predict() });
      return;
    } finally {
      current.predicting = false;
      if (current === this.current) this.changed();
    }
    const values = await server.unpack(current.answer.mask);
    if (current !== this.current) return; // the answer belongs to a photograph that is not shown any more
    if (!asked && current.dirty) {
      this.tell('info', say('drawnMeanwhile'));
      return;
    }
    const replaced = current.dirty;
    const before = current.lesions;
    current.history.values.set(values);
    current.lesions = this.#trusted(current.answer.params) ? current.answer.lesions : firstLesion(null);
    current.active = 1;
    current.startedFrom = 'prediction';
    current.history.note({ before, after: current.lesions });
    if (!asked) current.history.done = []; // nothing was there before
    this.#redraw();
    if (asked) this.#keep();
    if (replaced) this.tell('info', say('replaced'));
  }

  /** Whether the models say that their decision may be taken as a proposal. */
  #trusted(params) {
    return params.is_lesion_photograph !== false;
  }

  #edited() {
    if (!this.current?.history?.note()) return;
    this.#keep();
    this.changed();
  }

  #colours(current = this.current) {
    const colours = [];
    for (const { value, diagnosis } of current.lesions) colours[value - 1] = this.colour(diagnosis);
    return Array.from(colours, colour => colour ?? NO_DIAGNOSIS);
  }

  colour(diagnosis) {
    return this.settings.classes.find(({ name }) => name === diagnosis)?.colour ?? NO_DIAGNOSIS;
  }

  #paint() {
    if (this.current?.history) this.viewer.paint(this.#colours());
  }

  #redraw() {
    this.#paint();
    this.viewer.select(this.current.active);
    this.viewer.refresh();
    this.changed();
  }

  #setLesions(lesions, active = this.current.active) {
    const { current } = this;
    current.history.note({ before: current.lesions, after: lesions });
    current.lesions = lesions;
    current.active = active;
    this.#redraw();
    this.#keep();
  }

  /** Name the active lesion's diagnosis; null where it is none of the seven, or unknown. */
  diagnose(diagnosis) {
    const { current } = this;
    if (!current?.history) return;
    this.#setLesions(current.lesions.map(lesion => (lesion.value === current.active ? { ...lesion, diagnosis } : lesion)));
  }

  addLesion() {
    const { current } = this;
    if (!current?.history || current.lesions.length >= MOST_LESIONS) return;
    const value = Math.max(...current.lesions.map(lesion => lesion.value)) + 1;
    this.#setLesions([...current.lesions, { value, diagnosis: null }], value);
    this.useTool('CircularBrush');
  }

  select(value) {
    this.current.active = value;
    this.viewer.select(value);
    this.changed();
  }

  nextLesion() {
    const { lesions, active } = this.current ?? { lesions: [] };
    const at = lesions.findIndex(lesion => lesion.value === active);
    if (lesions.length > 1) this.select(lesions[(at + 1) % lesions.length].value);
  }

  undo() {
    this.#edited(); // a stroke that has just ended
    this.#step(this.current?.history?.undo());
  }

  redo() {
    this.#edited();
    this.#step(this.current?.history?.redo());
  }

  #step(step) {
    if (!step) return;
    const { current } = this;
    if (step.lesions) current.lesions = step.lesions;
    if (!current.lesions.some(({ value }) => value === current.active)) current.active = current.lesions[0].value;
    this.#redraw();
    this.#keep();
  }

  clear() {
    const { current } = this;
    if (!current?.history) return;
    current.history.values.fill(0);
    this.#setLesions(firstLesion(null), 1);
  }

  useTool(tool) {
    this.tool = tool;
    this.viewer.use(tool);
    this.changed();
  }

  get brush() {
    return Number(preferences.get('brush', 24));
  }

  /** Set the brush's diameter in pixels of the photograph. */
  setBrush(diameter) {
    preferences.set('brush', Math.min(400, Math.max(1, Math.round(diameter))));
    this.viewer.setBrush(this.brush);
    this.changed();
  }

  scaleBrush(factor) {
    const grown = this.brush * factor;
    this.setBrush(factor > 1 ? Math.max(this.brush + 1, grown) : Math.min(this.brush - 1, grown));
  }

  toggleOutline() {
    if (!this.current?.history) return;
    this.current.visible = !this.current.visible;
    this.viewer.setVisible(this.current.visible);
    this.changed();
  }

  // ---- keeping and submitting -----------------------------------------------------------------------

  /** Keep the work in the browser until the server has confirmed it. */
  async #keep() {
    const { current } = this;
    current.dirty = true;
    current.keeping = (current.keeping ?? 0) + 1;
    const turn = current.keeping;
    const draft = await this.#describe(current);
    if (turn !== current.keeping || !current.dirty) return; // changed again, or submitted, meanwhile
    this.#write(() => drafts.put(current.image, draft));
  }

  #write(work) {
    try {
      work();
      return true;
    } catch (error) {
      console.error(error);
      this.tell('error', say('browserFull'));
      return false;
    }
  }

  /** What would be submitted now. */
  async #describe(current) {
    const mask = await server.pack(current.history.values.slice());
    const { Rows, Columns } = current.photograph;
    return {
      image: current.image, rows: Rows, columns: Columns, mask, lesions: this.lesionsToStore(current),
      started_from: current.startedFrom, based_on: current.basedOn, prediction: current.answer?.params ?? null,
      seconds: current.attention.seconds,
    };
  }

  /** The lesions that have an outline or a diagnosis. */
  lesionsToStore(current = this.current) {
    const painted = current.history.painted();
    return current.lesions.filter(({ value, diagnosis }) => diagnosis || painted.has(value));
  }

  /** Store the outlines by OHIF's own export, where its build has one that takes photographs. */
  async export() {
    const { current } = this;
    if (!current?.history) return;
    if (!current.history.painted().size) {
      this.tell('warning', say('exportEmpty'));
      return;
    }
    const meanings = new Map(this.settings.classes.map(({ name, meanings: { en } }) => [name, en]));
    const names = [];
    for (const { value, diagnosis } of current.lesions) names[value - 1] = meanings.get(diagnosis) ?? 'Skin lesion';
    try {
      if (!(await this.viewer.export(names))) return; // the question was closed
    } catch (error) {
      this.tell('error', error.message);
      return;
    }
    current.dirty = false;
    drafts.remove(current.image);
    this.tell('done', say('exported'));
    this.refreshQueue();
  }

  /** Submit outline and diagnoses, and go on; it can be taken back for some seconds. */
  async submit() {
    const { current } = this;
    if (!current?.history || current.submitting) return;
    if (current.predicting && !current.dirty) {
      this.tell('info', say('stillPredicting'));
      return;
    }
    current.submitting = true;
    current.history.note();
    const submission = {
      id: crypto.randomUUID(), ...(await this.#describe(current)), clinician: this.clinician,
    };
    const now = Date.now();
    const entry = { submission, study: current.photograph.StudyInstanceUID, submittedAt: now, heldUntil: now + UNDO_MS };
    if (!this.#write(() => outbox.put(entry))) {
      current.submitting = false;
      return;
    }
    current.dirty = false;
    drafts.remove(current.image);
    this.seen.delete(current.image);
    this.last = submission.id;
    this.tell('done', say('submitted'), { label: say('takeBack'), run: () => this.takeBack(submission.id) }, UNDO_MS);
    if (!this.clinician && !this.namelessIsTold) {
      this.namelessIsTold = true;
      this.tell('info', say('nameless'));
    }
    await this.next();
    current.submitting = false;
  }

  /** Take back a submission that was not sent yet, and open its photograph again. */
  async takeBack(id = this.last) {
    const entry = id && outbox.get(id);
    if (!entry || this.sender.onTheWay === id) {
      this.tell('warning', say('tooLate'));
      return;
    }
    this.notices = this.notices.filter(({ kind }) => kind !== 'done');
    await this.reopen(entry);
  }

  /** Open what was submitted but not stored, as work that is not submitted. */
  async reopen(entry) {
    const { clinician, id, ...draft } = entry.submission;
    drafts.put(draft.image, draft);
    outbox.remove(id);
    await this.#go(entry.study, draft.image);
  }

  // ---- from photograph to photograph ----------------------------------------------------------------

  /** Choose and load the next photograph, so that it shows at once. */
  prefetch() {
    this.upcoming = this.#choose().catch(error => ({ error }));
    return this.upcoming;
  }

  /** Choose a photograph that can be loaded: one that cannot must not stop the work. */
  async #choose() {
    let failures = 0;
    let detail = '';
    while (!this.stopped) {
      const { image, study, reason, second_reading: again, detail: why } = await this.#offered();
      detail = why;
      if (!image) break;
      this.#offer(image);
      try {
        await this.viewer.load(study, image);
        return { image, study, reason, again, ...this.#prepare(image, again) };
      } catch (error) {
        this.#offer(null);
        (error.lasting ? this.unshowable : this.seen).add(image);
        if (!error.lasting) failures += 1;
        if (failures === MOST_FAILURES) throw error;
        this.tell('warning', say('passedOver', error.message));
      }
    }
    return { image: null, detail };
  }

  /** What the server offers next. */
  async #offered() {
    const submitted = outbox.all().map(({ submission }) => submission.image);
    const must = [this.current?.image, ...submitted, ...this.unshowable].filter(Boolean);
    const wanted = { strategy: this.strategy, client: this.client, clinician: this.clinician, language };
    let found = await server.next({ ...wanted, skip: [...must, ...this.seen] });
    if (!found.image && this.seen.size) {
      this.seen.clear(); // once round
      found = await server.next({ ...wanted, skip: must });
    }
    this.queue = found.queue;
    return found;
  }

  /** Keep a photograph in hand to be shown next, null for none; the one before is given back. */
  #offer(image) {
    if (this.offered && this.offered !== image) this.#giveBack(this.offered);
    this.offered = image;
  }

  /** Ask ahead for what is known of a photograph, and for a prediction. */
  #prepare(image, again) {
    const known = this.#ask(image, again);
    const answer = known.then(({ label }) => (!label && this.#predictsAtOnce({ again }) ? server.predict(image) : null));
    answer.catch(() => {}); // told when the photograph is shown
    known.catch(() => {});
    return { known, answer };
  }

  get strategy() {
    const chosen = preferences.get('strategy', '');
    return chosen in this.settings.strategies ? chosen : '';
  }

  set strategy(name) {
    preferences.set('strategy', name);
    this.#offer(null); // chosen by the strategy before
    this.prefetch();
  }

  /** Show the next photograph. */
  async next() {
    if (this.going) return;
    this.going = true;
    this.changed();
    try {
      if (this.current && !outbox.of(this.current.image)) this.seen.add(this.current.image);
      let upcoming = await (this.upcoming ?? this.prefetch());
      // Chosen before: it may be on the screen by now, or submitted.
      if (upcoming.image && (upcoming.image === this.current?.image || outbox.of(upcoming.image))) {
        upcoming = await this.prefetch();
      }
      this.upcoming = null;
      if (upcoming.error) throw upcoming.error;
      if (!upcoming.image) {
        this.tell('info', this.#whyNothing(upcoming));
        return;
      }
      this.ready = upcoming;
      this.viewer.show(upcoming.image);
    } catch (error) {
      this.tell('error', error.message, { label: say('again'), run: () => this.next() });
    } finally {
      this.going = false;
      this.changed();
    }
  }

  /** Why there is no next photograph: all are done, or the strategy or the server has a reason of its own. */
  #whyNothing({ detail }) {
    if (this.unshowable.size) return say('onlyUnshowable', this.unshowable.size);
    return this.queue?.left && detail ? detail : say('nothingLeft');
  }

  /** Show a photograph by its id. */
  async go(image) {
    await this.#go(this.current.photograph.StudyInstanceUID, image);
  }

  /** Show a photograph; returns whether that was possible. */
  async #go(study, image) {
    try {
      await this.viewer.load(study, image);
      if (this.current?.image === image) await this.show(this.current.photograph);
      else this.viewer.show(image);
      return true;
    } catch (error) {
      this.tell('error', error.message);
      return false;
    }
  }

  async refreshQueue() {
    try {
      this.queue = await server.queue(this.clinician);
    } catch (error) {
      console.error(error); // the queue's figures are a courtesy
    }
    this.changed();
  }
}
