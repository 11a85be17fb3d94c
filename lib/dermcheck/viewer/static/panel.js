/** The panel beside the photograph: plain DOM, drawn anew after each change. */
import { preferences } from './drafts.js';
import { keyTable } from './keys.js';
import { pause, text } from './ohif.js';
import * as server from './server.js';
import { diagnosisName, language, say, shortName, sideName, strategyName } from './texts.js';
import { THEMES, chooseTheme, chosenTheme, onThemeChange, theme } from './theme.js';

const MELANOMA = 'mel';
const STYLE = new URL('./panel.css', import.meta.url);

/** Make an element: attributes, `on…` handlers, children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, '');
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined && child !== false));
  return made;
}

const decimal = (value, digits) => value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
const percent = value => `${decimal(100 * value, value < 0.0995 ? 1 : 0)} %`;

/** A button that gives the focus back: keys are to go to the photograph. */
const button = (label, run, attributes = {}) =>
  element('button', {
    type: 'button',
    ...attributes,
    onclick: event => {
      if (event.detail) event.currentTarget.blur(); // clicked, not pressed by a key
      run();
    },
  }, label);

export class Panel {
  constructor(work) {
    this.work = work;
    this.helpIsOpen = false;
    this.training = null;
    work.onChange(() => this.draw());
    this.stopTheme = onThemeChange(() => this.draw());
    if (!document.querySelector(`link[href="${STYLE}"]`)) {
      document.head.append(element('link', { rel: 'stylesheet', href: STYLE }));
    }
  }

  stop() {
    this.stopTheme();
    this.help?.remove();
  }

  /** OHIF has made room for the panel. */
  attach(host) {
    if (host.firstChild === this.root) return;
    this.parts = {
      notices: element('div', { class: 'notices', role: 'status', 'aria-live': 'polite' }),
      patient: element('section', { class: 'patient' }),
      answer: element('section'),
      tools: element('section'),
      submit: element('section', { class: 'submit' }),
      visit: element('section', { class: 'visit' }),
      options: this.#options(),
      training: this.#trainingPart(),
    };
    this.root = element('div', { id: 'dermcheck', lang: language, 'data-theme': theme() },
      element('header', {}, element('strong', {}, 'DermCheck'), element('span', { title: say('noticeLong') }, say('notice'))),
      this.parts.patient, this.parts.answer, this.parts.tools, this.parts.visit, this.parts.options, this.parts.training,
      element('footer', {}, button(say('help'), () => this.toggleHelp(), { class: 'link' }),
        element('a', { href: '/ohif/' }, say('list')), element('a', { href: '/' }, say('home'))),
      element('div', { class: 'bottom' }, this.parts.notices, this.parts.submit));
    host.replaceChildren(this.root);
    this.visitShown = null;
    this.draw();
  }

  /** Draw at the next frame, however often it is asked for until then. */
  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      if (!this.root) return;
      const { patient, answer, tools, submit, visit, notices } = this.parts;
      this.#fill(patient, this.#patient());
      this.#fill(answer, this.#answer());
      this.#fill(tools, this.#tools());
      this.#fill(submit, this.#submit());
      this.#drawVisit(visit);
      this.#fill(notices, this.#notices());
      this.#strategies();
      const { current } = this.work;
      this.root.dataset.theme = theme();
      this.root.dataset.image = current?.image ?? '';
      this.root.dataset.state = !current?.history ? 'opening' : current.predicting ? 'predicting' : 'ready';
    });
  }

  /** Replace what a part holds, leaving the focus with the element that takes its place. */
  #fill(part, children) {
    const focused = part.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    part.replaceChildren(...children.flat().filter(Boolean));
    if (focused) part.querySelector(`[data-name="${focused}"]`)?.focus();
  }

  #patient() {
    const { current, queue, waiting } = this.work;
    const lines = [];
    if (current) {
      const { photograph, known } = current;
      const born = text(photograph.PatientBirthDate).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
      const taken = text(photograph.StudyDate).replace(/^(\d{4})(\d\d)(\d\d)$/, '$1-$2-$3');
      lines.push(element('div', { class: 'name' }, text(photograph.PatientName).replaceAll('^', ' ').trim() || '–'));
      lines.push(element('div', {}, [text(photograph.PatientID), text(photograph.PatientSex), born && `* ${born}`].filter(Boolean).join(' · ')));
      lines.push(element('div', {}, [taken, known?.site, sideName(known?.laterality), known?.lesion].filter(Boolean).join(' · ')));
    }
    if (current?.reason) lines.push(this.#reason(current));
    if (queue) {
      lines.push(element('div', { class: 'queue' },
        element('progress', { max: queue.total || 1, value: queue.done, 'aria-hidden': 'true' }),
        element('span', {}, say('queue', queue), waiting ? ` · ${say('waiting', waiting)}` : '')));
    }
    return lines;
  }

  #reason(current) {
    const content = [element('b', {}, say('why')), ` ${current.reason}`];
    const open = Boolean(current.reasonIsOpen);
    return button(content, () => {
      current.reasonIsOpen = !open;
      this.draw();
    }, { class: 'reason', 'data-name': 'reason', title: current.reason, 'aria-expanded': String(open) });
  }

  #answer() {
    const { current, settings } = this.work;
    const params = current?.answer?.params;
    const chosen = current?.lesions.find(({ value }) => value === current.active)?.diagnosis ?? null;
    const rows = settings.classes.map((lesion, index) => this.#diagnosis(lesion, index, params, chosen));
    const unknown = [element('kbd', {}, '0'), element('span', { class: 'meaning' }, say('unknown'))];
    const none = button(unknown, () => this.work.diagnose(null), {
      role: 'radio', 'aria-checked': String(chosen === null), class: 'diagnosis', 'data-name': 'none', disabled: !current?.history,
    });
    return [
      element('h2', {}, say('diagnosis'), this.#lesions()),
      current?.again ? element('p', { class: 'caution' }, say('secondReading')) : null,
      this.#cautions(params),
      element('div', { role: 'radiogroup', 'aria-label': say('diagnosis') }, rows, none),
      params
        ? element('p', { class: 'small' }, `◆ ${say('modelShort')}. ${say('uncertainty')} ${decimal(params.uncertainty, 2)}.`, element('br'), this.#versions(params))
        : element('p', { class: 'small' }, current?.predicting ? say('predicting') : say('noPrediction')),
    ];
  }

  #diagnosis(lesion, index, params, chosen) {
    const probability = params?.probabilities[lesion.name];
    const decided = params?.decision === lesion.name;
    const name = diagnosisName(lesion);
    const said = [name, probability === undefined ? '' : percent(probability), decided ? say('model') : ''];
    const content = [
      element('kbd', {}, String(index + 1)),
      element('span', { class: 'meaning' }, element('i', { style: `background: rgb(${lesion.colour})` }), shortName(lesion)),
      element('span', { class: 'probability' }, decided ? '◆ ' : '', probability === undefined ? '' : percent(probability)),
      element('span', { class: 'bar' }, element('span', { style: `width: ${100 * (probability ?? 0)}%; background: rgb(${lesion.colour})` })),
    ];
    return button(content, () => this.work.diagnose(lesion.name), {
      role: 'radio', class: 'diagnosis', 'data-name': lesion.name, title: name, 'aria-checked': String(chosen === lesion.name),
      'aria-label': said.filter(Boolean).join(', '), disabled: !this.work.current?.history,
    });
  }

  #cautions(params) {
    if (!params) return null;
    if (params.is_lesion_photograph === false) return element('p', { class: 'caution' }, say('notLesion'));
    const names = new Map(this.work.settings.classes.map(lesion => [lesion.name, shortName(lesion)]));
    const possible = params.not_sure ? params.possible_classes ?? [] : [];
    const isNamed = params.decision === MELANOMA || possible.includes(MELANOMA);
    const said = [
      params.not_sure && `${say('notSure')} ${possible.map(name => names.get(name) ?? name).join(', ')}.`,
      params.melanoma_not_excluded && !isNamed && say('melanoma'),
    ].filter(Boolean);
    return said.length ? element('p', { class: 'caution' }, said.join(' ')) : null;
  }

  #versions({ models = {} }) {
    const versions = Object.values(models).map(({ name, version }) => `${name.replace(/^DermCheck /, '')} ${version}`);
    return `${say('versions')}: ${versions.join(', ')}.`;
  }

  #lesions() {
    const { current } = this.work;
    if (!current?.history) return null;
    const several = current.lesions.length > 1;
    return element('span', { class: 'lesions' },
      several && current.lesions.map(({ value, diagnosis }) => button(String(value), () => this.work.select(value), {
        'aria-pressed': String(value === current.active), 'aria-label': say('lesion', value), 'data-name': `lesion ${value}`,
        style: `border-color: rgb(${this.work.colour(diagnosis)})`,
      })),
      button('+', () => this.work.addLesion(), { title: say('addLesion'), 'aria-label': say('addLesion'), 'data-name': 'add' }));
  }

  #tools() {
    const { current, tool, brush } = this.work;
    const disabled = !current?.history;
    const choose = (name, label, key) =>
      button(label, () => this.work.useTool(name), { 'aria-pressed': String(tool === name), title: key, 'data-name': name, disabled });
    const size = element('input', {
      type: 'range', min: 1, max: 200, value: brush, 'aria-label': say('sizeName'), 'data-name': 'size',
      oninput: event => {
        this.work.setBrush(Number(event.target.value));
      },
      onchange: event => event.target.blur(),
    });
    return [
      element('h2', {}, say('outline'), element('label', { class: 'size' }, say('size', brush), size)),
      element('div', { class: 'buttons' },
        button(current?.predicting ? say('predicting') : say('predict'), () => this.work.predict(), {
          title: 'P', 'data-name': 'predict', disabled: disabled || current.predicting,
        }),
        choose('CircularBrush', say('brush'), 'B'), choose('CircularEraser', say('eraser'), 'E'), choose('Pan', say('move'), 'V'),
        button('↶', () => this.work.undo(), { title: `${say('undo')} (${say('control')}+Z)`, 'aria-label': say('undo'), 'data-name': 'undo', disabled: disabled || !current.history.done.length }),
        button('↷', () => this.work.redo(), { title: `${say('redo')} (${say('control')}+Y)`, 'aria-label': say('redo'), 'data-name': 'redo', disabled: disabled || !current.history.undone.length }),
        button(say('clear'), () => this.work.clear(), { 'data-name': 'clear', disabled }),
        button(current?.visible === false ? say('show') : say('hide'), () => this.work.toggleOutline(), { title: 'O', 'data-name': 'hide', disabled }),
        this.work.viewer.exports && button(say('exportName'), () => this.work.export(), { title: say('exportLong'), 'data-name': 'export', disabled })),
    ];
  }

  #submit() {
    const { current, going } = this.work;
    const ready = Boolean(current?.history) && !current.submitting && !going;
    return [
      element('p', { class: 'small', 'data-name': 'stores' }, current?.history ? `${say('stores')} ${this.#summary()}` : ''),
      element('div', { class: 'buttons' },
        button(say('submit'), () => this.work.submit(), { class: 'primary', title: `${say('control')}+Enter`, 'data-name': 'submit', disabled: !ready }),
        button(say('next'), () => this.work.next(), { title: 'N', 'data-name': 'next', disabled: going })),
    ];
  }

  #summary() {
    const { current, settings } = this.work;
    const stored = this.work.lesionsToStore();
    if (!stored.length) return say('storesNothing');
    const painted = current.history.painted();
    return stored
      .map(({ value, diagnosis }) => {
        const lesion = settings.classes.find(({ name }) => name === diagnosis);
        return `${lesion ? shortName(lesion) : say('unknown')} (${painted.has(value) ? say('outlined') : say('notOutlined')})`;
      })
      .join('; ');
  }

  /** Draw the photographs of the same visit, only if they are others: the pictures would flicker. */
  #drawVisit(part) {
    const { current } = this.work;
    const all = current ? this.work.viewer.photographs(current.photograph.StudyInstanceUID) : [];
    const shown = [current?.image, ...all.map(({ SOPInstanceUID }) => SOPInstanceUID)].join();
    if (shown === this.visitShown) return;
    this.visitShown = shown;
    this.#fill(part, this.#visit(all));
  }

  #visit(all) {
    const { current } = this.work;
    if (all.length < 2) return [];
    return [
      element('h2', {}, say('study', all.length)),
      element('div', { class: 'thumbnails' }, all.map((photograph, index) =>
        button(element('img', { src: server.thumbnail(photograph), alt: '', loading: 'lazy' }),
          () => this.work.go(photograph.SOPInstanceUID), {
            'aria-current': photograph.SOPInstanceUID === current.image ? 'true' : null,
            'aria-label': say('photograph', index + 1), 'data-name': photograph.SOPInstanceUID,
            title: text(photograph.SeriesDescription),
          }))),
    ];
  }

  #notices() {
    return this.work.notices.map(notice => {
      const { kind, sentence, action } = notice;
      return element('div', { class: `notice ${kind}`, role: kind === 'error' ? 'alert' : null },
        element('span', {}, sentence),
        action && button(action.label, () => {
          this.work.dismiss(notice);
          action.run();
        }, { class: 'link' }),
        button('×', () => this.work.dismiss(notice), { class: 'link', 'aria-label': say('close') }));
    });
  }

  #options() {
    const name = element('input', {
      type: 'text', maxlength: 63, autocomplete: 'name', id: 'dermcheck-name',
      onchange: event => {
        this.work.clinician = event.target.value;
      },
    });
    name.value = this.work.clinician;
    this.byItself = element('input', {
      type: 'checkbox', checked: this.work.predictsByItself,
      onchange: event => {
        this.work.predictsByItself = event.target.checked;
      },
    });
    this.strategyChoice = element('select', {
      'data-name': 'strategy',
      onchange: event => {
        this.work.strategy = event.target.value;
      },
    });
    this.name = name;
    const themes = element('select', {
      'data-name': 'theme',
      onchange: event => {
        chooseTheme(event.target.value);
        this.draw();
      },
    }, THEMES.map(one => element('option', { value: one, selected: one === chosenTheme() }, say('themes')[one])));
    return element('section', {},
      element('label', { class: 'field' }, element('span', {}, say('you')), name),
      element('label', { class: 'check' }, this.byItself, say('byItself')),
      element('label', { class: 'field', hidden: true }, element('span', {}, say('strategy')), this.strategyChoice),
      element('label', { class: 'field' }, element('span', {}, say('theme')), themes));
  }

  #strategies() {
    const { strategies, user } = this.work.settings;
    const names = Object.keys(strategies);
    if (user) {
      this.name.value = user;
      this.name.disabled = true;
    }
    if (this.strategyChoice.options.length === names.length) return;
    this.strategyChoice.replaceChildren(...names.map(name => {
      const title = strategies[name] || name;
      return element('option', { value: name, title }, strategyName(name) ?? title);
    }));
    this.strategyChoice.value = this.work.strategy || names[0];
    this.strategyChoice.parentElement.hidden = names.length < 2;
  }

  #trainingPart() {
    const content = element('div', { class: 'small', role: 'status' });
    const details = element('details', {
      ontoggle: async () => {
        while (details.open && details.isConnected) {
          await this.#drawTraining(content);
          await pause(3000);
        }
      },
    }, element('summary', {}, say('training')), content);
    return details;
  }

  async #drawTraining(content) {
    let training;
    try {
      training = await server.training();
    } catch (error) {
      content.textContent = error.message;
      return;
    }
    const { trainers, running, stats } = training;
    const lines = Object.entries(stats ?? {})
      .map(([model, found]) => [model, trainingLine(found)])
      .filter(([, line]) => line)
      .map(([model, line]) => element('p', {}, element('b', {}, `${model}: `), line));
    content.replaceChildren(
      ...(running ? [element('p', {}, say('trainingRuns'))] : lines.length ? [] : [element('p', {}, trainers.length ? say('idle') : say('noTrainers'))]),
      ...lines,
      ...(running ? [] : trainers.map(model => button(`${say('train')}: ${model}`, async () => {
        try {
          await server.train(model);
        } catch (error) {
          this.work.tell('error', error.message);
        }
        this.#drawTraining(content);
      }))));
  }

  toggleHelp() {
    this.helpIsOpen = !this.helpIsOpen;
    if (!this.helpIsOpen) {
      this.help?.remove();
      return;
    }
    this.help = element('div', { id: 'dermcheck-help', role: 'dialog', 'aria-modal': 'true', 'aria-label': say('help'), lang: language, 'data-theme': theme() },
      element('div', {},
        element('h2', {}, say('help')),
        element('table', {}, keyTable().map(([key, meaning]) => element('tr', {}, element('th', { scope: 'row' }, element('kbd', {}, key)), element('td', {}, meaning)))),
        button(say('close'), () => this.toggleHelp(), { class: 'primary' })));
    this.help.addEventListener('click', event => {
      if (event.target === this.help) this.toggleHelp();
    });
    document.body.append(this.help);
    this.help.querySelector('button').focus();
  }
}

/** Say how far a training is, or how it ended. */
function trainingLine(found) {
  const parts = [];
  if (found.epoch) parts.push(say('epoch', found));
  if (typeof found.best_metric === 'number') parts.push(say('bestMetric', found.best_metric.toFixed(3)));
  if (found.version) parts.push(found.version);
  if (found.answer) parts.push(found.answer);
  return parts.join(' · ');
}
