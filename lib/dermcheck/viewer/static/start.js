/** The start page: photographs dropped onto it, what waits in this browser, the training, the doctor. */
import { outbox } from './drafts.js';

const item = (list, text, failed = false) => {
  const line = document.createElement('li');
  line.textContent = text;
  line.classList.toggle('failed', failed);
  list.append(line);
  return line;
};

function sayWhatWaits() {
  const line = document.querySelector('#waiting');
  const count = outbox.all().length;
  if (!line || !count) return;
  line.textContent = line.dataset.text.replace('{count}', count);
  line.hidden = false;
}

/** Add photographs one after the other, so that each has its answer. */
async function add(form, files) {
  const details = {};
  for (const [name, value] of new FormData(form)) if (typeof value === 'string' && value.trim()) details[name] = value.trim();
  const list = form.querySelector('ul');
  for (const file of files) {
    const line = item(list, `${file.name} ${form.dataset.busy}`);
    const body = new FormData();
    body.append('file', file);
    body.append('params', JSON.stringify(details));
    let reason = '';
    try {
      const answer = await fetch('/datastore/image', { method: 'PUT', body });
      if (!answer.ok) reason = (await answer.json()).detail ?? String(answer.status);
    } catch (error) {
      reason = error.message;
    }
    line.classList.toggle('failed', Boolean(reason));
    line.textContent = reason ? `${file.name} ${form.dataset.failed} ${reason}` : `${file.name} ${form.dataset.done}`;
  }
}

function listenToDrops() {
  const form = document.querySelector('#upload');
  const input = form.querySelector('input[type=file]');
  const drop = form.querySelector('.drop');
  input.addEventListener('change', async () => {
    await add(form, [...input.files]);
    input.value = '';
  });
  form.addEventListener('submit', event => event.preventDefault());
  for (const type of ['dragover', 'dragleave', 'drop']) {
    document.addEventListener(type, event => {
      event.preventDefault(); // else the browser leaves the page and shows the file
      drop.classList.toggle('over', type === 'dragover');
      if (type === 'drop') add(form, [...event.dataTransfer.files]);
    });
  }
}

async function watchTraining() {
  const place = document.querySelector('#training');
  for (;;) {
    const answer = await fetch('/viewer/training').catch(() => null); // the server may have been stopped
    if (answer?.ok) place.textContent = (await answer.json()).running ? place.dataset.running : '';
    await new Promise(done => setTimeout(done, 10000));
  }
}

function listenToDoctor() {
  const button = document.querySelector('#examine');
  button?.addEventListener('click', async () => {
    const list = document.querySelector('#findings');
    button.disabled = true;
    list.replaceChildren();
    try {
      const answer = await fetch('/viewer/doctor');
      const { findings, detail } = await answer.json();
      if (detail) item(list, detail, true);
      findings?.forEach(({ name, found, advice }) => item(list, `${name}: ${found}${advice ? ` → ${advice}` : ''}`, Boolean(advice)));
    } catch (error) {
      item(list, error.message, true);
    } finally {
      button.disabled = false;
    }
  });
}

sayWhatWaits();
listenToDrops();
listenToDoctor();
watchTraining();
