import * as React from "react";
import { useEffect, useRef, useState } from "react";
import type { Layer, Point } from "./layer";

/** The visible part of a picture: how much it is enlarged, and where its corner lies, in shares of the frame. */
export interface Zoom {
  scale: number;
  left: number;
  top: number;
}

export const WHOLE: Zoom = { scale: 1, left: 0, top: 0 };
const LARGEST = 32;
const DRAGGED_PX = 4;

interface Props {
  source: string;
  layer?: Layer | null;
  opacity?: number;
  zoom: Zoom;
  onZoom: (zoom: Zoom) => void;
  /** What to say about a point under the mouse. */
  describe?: (point: Point) => string;
  onPoint?: (point: Point) => void;
  marked?: Point | null;
  children?: React.ReactNode;
}

/** A picture under a layer. The wheel zooms, dragging moves, a double click shows the whole picture again. */
export function Picture(props: Props) {
  const { source, layer, opacity = 1, zoom, onZoom, describe, onPoint, marked, children } = props;
  const frame = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [ratio, setRatio] = useState(layer ? layer.width / layer.height : 4 / 3);
  const [mouse, setMouse] = useState<Point | null>(null);
  const pressed = useRef<{ at: Point; zoom: Zoom; moved: boolean } | null>(null);

  useEffect(() => {
    if (layer && canvas.current) layer.paint(canvas.current);
  }, [layer]);
  useEffect(() => {
    const onWheel = (event: WheelEvent) => {
      event.preventDefault(); // React's own handler can't keep the page from scrolling
      onZoom(zoomed(zoom, inFrame(frame.current!, event), Math.exp(-event.deltaY / 400)));
    };
    const element = frame.current!;
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => element.removeEventListener("wheel", onWheel);
  }, [zoom, onZoom]);

  const onMove = (event: React.PointerEvent) => {
    const at = inFrame(frame.current!, event);
    setMouse(at);
    const press = pressed.current;
    if (!press) return;
    const { width, height } = frame.current!.getBoundingClientRect();
    press.moved ||= Math.hypot((at.x - press.at.x) * width, (at.y - press.at.y) * height) > DRAGGED_PX;
    if (press.moved) {
      const { scale, left, top } = press.zoom;
      onZoom(inside({ scale, left: left + at.x - press.at.x, top: top + at.y - press.at.y }));
    }
  };
  const onUp = (event: React.PointerEvent) => {
    if (pressed.current && !pressed.current.moved) onPoint?.(inPicture(zoom, inFrame(frame.current!, event)));
    pressed.current = null;
  };
  const point = mouse && inPicture(zoom, mouse);
  return (
    <div
      ref={frame}
      className="resclip-frame"
      style={{ ["--ratio" as string]: ratio }}
      onPointerMove={onMove}
      onPointerDown={(event) => (pressed.current = { at: inFrame(frame.current!, event), zoom, moved: false })}
      onPointerUp={onUp}
      onPointerLeave={() => {
        setMouse(null);
        pressed.current = null;
      }}
      onDoubleClick={() => onZoom(WHOLE)}
    >
      <div
        className="resclip-content"
        style={{ transform: `translate(${100 * zoom.left}%, ${100 * zoom.top}%) scale(${zoom.scale})` }}
      >
        <img
          src={source}
          alt="The browser can't show this file"
          draggable={false}
          onLoad={({ currentTarget: { naturalWidth, naturalHeight } }) => setRatio(naturalWidth / naturalHeight)}
        />
        {layer && <canvas ref={canvas} style={{ opacity }} />}
        {marked && <span className="resclip-mark" style={{ left: `${100 * marked.x}%`, top: `${100 * marked.y}%` }} />}
      </div>
      {describe && point && mouse && (
        <div className="resclip-hover" style={hoverPlace(mouse)}>
          {describe(point)}
        </div>
      )}
      {children}
    </div>
  );
}

/** A point of the page, in shares of the frame. */
function inFrame(frame: HTMLElement, { clientX, clientY }: { clientX: number; clientY: number }): Point {
  const { left, top, width, height } = frame.getBoundingClientRect();
  return { x: (clientX - left) / width, y: (clientY - top) / height };
}

function inPicture({ scale, left, top }: Zoom, { x, y }: Point): Point {
  return { x: (x - left) / scale, y: (y - top) / scale };
}

function zoomed(zoom: Zoom, at: Point, factor: number): Zoom {
  const scale = Math.min(Math.max(zoom.scale * factor, 1), LARGEST);
  const fixed = inPicture(zoom, at);
  return inside({ scale, left: at.x - fixed.x * scale, top: at.y - fixed.y * scale });
}

/** Keeps the picture from leaving a gap in the frame. */
function inside({ scale, left, top }: Zoom): Zoom {
  const within = (corner: number) => Math.min(Math.max(corner, 1 - scale), 0);
  return { scale, left: within(left), top: within(top) };
}

/** Beside the mouse, on the side with more room. */
function hoverPlace({ x, y }: Point): React.CSSProperties {
  return {
    ...(x < 0.6 ? { left: `calc(${100 * x}% + 12px)` } : { right: `calc(${100 * (1 - x)}% + 12px)` }),
    ...(y < 0.7 ? { top: `calc(${100 * y}% + 12px)` } : { bottom: `calc(${100 * (1 - y)}% + 12px)` }),
  };
}
