import { executeOperator } from "@fiftyone/operators";
import { currentSampleId, getSampleSrc } from "@fiftyone/state";
import * as React from "react";
import { useEffect, useReducer, useRef, useState } from "react";
import { useRecoilValueLoadable } from "recoil";
import { inModal, useKeys } from "./keys";
import { type EncodedLayer, Layer, type Point } from "./layer";
import { Legend } from "./Legend";
import { Picture, WHOLE } from "./Picture";
import { type Call, type ComponentProps, useServer } from "./server";
import { Course, Outbox } from "./verdicts";

const UNDO = "undo";
const PREFETCHED = 12;
const AT_ONCE = 4;
const KEPT_PICTURES = 60;
/** Enough for a few seconds of the fastest typing. */
const LEAST_AHEAD = 40;

interface View {
  field: string;
  /** Changes with the samples that are to be reviewed. */
  scope: string;
  /** The open sample, or the selected ones. */
  chosen: string[];
  counts: Record<string, number>;
  /** Action by key. */
  keys: Record<string, string>;
  on_ahead: string;
  on_pictures: string;
  on_verdicts: string;
}

interface SentPicture {
  id: string;
  path: string;
  verdict: string | null;
  masks: { title: string; layer: EncodedLayer }[];
  problem: string | null;
}

interface Shown extends Omit<SentPicture, "masks"> {
  source: string;
  masks: { title: string; layer: Layer }[];
}

/** Shows one mask after the other beside its photograph and takes verdicts by key, as fast as they come. */
export function Review({ schema: { view } }: ComponentProps<View>) {
  const call = useServer();
  const [, redraw] = useReducer((count: number) => count + 1, 0);
  const root = useRef<HTMLDivElement>(null);
  const outbox = useOutbox(call, view, redraw);
  const course = useRef(new Course()).current;
  const following = useRef(false); // whether the App has yet to open the sample that comes next
  const opened = useRef<string[]>([]); // samples that the App was asked to open, and that it has not reported yet
  const pictures = usePictures(call, view, [...course.targets.slice(0, 1), ...course.ahead.slice(0, PREFETCHED)], redraw);
  const [opacity, setOpacity] = useState(0.6);
  const [zoom, setZoom] = useState(WHOLE);

  const open = useOpenSample();
  const chosen = open ? [open] : view.chosen;
  useEffect(() => {
    const echo = opened.current.indexOf(chosen[0] ?? "");
    opened.current = opened.current.slice(echo + 1);
    if (echo < 0) {
      course.choose(chosen);
      // a modal that closes may have given verdicts that the panel of the grid does not know
      if (!open || inModal(root.current)) course.restart(open);
    }
    redraw();
  }, [open, chosen.join()]);
  useAhead(call, view, course, outbox, redraw); // after the course has begun at the open sample

  useEffect(() => {
    const next = course.targets[0];
    if (!following.current || !next) return;
    following.current = false;
    opened.current.push(next);
    void executeOperator("open_sample", { id: next });
  });

  const act = (action: string) => {
    if (action !== UNDO && !course.targets.length) return;
    outbox.add({ action, field: view.field, samples: action === UNDO ? [] : course.targets });
    const judged = action === UNDO ? course.back() : course.pass();
    const picture = judged && pictures.get(judged);
    if (picture) picture.verdict = action === UNDO ? null : action;
    if (inModal(root.current)) {
      course.choose([]);
      following.current = true;
    }
    setZoom(WHOLE);
    redraw();
  };
  useKeys(root, (key) => {
    const action = view.keys[key.toLowerCase()];
    if (action) act(action);
    return !!action;
  });

  const [target, ...others] = course.targets;
  const shown = target ? pictures.get(target) : undefined;
  return (
    <div ref={root} className="resclip" data-cy="resclip-review" data-sample={target ?? ""} data-waiting={outbox.waiting.length}>
      <div className="resclip-line">
        {Object.entries(view.counts).map(([name, count]) => (
          <span key={name}>
            <b>{count}</b> {name}
          </span>
        ))}
      </div>
      {outbox.problem && (
        <div className="resclip-problem">
          {outbox.waiting.length} not saved yet, trying again: {outbox.problem}
        </div>
      )}
      <div className="resclip-line">
        {Object.entries(view.keys).map(([key, action]) => (
          <button key={key} type="button" onClick={() => act(action)}>
            {action} <kbd>{key}</kbd>
          </button>
        ))}
        <label>
          opacity{" "}
          <input type="range" min={0} max={1} step={0.05} value={opacity} onChange={(e) => setOpacity(+e.target.value)} />
        </label>
      </div>
      {others.length > 0 && <div>The next verdict is for all {others.length + 1} selected samples.</div>}
      {!target && <div>{course.complete ? "Every mask of the view has a verdict." : "Loading…"}</div>}
      {shown && (
        <>
          <div className="resclip-line resclip-quiet" title={shown.path}>
            {shown.path.split(/[\\/]/).pop()}
            {shown.verdict && <b> {shown.verdict}</b>}
            {shown.problem && <span className="resclip-problem">{shown.problem}</span>}
          </div>
          <div className="resclip-pictures">
            <figure>
              <Picture source={shown.source} zoom={zoom} onZoom={setZoom} />
              <figcaption>photograph</figcaption>
            </figure>
            {shown.masks.map(({ title, layer }) => (
              <figure key={title}>
                <Picture
                  source={shown.source}
                  layer={layer}
                  opacity={opacity}
                  zoom={zoom}
                  onZoom={setZoom}
                  describe={(point: Point) => layer.at(point)?.name ?? ""}
                />
                <figcaption>{title}</figcaption>
              </figure>
            ))}
          </div>
          <Legend entries={shown.masks.flatMap(({ layer }) => layer.entries)} />
        </>
      )}
    </div>
  );
}

/** Returns the sample that is open in the App now; what the server reports can be late, because its answers overtake each other. */
function useOpenSample(): string | null {
  const current = useRecoilValueLoadable(currentSampleId).valueMaybe(); // undefined while the App looks it up in a group
  const latest = useRef<string | null>(null);
  if (current !== undefined) latest.current = current;
  return latest.current;
}

/** Keeps enough samples ahead; starts anew when the view or the field changes. */
function useAhead(call: Call, view: View, course: Course, outbox: Outbox, redraw: () => void): void {
  const asked = useRef<number | null>(null);
  useEffect(() => course.restart(), [view.scope]);
  useEffect(() => {
    if (course.stale && !outbox.waiting.length) course.restart();
    const { start, after } = course;
    if (course.complete || course.ahead.length >= LEAST_AHEAD || asked.current === start) return;
    asked.current = start;
    const leaving = outbox.waiting.flatMap(({ samples }) => samples); // the server may still list them
    call<{ ids: string[]; complete: boolean }>(view.on_ahead, { field: view.field, after, without: [...course.ahead, ...leaving] })
      .then(({ ids, complete }) => {
        if (course.start === start) course.extend(ids, complete);
      })
      .catch(console.error)
      .finally(() => {
        if (asked.current === start) asked.current = null;
        redraw();
      });
  });
}

function useOutbox(call: Call, view: View, redraw: () => void): Outbox {
  const handler = useRef(view.on_verdicts);
  handler.current = view.on_verdicts;
  const outbox = useRef<Outbox>();
  return (outbox.current ??= new Outbox((session, verdicts) => call(handler.current, { session, verdicts }), redraw));
}

/** Loads pictures ahead of the reviewer, the nearest first. */
function usePictures(call: Call, view: View, wanted: string[], redraw: () => void): Map<string, Shown> {
  const cache = useRef({ field: view.field, shown: new Map<string, Shown>(), asked: new Set<string>() });
  if (cache.current.field !== view.field) cache.current = { field: view.field, shown: new Map(), asked: new Set() };
  const { shown, asked } = cache.current;
  useEffect(() => {
    if (asked.size) return;
    const missing = [...new Set(wanted)].filter((id) => !shown.has(id)).slice(0, shown.size ? AT_ONCE : 1);
    if (!missing.length) return;
    missing.forEach((id) => asked.add(id));
    call<{ pictures: SentPicture[] }>(view.on_pictures, { field: view.field, ids: missing })
      .then(({ pictures }) => Promise.all(pictures.map(decoded)))
      .then((loaded) => loaded.forEach((picture) => shown.set(picture.id, picture)))
      .catch(console.error)
      .finally(() => {
        asked.clear();
        for (const id of [...shown.keys()].slice(0, -KEPT_PICTURES)) shown.delete(id);
        redraw();
      });
  });
  return shown;
}

async function decoded(picture: SentPicture): Promise<Shown> {
  const source = getSampleSrc(picture.path);
  new Image().src = source; // so that the browser has it when its turn comes
  const masks = picture.masks.map(async ({ title, layer }) => ({ title, layer: await Layer.decode(layer) }));
  return { ...picture, source, masks: await Promise.all(masks) };
}
