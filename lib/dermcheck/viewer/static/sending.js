/** Sends what was submitted: in order, each until the server has confirmed it. */
import { outbox } from './drafts.js';
import * as server from './server.js';
import { say } from './texts.js';

const RETRY_MS = [2000, 5000, 10000, 30000];

export class Sender {
  constructor(work) {
    this.work = work;
    this.onTheWay = null; // id of the submission that is being sent
    this.failures = 0;
    this.notBefore = 0;
  }

  /** Send what is due; what fails stays in the browser, and is sent again. */
  async flush() {
    if (this.flushing || Date.now() < this.notBefore) return;
    this.flushing = true;
    try {
      for (const entry of outbox.all()) {
        if (entry.failed || entry.heldUntil > Date.now()) continue;
        if (!(await this.#send(entry))) break;
      }
    } finally {
      this.flushing = false;
    }
  }

  /** Send one; returns whether to go on with the next. */
  async #send(entry) {
    const { work } = this;
    this.onTheWay = entry.submission.id;
    try {
      const answer = await server.submit(entry.submission, work.client);
      outbox.remove(entry.submission.id);
      this.failures = 0;
      work.queue = answer.queue;
      this.#tellOthers(answer.others);
      return true;
    } catch (error) {
      if (error.lasting) {
        outbox.put({ ...entry, failed: error.message });
        work.tell('error', say('notStored', error.message), { label: say('open'), run: () => work.reopen(entry) });
        return true;
      }
      this.notBefore = Date.now() + RETRY_MS[Math.min(this.failures, RETRY_MS.length - 1)];
      this.failures += 1;
      if (this.failures === 1) work.tell('warning', say('waits', error.message));
      return false;
    } finally {
      this.onTheWay = null;
      work.changed();
    }
  }

  #tellOthers(others) {
    if (!others.length) return;
    const names = [...new Set(others.map(({ creator }) => creator || say('somebody')))].join(', ');
    this.work.tell('warning', say('others', names), null, 20000);
  }

  /** The page is left: send what is on hold. It stays in the browser too, until the server has confirmed it. */
  sendLastOnes() {
    for (const { submission, failed } of outbox.all()) {
      if (failed || submission.id === this.onTheWay) continue;
      const body = JSON.stringify(submission);
      fetch(`/viewer/submissions?${new URLSearchParams({ client: this.work.client })}`, {
        method: 'POST', headers: { 'Content-Type': 'application/json' }, body,
        keepalive: body.length < 60000, // browsers refuse longer ones
      }).catch(() => {}); // nobody is left to tell; it is sent again when the viewer is opened
    }
  }
}
