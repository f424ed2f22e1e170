/** The look of the components, in the colours of the App's theme. */

const RULES = `
.resclip { padding: 8px 12px; color: var(--fo-palette-text-primary); font-size: 14px; display: flex; flex-direction: column; gap: 10px; }
.resclip-line { display: flex; flex-wrap: wrap; align-items: center; gap: 6px 14px; }
.resclip-quiet, .resclip figcaption { color: var(--fo-palette-text-secondary); }
.resclip-problem { color: var(--fo-palette-error-main, #d32f2f); }
.resclip button { font: inherit; color: inherit; background: var(--fo-palette-background-button, transparent); cursor: pointer;
  border: 1px solid var(--fo-palette-divider); border-radius: 4px; padding: 4px 10px; }
.resclip button:hover { border-color: var(--fo-palette-primary-main); }
.resclip kbd { font: inherit; color: var(--fo-palette-text-secondary); }
.resclip label { display: inline-flex; align-items: center; gap: 6px; }
.resclip input[type=range] { accent-color: var(--fo-palette-primary-main); }
.resclip-pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(240px, 1fr)); gap: 10px; }
.resclip-pictures.resclip-maps { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.resclip figure { min-width: 0; margin: 0; }
.resclip-frame { position: relative; overflow: hidden; touch-action: none; cursor: crosshair; user-select: none;
  aspect-ratio: var(--ratio); width: 100%; max-width: calc(var(--highest, 60vh) * var(--ratio)); }
.resclip-content { position: absolute; inset: 0; transform-origin: 0 0; }
.resclip-content img, .resclip-content canvas { position: absolute; inset: 0; width: 100%; height: 100%; image-rendering: auto; }
.resclip-content canvas { image-rendering: pixelated; pointer-events: none; }
.resclip-mark { position: absolute; width: 12px; height: 12px; margin: -6px; border: 2px solid #fff; border-radius: 50%;
  box-shadow: 0 0 0 1px #000; pointer-events: none; }
.resclip-hover { position: absolute; pointer-events: none; white-space: pre; padding: 3px 8px; border-radius: 4px;
  background: rgba(0, 0, 0, 0.8); color: #fff; font-size: 13px; z-index: 1; }
.resclip-scale { display: flex; align-items: center; gap: 8px; }
.resclip-scale i { height: 10px; width: 220px; border-radius: 2px; }
.resclip-shares { display: grid; grid-template-columns: max-content minmax(30px, 1fr) max-content; gap: 4px 10px;
  align-items: center; }
.resclip-below { grid-column: 1 / -1; margin: -4px 0 0 12px; font-size: 13px; }
.resclip-track { height: 12px; background: rgba(128, 128, 128, 0.2); border-radius: 2px; overflow: hidden; }
.resclip-track i { display: block; height: 100%; }
.resclip-maps img { width: 100%; }
.resclip-legend { display: flex; flex-wrap: wrap; gap: 4px 14px; margin: 0; padding: 0; list-style: none; }
.resclip-legend i, .resclip-swatch { display: inline-block; width: 12px; height: 12px; margin-right: 6px; border-radius: 2px; }
`;

export function addStyle(): void {
  const element = document.createElement("style");
  element.textContent = RULES;
  document.head.append(element);
}
