import { getSampleSrc } from "@fiftyone/state";
import * as React from "react";
import { useEffect, useRef, useState } from "react";
import { inModal, useKeys } from "./keys";
import { Latest } from "./latest";
import { type EncodedLayer, Layer, type Point } from "./layer";
import { Picture, WHOLE } from "./Picture";
import { type ComponentProps, useServer } from "./server";

/** How long the user must pause before the words count as typed. */
const PAUSE_MS = 400;
const LAYERS = { classes: "classes", phrases: "winning phrase", confidence: "confidence" } as const;
type LayerName = keyof typeof LAYERS;

interface View {
  /** Changes with the samples that can be shown. */
  scope: string;
  on_read: string;
  on_point: string;
}

interface Share {
  name: string;
  colour: string;
  share: number;
  confidence: number;
  phrases: string[];
}

/** The image, and unless there is a hint instead, what the words found in it. */
interface Sent {
  id: string;
  path: string;
  index: number;
  count: number;
  hint?: string;
  layers?: Record<LayerName, EncodedLayer>;
  shares?: Share[];
  more?: number;
  unlabelled?: number;
  ramp?: string[];
  notes?: string[];
}

interface Shown extends Omit<Sent, "layers"> {
  layers?: Record<LayerName, Layer>;
}

interface Question {
  form: object;
  index: number;
}

/** Shows what the words of the form find in an image, as soon as the user pauses. */
export function Words({ schema: { view }, fullData }: ComponentProps<View>) {
  const call = useServer();
  const root = useRef<HTMLDivElement>(null);
  const [index, setIndex] = useState(0);
  const question: Question = { form: (fullData.form ?? {}) as object, index };
  const { shown, problem, waiting } = useReading(view, question);
  const [layer, setLayer] = useState<LayerName>("classes");
  const [opacity, setOpacity] = useState(0.6);
  const [zoom, setZoom] = useState(WHOLE);
  const [marked, setMarked] = useState<Point | null>(null);
  const [maps, setMaps] = useState<{ title: string; png: string }[]>([]);

  useEffect(() => setIndex(0), [view.scope]);
  useEffect(() => {
    setMarked(null);
    setMaps([]);
  }, [shown]);

  const go = (step: number) => shown && setIndex(Math.min(Math.max(shown.index + step, 0), shown.count - 1));
  useKeys(root, (key) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    if (!step || inModal(root.current)) return false; // beside a sample, the App's own arrows open the next one
    go(step);
    return true;
  });
  const onPoint = ({ x, y }: Point) => {
    if (!shown?.layers) return;
    setMarked({ x, y });
    call<{ maps: typeof maps }>(view.on_point, { ...question, x, y }).then(({ maps }) => setMaps(maps), console.error);
  };

  return (
    <div ref={root} className="resclip" data-cy="resclip-words" data-waiting={waiting} data-sample={shown?.id ?? ""}>
      {shown && (
        <Picture
          source={getSampleSrc(shown.path)}
          layer={shown.layers?.[layer]}
          opacity={opacity}
          zoom={zoom}
          onZoom={setZoom}
          describe={shown.layers && ((point) => described(shown.layers!, point))}
          onPoint={onPoint}
          marked={marked}
        />
      )}
      {problem && <div className="resclip-problem">{problem}</div>}
      {shown?.hint && <div>{shown.hint}</div>}
      {shown && (
        <div className="resclip-line">
          {shown.count > 1 && (
            <span className="resclip-quiet">
              <button type="button" title="previous image (arrow left)" onClick={() => go(-1)}>
                ‹
              </button>{" "}
              image {shown.index + 1} of {shown.count}{" "}
              <button type="button" title="next image (arrow right)" onClick={() => go(1)}>
                ›
              </button>
            </span>
          )}
          {Object.entries(LAYERS).map(([name, label]) => (
            <label key={name}>
              <input type="radio" checked={layer === name} onChange={() => setLayer(name as LayerName)} />
              {label}
            </label>
          ))}
          <label>
            opacity{" "}
            <input type="range" min={0} max={1} step={0.05} value={opacity} onChange={(e) => setOpacity(+e.target.value)} />
          </label>
          {waiting && <span className="resclip-quiet">computing…</span>}
        </div>
      )}
      {layer === "confidence" && shown?.ramp && <Scale ramp={shown.ramp} />}
      {shown?.shares && <Shares shares={shown.shares} more={shown.more ?? 0} unlabelled={shown.unlabelled ?? 0} />}
      {shown?.notes?.map((note) => (
        <div key={note} className="resclip-quiet">
          {note}
        </div>
      ))}
      {maps.length > 0 && (
        <>
          <div>What the patch in the white frame attends to; brighter is more:</div>
          <div className="resclip-pictures resclip-maps" data-cy="resclip-attention">
            {maps.map(({ title, png }) => (
              <figure key={title}>
                <img src={png} alt={title} />
                <figcaption>{title}</figcaption>
              </figure>
            ))}
          </div>
        </>
      )}
    </div>
  );
}

/** Asks the server for a reading when the question stays the same for a moment; at once if only the image changes. */
function useReading(view: View, question: Question): { shown: Shown | null; problem: string | null; waiting: boolean } {
  const call = useServer();
  const [state, setState] = useState<{ shown: Shown | null; problem: string | null; asked: string }>({
    shown: null,
    problem: null,
    asked: "",
  });
  const handler = useRef(view.on_read);
  handler.current = view.on_read;
  const jobs = useRef<Latest<{ key: string; question: Question }>>();
  jobs.current ??= new Latest(async ({ key, question }) => {
    try {
      const shown = await decoded(await call<Sent>(handler.current, question));
      setState({ shown, problem: null, asked: key });
    } catch (error) {
      setState(({ shown }) => ({ shown, problem: (error as Error).message, asked: key }));
    }
  });
  const words = JSON.stringify(question.form);
  const earlier = useRef(words);
  const key = JSON.stringify([words, question.index, view.scope]);
  useEffect(() => {
    const pause = words === earlier.current ? 0 : PAUSE_MS;
    const timer = setTimeout(() => {
      earlier.current = words;
      jobs.current!.ask({ key, question });
    }, pause);
    return () => clearTimeout(timer);
  }, [key]);
  return { ...state, waiting: state.asked !== key };
}

async function decoded(sent: Sent): Promise<Shown> {
  const { layers, ...rest } = sent;
  if (!layers) return rest;
  const [classes, phrases, confidence] = await Promise.all(
    [layers.classes, layers.phrases, layers.confidence].map((layer) => Layer.decode(layer)),
  );
  return { ...rest, layers: { classes: classes!, phrases: phrases!, confidence: confidence! } };
}

function described(layers: Record<LayerName, Layer>, point: Point): string {
  const [name, phrase, confidence] = [layers.classes, layers.phrases, layers.confidence].map((layer) => layer.at(point)?.name);
  return `${name}\nphrase: ${phrase}\nconfidence: ${confidence}`;
}

function Scale({ ramp }: { ramp: string[] }) {
  return (
    <div className="resclip-scale">
      0 <i style={{ background: `linear-gradient(to right, ${ramp.join()})` }} /> 1
    </div>
  );
}

/** A bar for each class, with text beside it. */
function Shares({ shares, more, unlabelled }: { shares: Share[]; more: number; unlabelled: number }) {
  return (
    <div className="resclip-shares" data-cy="resclip-shares">
      {shares.map(({ name, colour, share, confidence, phrases }) => (
        <React.Fragment key={name}>
          <span>
            <i className="resclip-swatch" style={{ background: colour }} />
            {name}
          </span>
          <Bar share={share} colour={colour} more={share > 0 ? `, confidence ${confidence.toFixed(2)}` : ""} />
          {phrases.length > 0 && <span className="resclip-below resclip-quiet">{phrases.join(", ")}</span>}
        </React.Fragment>
      ))}
      {unlabelled > 0 && (
        <>
          <span className="resclip-quiet">no class</span>
          <Bar share={unlabelled} colour="#888" more="" />
        </>
      )}
      {more > 0 && <span className="resclip-below">and {more} classes with fewer pixels</span>}
    </div>
  );
}

function Bar({ share, colour, more }: { share: number; colour: string; more: string }) {
  return (
    <>
      <span className="resclip-track">
        <i style={{ width: `${100 * share}%`, background: colour }} />
      </span>
      <span className="resclip-quiet">
        {(100 * share).toFixed(1)} %{more}
      </span>
    </>
  );
}
