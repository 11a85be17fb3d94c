/** Requests to DermCheck's server; every failure becomes a sentence. */
import { say } from './texts.js';

/** A request that failed. `lasting`: sending the same again would fail again. */
export class RequestError extends Error {
  constructor(sentence, lasting) {
    super(sentence);
    this.lasting = lasting;
  }
}

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { cache: 'no-store', ...options });
  } catch {
    throw new RequestError(say('offline'), false);
  }
  if (!answer.ok) {
    const error = new RequestError(await sentence(answer), answer.status < 500 && answer.status !== 429);
    error.status = answer.status;
    error.retryAfter = Number(answer.headers.get('Retry-After')) || null;
    throw error;
  }
  return answer.json();
}

/** Ask again for some time while the server says that it has too much to do. */
async function patiently(ask) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await ask();
    } catch (error) {
      if (error.status !== 503 || !error.retryAfter || attempt === 5) throw error;
      await new Promise(done => setTimeout(done, 1000 * error.retryAfter));
    }
  }
}

async function sentence(answer) {
  try {
    const { detail } = await answer.json();
    if (typeof detail === 'string') return detail;
  } catch {
    // No JSON: not DermCheck's own answer.
  }
  return say('failed', answer.status);
}

const get = path => request(path, {});
const post = (path, body) =>
  request(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body ?? {}) });

export const settings = () => get('/viewer/settings');
export const photograph = (image, who) => get(`/viewer/photographs/${image}?${new URLSearchParams(who)}`);
export const predict = image => patiently(() => post(`/viewer/predictions/${image}`));
export const submit = (submission, client) => post(`/viewer/submissions?${new URLSearchParams({ client })}`, submission);
export const next = wanted => post('/viewer/next', wanted);
export const keep = (images, client, clinician) => post('/viewer/leases', { images, client, clinician });
/** Also while the page is left: nobody waits for the answer. */
export const giveBack = (images, client) =>
  fetch(`/viewer/leases?${new URLSearchParams([['client', client], ...images.map(image => ['image', image])])}`, {
    method: 'DELETE', keepalive: true,
  }).catch(() => {}); // the server forgets them by itself after some minutes
export const queue = clinician => get(`/viewer/queue?${new URLSearchParams({ clinician })}`);
export const training = () => get('/viewer/training');
export const train = model => post(`/train/${model}`);
export const thumbnail = photograph =>
  `/dicom-web/studies/${photograph.StudyInstanceUID}/series/${photograph.SeriesInstanceUID}` +
  `/instances/${photograph.SOPInstanceUID}/thumbnail`;

/** Unpack a label map: gzip, base64. */
export async function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Pack a label map for `unpack`, or for the server. */
export async function pack(values) {
  const stream = new Blob([values]).stream().pipeThrough(new CompressionStream('gzip'));
  const bytes = new Uint8Array(await new Response(stream).arrayBuffer());
  let binary = '';
  for (let start = 0; start < bytes.length; start += 8192) {
    binary += String.fromCharCode(...bytes.subarray(start, start + 8192));
  }
  return btoa(binary);
}
