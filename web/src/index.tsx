import { PluginComponentType, registerComponent } from "@fiftyone/plugins";
import { Review } from "./Review";
import { addStyle } from "./style";
import { Words } from "./Words";

addStyle();
registerComponent({ name: "ResclipWords", type: PluginComponentType.Component, component: Words });
registerComponent({ name: "ResclipReview", type: PluginComponentType.Component, component: Review });
