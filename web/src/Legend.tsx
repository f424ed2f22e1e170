import * as React from "react";
import type { Entry } from "./layer";

/** The classes of the masks in sight, with their colours. */
export function Legend({ entries }: { entries: Entry[] }) {
  const colours = new Map(entries.map(({ name, colour }) => [name, colour]));
  return (
    <ul className="resclip-legend" data-cy="resclip-legend">
      {[...colours]
        .filter(([, colour]) => colour)
        .map(([name, colour]) => (
          <li key={name}>
            <i style={{ background: colour! }} />
            {name}
          </li>
        ))}
    </ul>
  );
}
