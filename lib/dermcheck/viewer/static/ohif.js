/**
 * All that DermCheck asks of OHIF and Cornerstone, which have no names for photographs.
 *
 * What differs between the builds that were tested is in `BUILD`, and nowhere else.
 */
import { say } from './texts.js';

export const ID = 'dermcheck';

/** SOP classes of single photographs: dermoscopic, photographic, endoscopic, microscopic, secondary capture. */
export const PHOTOGRAPHS = [
  '1.2.840.10008.5.1.4.1.1.77.1.7',
  '1.2.840.10008.5.1.4.1.1.77.1.4',
  '1.2.840.10008.5.1.4.1.1.77.1.1',
  '1.2.840.10008.5.1.4.1.1.77.1.2',
  '1.2.840.10008.5.1.4.1.1.7',
];

const STACK = '@ohif/extension-default.sopClassHandlerModule.stack';
const VIEWPORT = '@ohif/extension-cornerstone.viewportModule.cornerstone';
const TOOLS = ['WindowLevel', 'Pan', 'Zoom', 'Capture'];

/** What the two builds want to be told differently. */
const BUILD = {
  'ohif-3.10': {
    exports: false, // its own export refuses photographs
    setToolbar(service) {
      service.clearButtonSection('primary'); // what follows adds to what the stock mode put there
      service.createButtonSection('primary', TOOLS);
    },
  },
  'ohif-3.13': {
    exports: true,
    setToolbar(service) {
      // The buttons within the viewport are for CT and MR, or leave the queue of photographs.
      Object.keys(service.state.buttonSections).forEach(section => service.clearButtonSection(section));
      service.updateSection('primary', TOOLS);
    },
  },
}[window.config.dermcheck.bundle];

const first = value => (Array.isArray(value) ? value[0] : value);

/** Read an attribute of a person's name, a text or a number as text. */
export function text(value) {
  const one = first(value);
  if (one === undefined || one === null) return '';
  return String(one.Alphabetic ?? one);
}

/**
 * Tell Cornerstone what photographs do not say of themselves.
 */
export function addMetaData() {
  const { metaData } = window.cornerstone;
  const answers = { imagePlaneModule: plane(), voiLutModule: greyWindow };
  let asking = false;
  metaData.addProvider((type, imageId) => {
    if (asking || !answers[type] || typeof imageId !== 'string') return undefined;
    asking = true; // the question below comes back to this provider
    try {
      const instance = metaData.get('instance', imageId);
      return instance && PHOTOGRAPHS.includes(instance.SOPClassUID) ? answers[type](instance) : undefined;
    } finally {
      asking = false;
    }
  }, 20000);
}

/**
 * Keep the viewer on the screen when a photograph's pixels cannot be loaded.
 *
 * Cornerstone rejects two promises then. One is for whoever asked for the photograph, and tells them; the other,
 * of its cache, it drops, and OHIF covers the page with "Something went wrong" for rejections that nobody handles.
 */
export function outliveFailedLoads() {
  const { cache } = window.cornerstone;
  const put = cache.putImageLoadObject;
  cache.putImageLoadObject = function handled(...given) {
    const cached = put.apply(this, given);
    cached.catch(error => console.error(error)); // whoever asked is told in words
    return cached;
  };
}

/** Grey photographs are shown as they are: Cornerstone would stretch their contrast. */
function greyWindow({ SamplesPerPixel, BitsStored, WindowCenter }) {
  if (SamplesPerPixel !== 1 || BitsStored !== 8 || WindowCenter !== undefined) return undefined;
  return { windowCenter: [128], windowWidth: [256] }; // each grey value is itself (PS3.3 C.11.2.1.2)
}

/**
 * A place in space, without which nothing can be laid over a photograph.
 *
 * Each lies at a different depth, as Cornerstone matches images by position; the depth means nothing.
 */
function plane() {
  const depths = new Map();
  return instance => {
    if (!depths.has(instance.SOPInstanceUID)) depths.set(instance.SOPInstanceUID, depths.size);
    const [row, column] = spacing(instance);
    return {
      frameOfReferenceUID: instance.FrameOfReferenceUID || instance.SOPInstanceUID,
      rows: instance.Rows,
      columns: instance.Columns,
      imageOrientationPatient: [1, 0, 0, 0, 1, 0],
      rowCosines: [1, 0, 0],
      columnCosines: [0, 1, 0],
      imagePositionPatient: [0, 0, depths.get(instance.SOPInstanceUID)],
      sliceThickness: 1,
      sliceLocation: 0,
      pixelSpacing: [row, column],
      rowPixelSpacing: row,
      columnPixelSpacing: column,
      usingDefaultValues: !instance.PixelSpacing,
    };
  };
}

/** Distance of pixel centres (row, column) in mm, or 1, 1 where the photograph has no scale. */
function spacing(instance) {
  return (instance.PixelSpacing || [1, 1]).map(Number);
}

/**
 * Handler of photographs: one display set for each photograph, not for each series, as photographs of one
 * series differ in size.
 */
export const photographHandler = ({ extensionManager }) => [{
  name: 'photograph',
  sopClassUids: PHOTOGRAPHS,
  getDisplaySetsFromSeries: instances =>
    instances.filter(isShownRightly).flatMap(instance =>
      extensionManager.getModuleEntry(STACK).getDisplaySetsFromSeries([instance])),
}];

/**
 * Whether OHIF shows a photograph as it is. Of several frames it shows the first, while a diagnosis may rest on
 * another; and palettes' indices as if they were grey values, which the server turns into RGB before. Such
 * photographs are not shown at all.
 */
const isShownRightly = ({ PhotometricInterpretation, NumberOfFrames }) =>
  PhotometricInterpretation !== 'PALETTE COLOR' && Number(NumberOfFrames || 1) === 1;

/** Make our mode: the stock segmentation mode's tools, our panel, one photograph at a time. */
export async function makeMode({ loadModules }, enter, leave) {
  const [segmentation] = await loadModules(['@ohif/mode-segmentation']);
  const stock = segmentation.modeFactory({ modeConfiguration: {} });
  const photograph = `${ID}.sopClassHandlerModule.photograph`;
  return {
    ...stock,
    id: ID,
    routeName: 'derm',
    displayName: 'DermCheck',
    hide: false,
    hangingProtocol: 'default',
    isValidMode: () => ({ valid: true }),
    // Labels come with our own requests: OHIF's reader of Segmentations has no place here.
    sopClassHandlers: [photograph],
    routes: [{
      path: 'view',
      layoutTemplate: () => ({
        id: '@ohif/extension-default.layoutTemplateModule.viewerLayout',
        props: {
          leftPanels: [],
          rightPanels: [`${ID}.panelModule.panel`],
          viewports: [{ namespace: VIEWPORT, displaySetsToDisplay: [photograph, STACK] }],
        },
      }),
    }],
    onModeEnter: managers => {
      stock.onModeEnter(managers);
      BUILD.setToolbar(managers.servicesManager.services.toolbarService);
      enter(managers);
    },
    onModeExit: managers => {
      leave();
      stock.onModeExit(managers);
    },
  };
}

/** The viewport with its photograph, its tools and its overlay. */
export class Viewer {
  constructor({ servicesManager, commandsManager, extensionManager }) {
    this.services = servicesManager.services;
    this.commands = commandsManager;
    this.extensions = extensionManager;
    this.subscriptions = [];
    // OHIF offers to play photographs of some modalities (OT) as films.
    this.services.cineService.setIsCineEnabled(false);
    this.services.cineService.setIsCineEnabled = () => {};
    // OHIF remembers which label map a photograph had, and fails on one that was taken away since.
    this.services.cornerstoneViewportService._setSegmentationPresentation = () => {};
    // Else the brush paints nothing, without a word, on a label map that was not made by its own menu.
    const { segmentationService } = this.services;
    this.#subscribe(segmentationService, 'SEGMENTATION_REPRESENTATION_MODIFIED', ({ segmentationId }) => {
      if (segmentationId === this.outline?.id) this.#activate();
    });
  }

  #subscribe(service, event, handler) {
    this.subscriptions.push(service.subscribe(service.EVENTS[event], handler).unsubscribe);
  }

  stop() {
    this.subscriptions.splice(0).forEach(unsubscribe => unsubscribe());
  }

  get viewportId() {
    return this.services.viewportGridService.getActiveViewportId();
  }

  get viewport() {
    return this.services.cornerstoneViewportService.getCornerstoneViewport(this.viewportId);
  }

  /** The photograph on the screen: the DICOM attributes of its instance, or null. */
  get photograph() {
    const { viewportGridService, displaySetService } = this.services;
    const uid = first(viewportGridService.getState().viewports.get(this.viewportId)?.displaySetInstanceUIDs);
    const set = uid && displaySetService.getDisplaySetByUID(uid);
    return (set && !set.unsupported && set.images?.[0]) || null;
  }

  /** Call back with each photograph that appears on the screen, the present one included. */
  onPhotograph(handler) {
    let last = null;
    const look = () => {
      const shown = this.photograph;
      if (!shown || shown.SOPInstanceUID === last || !this.viewport) return;
      last = shown.SOPInstanceUID;
      handler(shown);
    };
    const { cornerstoneViewportService: service } = this.services;
    const { unsubscribe } = service.subscribe(service.EVENTS.VIEWPORT_DATA_CHANGED, look);
    look();
    return unsubscribe;
  }

  /** Whether a study is loaded and OHIF can show nothing of it; it then leaves the screen black, without a word. */
  get showsNothing() {
    const sets = this.services.displaySetService.getActiveDisplaySets();
    return sets.length > 0 && sets.every(set => set.unsupported);
  }

  /** The photographs of a study that are loaded, in the order of their series and numbers. */
  photographs(study) {
    return this.services.displaySetService
      .getActiveDisplaySets()
      .filter(set => set.StudyInstanceUID === study && PHOTOGRAPHS.includes(set.SOPClassUID) && set.images?.length)
      .map(set => set.images[0])
      .sort((a, b) => (a.SeriesNumber || 0) - (b.SeriesNumber || 0) || (a.InstanceNumber || 0) - (b.InstanceNumber || 0));
  }

  #displaySet(image) {
    return this.services.displaySetService
      .getActiveDisplaySets()
      .find(set => !set.unsupported && set.images?.[0]?.SOPInstanceUID === image);
  }

  /**
   * Load a photograph's header and pixels, so that showing it takes no time.
   *
   * Throws what went wrong; `lasting` where the photograph is of no kind that can be shown, or gone.
   */
  async load(study, image) {
    if (!this.#displaySet(image)) {
      const [source] = this.extensions.getActiveDataSource();
      source.deleteStudyMetadataPromise?.(`${source.getConfig().name}:${study}`); // it may have got new ones
      await given(source.retrieve.series.metadata({ StudyInstanceUID: study }));
      for (let waited = 0; !this.#displaySet(image) && waited < 3000; waited += 20) await pause(20);
    }
    const set = this.#displaySet(image);
    if (!set) throw Object.assign(new Error(say('notInStudy')), { lasting: true });
    await given(window.cornerstone.imageLoader.loadAndCacheImage(set.images[0].imageId));
  }

  /** Show a photograph that is loaded; the address then opens it again. */
  show(image) {
    const set = this.#displaySet(image);
    this.services.viewportGridService.setDisplaySetsForViewports([
      { viewportId: this.viewportId, displaySetInstanceUIDs: [set.displaySetInstanceUID] },
    ]);
    this.remember(set.StudyInstanceUID, image);
  }

  /** Let the page's address open a photograph again. */
  remember(study, image, again = false) {
    const query = new URLSearchParams({ StudyInstanceUIDs: study, image, ...(again && { again: 1 }) });
    window.history.replaceState(window.history.state, '', `${window.location.pathname}?${query}`);
  }

  /** Lay a label map over the photograph on the screen, in the place of the one before. */
  async layOver(photograph, values, colours) {
    const { imageLoader, cache } = window.cornerstone;
    const { segmentationService } = this.services;
    await given(imageLoader.loadAndCacheImage(photograph.imageId));
    const [derived] = await imageLoader.createAndCacheDerivedLabelmapImages([photograph.imageId]);
    if (this.photograph?.SOPInstanceUID !== photograph.SOPInstanceUID) {
      cache.removeImageLoadObject(derived.imageId);
      return null; // another photograph was opened meanwhile
    }
    this.takeAway();
    const id = `${ID}-${photograph.SOPInstanceUID}-${Date.now()}`;
    segmentationService.addOrUpdateSegmentation({
      segmentationId: id,
      representation: {
        type: 'Labelmap',
        data: { imageIds: [derived.imageId], referencedImageIds: [photograph.imageId] },
      },
      config: { label: 'DermCheck', segments: segmentsFor(colours.length) },
    });
    const scalars = cache.getImage(derived.imageId).voxelManager.getScalarData();
    if (values) scalars.set(values);
    this.outline = { id, photograph, scalars, derived: derived.imageId, active: 1 };
    await segmentationService.addSegmentationRepresentation(this.viewportId, { segmentationId: id, type: 'Labelmap' });
    // The skin has to be seen through it: a thin veil and a clear line.
    const style = { renderFill: true, fillAlpha: 0.15, renderOutline: true, outlineWidth: 2, outlineOpacity: 1 };
    segmentationService.setStyle({ type: 'Labelmap' }, style);
    this.paint(colours);
    this.#activate();
    this.refresh();
    return this.outline;
  }

  /** Remove the label map from the screen. */
  takeAway() {
    if (!this.outline) return;
    const { id, derived } = this.outline;
    this.outline = null;
    this.services.segmentationService.remove(id);
    const { cache } = window.cornerstone;
    // OHIF 3.13 makes a volume of the label map; while there is one, the cache refuses to drop its image.
    const volumes = cache.getVolumes().filter(volume => volume?.imageIds?.includes(derived));
    volumes.forEach(({ volumeId }) => cache.removeVolumeLoadObject(volumeId));
    cache.removeImageLoadObject(derived);
  }

  /** Colour the lesions: [red, green, blue] of value 1, 2, … */
  paint(colours) {
    if (!this.outline) return;
    const { segmentationService } = this.services;
    const known = segmentationService.getSegmentation(this.outline.id).segments;
    colours.forEach((colour, index) => {
      const value = index + 1;
      if (!known[value]) segmentationService.addSegment(this.outline.id, { segmentIndex: value, label: `${value}` });
      segmentationService.setSegmentColor(this.viewportId, this.outline.id, value, [...colour, 255]);
    });
  }

  /** Whether OHIF can store what is laid over a photograph by its own means. */
  get exports() {
    return BUILD.exports;
  }

  /**
   * Store the label map by OHIF's own export, which asks for a description; returns whether it was stored.
   *
   * Segments are called `names` (of value 1, 2, …): that is all that the export tells of a diagnosis.
   */
  async export(names) {
    const { segmentationService } = this.services;
    const { segments } = segmentationService.getSegmentation(this.outline.id);
    names.forEach((name, index) => {
      if (segments[index + 1]) segmentationService.setSegmentLabel(this.outline.id, index + 1, name);
    });
    const [dataSource] = this.extensions.getActiveDataSource();
    const stored = await this.commands.run('storeSegmentation', { segmentationId: this.outline.id, dataSource }, 'SEGMENTATION');
    return Boolean(stored);
  }

  /** Choose the lesion that the brush paints. */
  select(value) {
    if (!this.outline) return;
    this.outline.active = value;
    this.#activate();
  }

  #activate() {
    if (this.activating) return; // it is itself a change that `constructor` listens to
    this.activating = true;
    try {
      this.services.segmentationService.setActiveSegmentation(this.viewportId, this.outline.id);
      window.cornerstoneTools.segmentation.segmentIndex.setActiveSegmentIndex(this.outline.id, this.outline.active);
    } finally {
      this.activating = false;
    }
  }

  /** Show the label map after its values were changed here. */
  refresh() {
    window.cornerstoneTools.segmentation.triggerSegmentationEvents.triggerSegmentationDataModified(this.outline.id);
  }

  /** Show or hide the overlay. */
  setVisible(visible) {
    if (!this.outline) return;
    window.cornerstoneTools.segmentation.config.visibility.setSegmentationRepresentationVisibility(
      this.viewportId, { segmentationId: this.outline.id, type: 'Labelmap' }, visible,
    );
  }

  /**
   * Call back when the label map may have changed: once for each stroke, and after changes that come without a
   * pressed button, as Cornerstone tells of a short stroke only after its end.
   */
  onStroke(handler) {
    const { eventTarget } = window.cornerstone;
    const { SEGMENTATION_DATA_MODIFIED } = window.cornerstoneTools.Enums.Events;
    let changed = false;
    let pressed = false;
    const tell = () => setTimeout(() => {
      if (!changed || pressed) return;
      changed = false;
      handler();
    }, 30);
    const note = ({ detail }) => {
      if (detail.segmentationId !== this.outline?.id) return;
      changed = true; // only now: panning and zooming are no strokes
      if (!pressed) tell();
    };
    const press = () => {
      pressed = true;
    };
    const release = () => {
      pressed = false;
      tell();
    };
    const events = [['pointerdown', press], ['pointerup', release], ['pointercancel', release], ['mouseup', release]];
    eventTarget.addEventListener(SEGMENTATION_DATA_MODIFIED, note);
    events.forEach(([type, listener]) => document.addEventListener(type, listener, true));
    return () => {
      eventTarget.removeEventListener(SEGMENTATION_DATA_MODIFIED, note);
      events.forEach(([type, listener]) => document.removeEventListener(type, listener, true));
    };
  }

  /** Give the left mouse button to a tool: CircularBrush, CircularEraser, Pan or Zoom. */
  use(toolName) {
    this.commands.run('setToolActiveToolbar', { toolName, toolGroupIds: ['default'] });
  }

  /** Set the brush's diameter in pixels of the photograph; OHIF counts its radius in millimetres. */
  setBrush(diameterPx) {
    const photograph = this.photograph;
    if (!photograph) return;
    const radius = (diameterPx / 2) * spacing(photograph)[0];
    window.cornerstoneTools.utilities.segmentation.setBrushSizeForToolGroup('default', radius);
    this.viewport?.render();
  }
}

function segmentsFor(count) {
  const values = Array.from({ length: Math.max(1, count) }, (_, index) => index + 1);
  return Object.fromEntries(values.map(value => [value, { label: `${value}`, segmentIndex: value, active: value === 1 }]));
}

/** Wait for what OHIF or Cornerstone asks the server for; they reject with all kinds of values. */
async function given(asked) {
  try {
    return await asked;
  } catch (error) {
    console.error(error);
    throw new Error(say('notGiven'));
  }
}

export const pause = milliseconds => new Promise(done => setTimeout(done, milliseconds));
