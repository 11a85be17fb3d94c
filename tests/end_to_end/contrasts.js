/**
 * Contrast of all texts and edges in the panel: [ratio, the ratio that WCAG 2.2 AA asks for (1.4.3, 1.4.11), what].
 * What cannot be used at the moment is left out, as WCAG does.
 */
() => {
  const rgb = text => text.match(/[\d.]+/g).map(Number);
  const light = ([red, green, blue]) => [red, green, blue]
    .map(value => value / 255)
    .map(value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const ratio = (one, other) => {
    const [dark, bright] = [light(one), light(other)].sort((a, b) => a - b);
    return (bright + 0.05) / (dark + 0.05);
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
  };
  const found = [];
  for (const element of document.querySelectorAll('#dermcheck *, #dermcheck-help *')) {
    if (!element.checkVisibility() || element.closest(':disabled')) continue; // WCAG leaves out what cannot be used
    const style = getComputedStyle(element);
    const name = `${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}`;
    if ([...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()) || element.value) {
      found.push([ratio(rgb(style.color), behind(element)), 4.5, name]);
    }
    if (element.matches('button:not(.link, .diagnosis, .primary, [style], [aria-current], :disabled), input[type=text], select')) {
      found.push([ratio(rgb(style.borderTopColor), behind(element.parentElement)), 3, `edge of ${name}`]);
    }
    if (element.matches('.notice, .caution')) {
      found.push([ratio(rgb(style.borderLeftColor), behind(element)), 3, `edge of ${name}`]);
    }
  }
  for (const [name, against] of [['--focus', '--page'], ['--focus', '--control'], ['--info-edge', '--track']]) {
    const probe = document.createElement('i');
    document.querySelector('#dermcheck').append(probe);
    const colour = variable => {
      probe.style.color = `var(${variable})`;
      return rgb(getComputedStyle(probe).color);
    };
    found.push([ratio(colour(name), colour(against)), 3, `${name} on ${against}`]);
    probe.remove();
  }
  return found;
}
