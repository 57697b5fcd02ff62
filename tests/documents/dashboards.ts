// What Grafana publishes about its dashboards, as types of the JSON that it writes: an enumeration is its values there.
import type { Dashboard, Panel } from "@grafana/schema";
import type {
  Options as StatOptions,
} from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type {
  FieldConfig as TimeSeriesFields,
  Options as TimeSeriesOptions,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type InJson<T> = 0 extends 1 & T
  ? unknown
  : unknown extends T
    ? unknown
    : T extends string
      ? `${T}`
      : T extends number
        ? `${T}` extends `${infer N extends number}`
          ? N
          : number
        : T extends readonly (infer Item)[]
          ? InJson<Item>[]
          : T extends object
            ? { [Key in keyof T]: InJson<T[Key]> }
            : T;

type Typed<Type extends string, Options, Fields> = Omit<InJson<Panel<Options, Fields>>, "type" | "options"> & {
  type: Type;
  options: InJson<Options>;
};

/** A dashboard with the types of panels that ours have. */
export type Board = Omit<InJson<Dashboard>, "panels"> & {
  panels: (
    | Typed<"stat", Partial<StatOptions>, Record<string, never>>
    | Typed<"timeseries", TimeSeriesOptions, Partial<TimeSeriesFields>>
  )[];
};
