/** What the App provides, as far as it is used here: FiftyOne publishes neither these packages nor their types. */

declare module "@fiftyone/plugins" {
  import type { ComponentType } from "react";
  export enum PluginComponentType {
    Component = 3,
  }
  export function registerComponent(registration: {
    name: string;
    type: PluginComponentType;
    component: ComponentType<never>;
  }): void;
}

declare module "@fiftyone/operators" {
  export interface Outcome {
    result?: unknown;
    error?: unknown;
    errorMessage?: unknown;
  }
  export function executeOperator(uri: string, params: object): Promise<void>;
  /** The callback returns false to keep the App from replacing the panel with the error. */
  export function useTriggerPanelEvent(): (
    handler: string,
    params: object,
    prompt: boolean,
    callback: (outcome: Outcome) => boolean,
  ) => void;
}

declare module "@fiftyone/state" {
  import type { RecoilState } from "recoil";
  /** The sample that is open; what FiftyOne sends to operators as the current one. */
  export const currentSampleId: RecoilState<string | null>;
  /** The address from which the App's server sends a file. */
  export function getSampleSrc(path: string): string;
}

declare module "recoil" {
  export interface RecoilState<Value> {
    readonly key: string;
    readonly __value?: Value;
  }
  export interface Loadable<Value> {
    valueMaybe(): Value | undefined;
  }
  export function useRecoilValueLoadable<Value>(state: RecoilState<Value>): Loadable<Value>;
}
