/**
 * What the server has not confirmed yet, kept in the browser: it survives a reload, a crash, and a server
 * that is down. Drafts are being worked on; the outbox holds what was submitted.
 */
const DRAFT = 'dermcheck.draft.';
const OUTBOX = 'dermcheck.outbox.';

function read(key) {
  const stored = localStorage.getItem(key);
  if (stored === null) return null;
  try {
    return JSON.parse(stored);
  } catch (error) {
    console.error(`DermCheck: ${key} is damaged and is left alone`, error);
    return null;
  }
}

const keys = prefix => Object.keys(localStorage).filter(key => key.startsWith(prefix));

export const drafts = {
  get: image => read(DRAFT + image),
  /** Throws QuotaExceededError if the browser keeps no more. */
  put: (image, draft) => localStorage.setItem(DRAFT + image, JSON.stringify(draft)),
  remove: image => localStorage.removeItem(DRAFT + image),
};

export const outbox = {
  put: entry => localStorage.setItem(OUTBOX + entry.submission.id, JSON.stringify(entry)),
  remove: id => localStorage.removeItem(OUTBOX + id),
  get: id => read(OUTBOX + id),
  all: () => keys(OUTBOX).map(read).filter(Boolean).sort((a, b) => a.submittedAt - b.submittedAt),
  of: image => outbox.all().findLast(entry => entry.submission.image === image) ?? null,
};

export const preferences = {
  get: (name, otherwise) => localStorage.getItem(`dermcheck.${name}`) ?? otherwise,
  set: (name, value) => localStorage.setItem(`dermcheck.${name}`, String(value)),
};
