/** Calls to the handlers of the Python panel that shows a component. */

import { type Outcome, useTriggerPanelEvent } from "@fiftyone/operators";
import { useCallback, useRef } from "react";

/** What FiftyOne hands to a component: the arguments of the Python view, and the state of its panel. */
export interface ComponentProps<View> {
  schema: { view: View };
  fullData: Record<string, unknown>;
}

export type Call = <Result>(handler: string, params: object) => Promise<Result>;

/** Returns a function that calls a handler; the promise fails with a sentence for the user. */
export function useServer(): Call {
  const trigger = useRef(useTriggerPanelEvent());
  trigger.current = useTriggerPanelEvent();
  return useCallback(
    <Result>(handler: string, params: object) =>
      new Promise<Result>((resolve, reject) =>
        trigger.current(handler, params, false, (outcome) => {
          const problem = problemOf(outcome);
          problem ? reject(new Error(problem)) : resolve(outcome.result as Result);
          return false;
        }),
      ),
    [],
  );
}

function problemOf({ result, error, errorMessage }: Outcome): string | null {
  if (error || !result) return `the App's server did not answer (${errorMessage ?? error ?? "no result"})`;
  return (result as { problem?: string }).problem ?? null;
}
